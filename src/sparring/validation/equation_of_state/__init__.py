"""Energy of crystals against their volume."""

from sparring.validation.base import Imported, Validation
from sparring.validation.equation_of_state.command import equation_of_state

__all__ = ["validation"]

validation = Validation(
    name="equation-of-state",
    title="Equation of state",
    compute=Imported("sparring.validation.equation_of_state.compute:equation_of_state"),
    command=equation_of_state,
    read=Imported("sparring.validation.equation_of_state.section:read"),
    table=Imported("sparring.validation.equation_of_state.section:table"),
    figures=Imported("sparring.validation.equation_of_state.section:figures"),
    notes=Imported("sparring.validation.equation_of_state.section:notes"),
    applies=lambda run: run.has_crystals,
)
