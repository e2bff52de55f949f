"""Elastic constants of crystals."""

from sparring.validation.base import Imported, Validation
from sparring.validation.elastic.command import elastic

__all__ = ["validation"]

validation = Validation(
    name="elastic",
    title="Elastic constants",
    compute=Imported("sparring.validation.elastic.compute:elastic"),
    command=elastic,
    read=Imported("sparring.validation.elastic.section:read"),
    table=Imported("sparring.validation.elastic.table:table"),
    figures=Imported("sparring.validation.elastic.section:figures"),
    notes=Imported("sparring.validation.elastic.section:notes"),
    more_tables=Imported("sparring.validation.elastic.section:more_tables"),
    applies=lambda run: run.has_crystals,
)
