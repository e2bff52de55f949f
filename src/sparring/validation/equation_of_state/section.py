"""The section of a report about equations of state, and its table."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Table
from sparring.units import GPA, EnergyUnit
from sparring.validation.base import Published, ReportedRun, ReportFigure, no_published
from sparring.validation.crystals.showing import columns_of, named, newest_figure, notes_of, number, spread
from sparring.validation.equation_of_state.compute import EquationOfState
from sparring.validation.equation_of_state.figure import figure
from sparring.validation.results import each_generation

__all__ = ["figures", "notes", "read", "table"]

Found = tuple[EquationOfState, ...]
QUANTITIES = {
    "volume": ("volume of an atom (Å³)", ".3f"),
    "energy": ("energy of an atom (eV)", ".4f"),
    "bulk_modulus": ("bulk modulus (GPa)", ".1f"),
}
read = each_generation("equation-of-state", Found, needs_all=False)


def table(results: Mapping[str, Found], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """Volume and energy of an atom at the minimum, and bulk modulus: mean ± σ of the members, and those of labels."""
    rows = []
    for name, formula, one in named(results):
        cells = [name, formula]
        for key, (_, form) in QUANTITIES.items():
            size = GPA if key == "bulk_modulus" else float(one.about.n_atoms)
            cells += [spread(one.of_members(key), form, size), number(getattr(one.label, key), form, size)]
        rows.append(tuple(cells))
    return Table(columns=columns_of([title for title, _ in QUANTITIES.values()]), rows=tuple(rows))


def figures(results: Mapping[str, Found], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Energies of the newest committee."""
    caption = "Energy against volume; labels as circles, with their fit as a dashed line."
    return newest_figure(results, "equation_of_state", "Equation of state", caption, figure(list(results.values())[-1]))


def notes(results: Mapping[str, Found], run: ReportedRun) -> Sequence[str]:
    """The fit, labels and what is missing."""
    fit = (
        "The cell keeps its shape. Each member has its own fit of Birch and Murnaghan; ± is the standard deviation "
        "between them. A dash: no minimum within the volumes, or no labels."
    )
    return (fit, *notes_of(results))
