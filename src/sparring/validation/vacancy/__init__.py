"""Formation energies of vacancies in crystals."""

from sparring.validation.base import Imported, Validation
from sparring.validation.vacancy.command import vacancy

__all__ = ["validation"]

validation = Validation(
    name="vacancy",
    title="Vacancies",
    compute=Imported("sparring.validation.vacancy.compute:vacancy"),
    command=vacancy,
    read=Imported("sparring.validation.vacancy.section:read"),
    table=Imported("sparring.validation.vacancy.section:table"),
    figures=Imported("sparring.validation.vacancy.section:figures"),
    notes=Imported("sparring.validation.vacancy.section:notes"),
    applies=lambda run: run.has_crystals,
)
