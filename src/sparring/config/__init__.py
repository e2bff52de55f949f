"""The configuration of a run: one YAML file, read into frozen sections, with an error for each problem.

A configuration is read with :func:`load`, which fills in what the file leaves out, merges a preset and overrides, and
checks everything at once. :func:`dump` writes the result for the run folder, :func:`difference` compares two of them,
:func:`template` gives a commented example to start from. The sections hold values only: each maps to the keyword
arguments of one library function, which :meth:`Section.arguments` returns.
"""

from sparring.config.comparing import difference, unchangeable
from sparring.config.problems import ConfigError
from sparring.config.resolve import dump, load, settled, weight_counts_per
from sparring.config.sections import Config
from sparring.config.templates import template, template_files
from sparring.schema.base import Section

__all__ = [
    "Config",
    "ConfigError",
    "Section",
    "difference",
    "dump",
    "load",
    "settled",
    "template",
    "template_files",
    "unchangeable",
    "weight_counts_per",
]
