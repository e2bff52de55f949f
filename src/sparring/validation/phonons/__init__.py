"""Phonons of crystals."""

from sparring.validation.base import Imported, Validation
from sparring.validation.phonons.command import phonons

__all__ = ["validation"]

validation = Validation(
    name="phonons",
    title="Phonons",
    compute=Imported("sparring.validation.phonons.compute:phonons"),
    command=phonons,
    read=Imported("sparring.validation.phonons.section:read"),
    table=Imported("sparring.validation.phonons.section:table"),
    figures=Imported("sparring.validation.phonons.section:figures"),
    notes=Imported("sparring.validation.phonons.section:notes"),
    applies=lambda run: run.has_crystals,
)
