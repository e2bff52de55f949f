"""Energy and uncertainty over one or two variables."""

from dataclasses import replace

from sparring.validation.base import Imported, Validation
from sparring.validation.landscape.command import landscape

__all__ = ["relaxed", "validation"]

validation = Validation(
    name="landscape",
    title="Landscape",
    compute=Imported("sparring.validation.landscape.compute:landscapes"),
    command=landscape,
    read=Imported("sparring.validation.landscape.section:read"),
    table=Imported("sparring.validation.landscape.table:landscape_table"),
    figures=Imported("sparring.validation.landscape.section:figures"),
    notes=Imported("sparring.validation.landscape.section:notes"),
    applies=lambda run: run.has_labels,
)

relaxed = replace(
    validation,
    name="landscape-relaxed",
    title="Relaxed landscape",
    command=None,
    read=Imported("sparring.validation.landscape.section:read_relaxed"),
    figures=Imported("sparring.validation.landscape.section:relaxed_figures"),
    applies=lambda run: run.has_torsions and run.has_labels,
)
