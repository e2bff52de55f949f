"""Stability of molecular dynamics with a committee."""

from sparring.validation.base import Validation, imported
from sparring.validation.stability.command import stability

__all__ = ["validation"]

validation = Validation(
    name="stability",
    title="Stability",
    compute=imported("sparring.validation.stability.compute:stability"),
    command=stability,
    read=imported("sparring.validation.stability.section:read"),
    table=imported("sparring.validation.stability.table:stability_table"),
    figures=imported("sparring.validation.stability.section:figures"),
    notes=imported("sparring.validation.stability.section:notes"),
    applies=lambda run: run.has_molecules,
)
