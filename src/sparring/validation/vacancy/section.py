"""The section of a report about vacancies."""

from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.bulk_results import notes_of
from sparring.validation.results import Results, each_generation
from sparring.validation.vacancy.compute import VacanciesOfCrystals
from sparring.validation.vacancy.figure import vacancy_figure

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, VacanciesOfCrystals] | None:
    """The vacancies of each committee."""
    return each_generation("vacancy", VacanciesOfCrystals)(files)


def figures(results: Mapping[str, VacanciesOfCrystals], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Formation energies by the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Formation energies of vacancies with relaxed atoms: means of the committee with the standard deviation σ of "
        "its members, labels as circles."
    )
    figure = vacancy_figure(newest)
    return (ReportFigure(name="vacancy", title=f"Vacancies, {name}", caption=caption, figure=figure),)


def notes(results: Mapping[str, VacanciesOfCrystals], run: ReportedRun) -> Sequence[str]:
    """The definition, labels and what is missing."""
    definition = "Formation energy: E(N - 1) - (N - 1)/N E(N), atoms relaxed in the relaxed cell of the crystal."
    return (definition, *notes_of(results))
