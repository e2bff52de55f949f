"""Energy and uncertainty over one or two variables."""

from dataclasses import replace

from sparring.validation.base import Validation, imported
from sparring.validation.landscape.command import landscape

__all__ = ["relaxed", "validation"]

validation = Validation(
    name="landscape",
    title="Landscape",
    compute=imported("sparring.validation.landscape.compute:landscapes"),
    command=landscape,
    read=imported("sparring.validation.landscape.section:read"),
    table=imported("sparring.validation.landscape.table:landscape_table"),
    figures=imported("sparring.validation.landscape.section:figures"),
    notes=imported("sparring.validation.landscape.section:notes"),
)

relaxed = replace(
    validation,
    name="landscape-relaxed",
    title="Relaxed landscape",
    command=None,
    read=imported("sparring.validation.landscape.section:read_relaxed"),
    figures=imported("sparring.validation.landscape.section:relaxed_figures"),
    applies=lambda run: run.has_torsions,
)
