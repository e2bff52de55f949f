"""Diversity of labelled structures."""

from sparring.validation.base import Validation, imported
from sparring.validation.diversity.command import diversity

__all__ = ["validation"]

validation = Validation(
    name="diversity",
    title="Diversity",
    compute=imported("sparring.validation.diversity.compute:diversity"),
    command=diversity,
    read=imported("sparring.validation.diversity.section:read"),
    table=imported("sparring.validation.diversity.table:diversity_table"),
    figures=imported("sparring.validation.diversity.section:figures"),
    notes=imported("sparring.validation.diversity.section:notes"),
    applies=lambda run: run.has_molecules,
    embedded=imported("sparring.validation.diversity.section:embedded"),
)
