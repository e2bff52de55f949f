"""Diversity of labelled structures."""

from sparring.validation.base import Imported, Validation
from sparring.validation.diversity.command import diversity

__all__ = ["validation"]

validation = Validation(
    name="diversity",
    title="Diversity",
    compute=Imported("sparring.validation.diversity.compute:diversity"),
    command=diversity,
    read=Imported("sparring.validation.diversity.section:read"),
    table=Imported("sparring.validation.diversity.table:diversity_table"),
    figures=Imported("sparring.validation.diversity.section:figures"),
    notes=Imported("sparring.validation.diversity.section:notes"),
    applies=lambda run: run.has_molecules and run.has_labels,
    embedded=Imported("sparring.validation.diversity.section:embedded"),
)
