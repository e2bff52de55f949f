"""Stability of molecular dynamics with a committee."""

from sparring.validation.base import Imported, Validation
from sparring.validation.stability.command import stability

__all__ = ["validation"]

validation = Validation(
    name="stability",
    title="Stability",
    compute=Imported("sparring.validation.stability.compute:stability"),
    command=stability,
    read=Imported("sparring.validation.stability.section:read"),
    table=Imported("sparring.validation.stability.table:stability_table"),
    figures=Imported("sparring.validation.stability.section:figures"),
    notes=Imported("sparring.validation.stability.section:notes"),
    applies=lambda run: run.has_molecules,
)
