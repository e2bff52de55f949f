"""Errors of a committee on unseen labels, and the reliability of its uncertainty."""

from sparring.validation.base import Validation, imported
from sparring.validation.errors.command import errors

__all__ = ["validation"]

validation = Validation(
    name="errors",
    title="Errors and their detection",
    compute=imported("sparring.validation.errors.compute:error_report"),
    command=errors,
    read=imported("sparring.validation.errors.section:read"),
    table=imported("sparring.validation.errors.table:errors_table"),
    figures=imported("sparring.validation.errors.section:figures"),
    notes=imported("sparring.validation.errors.section:notes"),
)
