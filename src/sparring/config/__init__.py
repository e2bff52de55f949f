"""One YAML file says all of a run: it is read into frozen sections, and what is wrong with it is said in plain words.

A configuration is read with :func:`load`, which fills in what the file leaves out, merges a preset and overrides, and
checks everything at once. :func:`dump` writes the result for the run folder, :func:`difference` compares two of them,
:func:`template` gives a commented example to start from. The sections hold values only: each maps to the keyword
arguments of one library function, which :meth:`Section.arguments` returns.
"""

from sparring.config.problems import ConfigError
from sparring.config.resolve import difference, dump, load, settled, weight_counts_per
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
    "weight_counts_per",
]
