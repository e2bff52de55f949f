"""Errors of a committee on unseen labels, and the reliability of its uncertainty."""

from sparring.validation.base import Imported, Validation
from sparring.validation.errors.command import errors

__all__ = ["validation"]

validation = Validation(
    name="errors",
    title="Errors and their detection",
    compute=Imported("sparring.validation.errors.compute:error_report"),
    command=errors,
    read=Imported("sparring.validation.errors.section:read"),
    table=Imported("sparring.validation.errors.table:errors_table"),
    figures=Imported("sparring.validation.errors.section:figures"),
    notes=Imported("sparring.validation.errors.section:notes"),
    applies=lambda run: run.has_labels,
)
