"""The section of a report about vacancies, and its table."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Column, Table
from sparring.units import EnergyUnit
from sparring.validation.base import Published, ReportedRun, ReportFigure, no_published
from sparring.validation.crystals.showing import columns_of, mean_of, newest_figure, notes_of, number, spread
from sparring.validation.results import each_generation
from sparring.validation.vacancy.compute import Vacancies
from sparring.validation.vacancy.figure import figure, sites_of

__all__ = ["figures", "notes", "read", "table"]

Found = tuple[Vacancies, ...]
read = each_generation("vacancy", Found, needs_all=False)


def table(results: Mapping[str, Found], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """Formation energies: mean ± σ of the members, those of labels, and the error; a row for each site."""
    rows = []
    for name, found in results.items():
        for n_atoms, site, members, label in sites_of(found):
            error = number(float(mean_of(members)) - label, "+.3f")
            rows.append((name, site, spread(members, ".3f"), number(label, ".3f"), error, n_atoms))
    more = (Column(title="error", unit="eV"), Column(title="atoms of the cell"))
    return Table(columns=columns_of(("formation energy (eV)",), more), rows=tuple(rows))


def figures(results: Mapping[str, Found], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Formation energies by the newest committee."""
    caption = "Formation energies of vacancies with relaxed atoms; labels as circles."
    return newest_figure(results, "vacancy", "Vacancies", caption, figure(list(results.values())[-1]))


def notes(results: Mapping[str, Found], run: ReportedRun) -> Sequence[str]:
    """The definition, labels and what is missing."""
    definition = "Formation energy: E(N - 1) - (N - 1)/N E(N), atoms relaxed in the relaxed cell of the crystal."
    return (definition, *notes_of(results))
