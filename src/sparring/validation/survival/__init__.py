"""Survival of copies in molecular dynamics with a committee."""

from sparring.validation.base import Imported, Validation
from sparring.validation.survival.command import survival

__all__ = ["validation"]

validation = Validation(
    name="survival",
    title="Survival in dynamics",
    compute=Imported("sparring.validation.survival.compute:survival"),
    command=survival,
    read=Imported("sparring.validation.survival.section:read"),
    table=Imported("sparring.validation.survival.table:survival_table"),
    figures=Imported("sparring.validation.survival.section:figures"),
    notes=Imported("sparring.validation.survival.section:notes"),
    more_tables=Imported("sparring.validation.survival.section:more_tables"),
    applies=lambda run: run.has_molecules,
)
