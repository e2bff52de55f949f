"""Holes of a potential: attacks along which atoms merge while the energy falls."""

from sparring.validation.base import Imported, Validation
from sparring.validation.holes.command import holes

__all__ = ["validation"]

validation = Validation(
    name="holes",
    title="Where the model breaks",
    compute=Imported("sparring.validation.holes.compute:holes"),
    command=holes,
    read=Imported("sparring.validation.holes.section:read"),
    table=Imported("sparring.validation.holes.section:table"),
    figures=Imported("sparring.validation.holes.section:figures"),
    notes=Imported("sparring.validation.holes.section:notes"),
    applies=lambda run: run.has_molecules,
)
