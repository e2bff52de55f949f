"""The section of a report about equations of state."""

from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.bulk_results import notes_of
from sparring.validation.equation_of_state.compute import EquationsOfState
from sparring.validation.equation_of_state.figure import state_figure
from sparring.validation.results import Results, each_generation

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, EquationsOfState] | None:
    """The equations of state of each committee."""
    return each_generation("equation-of-state", EquationsOfState)(files)


def figures(results: Mapping[str, EquationsOfState], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Energies of the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Energy against volume at the shape of the cell of lowest energy in the data: mean of the committee with the "
        "standard deviation σ of its members, labels as circles, and their fit as a dashed line."
    )
    title = f"Equation of state, {name}"
    return (ReportFigure(name="equation_of_state", title=title, caption=caption, figure=state_figure(newest)),)


def notes(results: Mapping[str, EquationsOfState], run: ReportedRun) -> Sequence[str]:
    """The fit, labels and what is missing."""
    fit = (
        "Each member has its own fit of Birch and Murnaghan; ± is the standard deviation between them. A dash: no "
        "minimum within the volumes, or no labels."
    )
    return (fit, *notes_of(results))
