"""The yield of each proposer as a table and a figure."""

import math
from collections.abc import Sequence

from matplotlib import rc_context

from sparring.plots.style import STYLE, panels
from sparring.reporting import figures
from sparring.reporting.tables import ERROR
from sparring.runs.yields import Yield
from sparring.support.tables import Column, Table
from sparring.units import EnergyUnit
from sparring.validation.base import ReportFigure

__all__ = ["yield_sheet", "yield_table"]


def yield_table(yields: Sequence[Yield], unit: EnergyUnit) -> Table:
    """A row for each proposer of each generation.

    Args:
        yields: Yields.
        unit: Unit of energies.
    """
    rows = tuple(
        (
            one.generation,
            one.source.replace("_", " "),
            one.n_candidates,
            one.n_chosen,
            one.n_refused,
            *(None if math.isnan(error) else error for error in (one.energy_error, one.force_error)),
        )
        for one in yields
    )
    return Table(
        columns=(
            Column(title="gen"),
            Column(title="proposer", left=True),
            Column(title="candidates"),
            Column(title="labels"),
            Column(title="refused"),
            Column(title="E", format=ERROR, size=unit.size, group="mean error found"),
            Column(title="F", format=ERROR, size=unit.size, group="mean error found"),
        ),
        rows=rows,
        caption=(
            "yield of each proposer: labels spent, those refused among them, and the mean absolute error of the "
            f"committee before it was trained on them; energies in {unit.name}, forces in {unit.name}/Å",
        ),
    )


def yield_sheet(yields: Sequence[Yield], unit: EnergyUnit) -> ReportFigure | None:
    """The figure of the report; None where no proposer has labels yet.

    Args:
        yields: Yields.
        unit: Unit of energies.
    """
    if not any(one.n_chosen for one in yields):
        return None
    with rc_context(STYLE):
        figure, (left, right) = panels(2, height=3.0)
        figures.labels_spent(yields, left)
        figures.errors_found(yields, right, unit=unit)
        handles, names = right.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=max(len(names), 1))
    return ReportFigure(
        name="yields",
        title="Yield of each proposer",
        caption="Labels spent on the candidates of each proposer (hatched: refused), and the mean error of forces that "
        "they uncovered: that of the committee before it was trained on them.",
        figure=figure,
    )
