"""The page of the study of ammonia: tables of all committees, with the number of seeds in every cell."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sparring.units import KCAL_PER_MOL
from studies.ammonia.figures import figures
from studies.ammonia.plan import NAME, Study, title_of
from studies.ammonia.results import CAPS, NOT_COMPUTED, CommitteeRow, Results, collect
from studies.common import report as common
from studies.common.tables import Columns, summary, table

__all__ = ["page", "report"]

Cells: TypeAlias = Columns[CommitteeRow]
INTRODUCTION = (
    "Cells are means over seeds ± their standard deviation (number of seeds). Runs of one seed share the data and the "
    "committee of generation 1. Labels are those requested beyond the start; some of them are refused, because their "
    "energy or a force is out of bounds, and count as well."
)


def report(study: Study, output: Path, *, keep: bool = False) -> str:
    """Write record, page and figures; gives a text about what was written and what is missing.

    Args:
        study: Study whose folder is read.
        output: Folder of the files.
        keep: Switch that keeps results of the record in `output` that the folder does not have.

    Raises:
        ValueError: If there is no committee yet.
    """
    return common.report(
        NAME,
        study,
        output,
        keep=keep,
        kind=Results,
        collect=collect,
        figures=figures,
        page=lambda _, results, captions: page(results, captions),
    )


def page(results: Results, captions: Mapping[str, str]) -> str:
    """The tables and figures as Markdown."""
    heights = {"by NEB": results.truth_barrier, "from relaxed ends": results.truth_relaxed}
    words = [f"{height / KCAL_PER_MOL:.2f} kcal/mol {how}" for how, height in heights.items() if height is not None]
    tables = {
        "Barrier and errors (kcal/mol)": _barrier_cells(results),
        "Error of the barrier from relaxed ends, seed by seed (kcal/mol)": _seed_cells(results),
    }
    if any(row.rmse_below for row in results.committees):
        tables["RMSE of the energy on the (R, Z) grid below a true energy (kcal/mol)"] = _landscape_cells()
    if any(row.stable for row in results.committees):
        tables["Trajectories that stay physical (%), mean over temperatures"] = _stability_cells(results)
    return common.page(
        "Ammonia: attacks, random displacements and dynamics, label for label",
        results,
        INTRODUCTION,
        [
            f"Barrier of the label method: {', '.join(words) or 'not computed yet'}.",
            *(table(title, results, cells, title_of) for title, cells in tables.items()),
        ],
        captions,
    )


def _barrier_cells(results: Results) -> Cells:
    def error(rows: list[CommitteeRow]) -> str:
        if results.truth_relaxed is None:
            return "–"
        truth = results.truth_relaxed
        missed = [None if row.barrier is None else abs(row.barrier - truth) for row in rows]
        return summary(missed, unit=KCAL_PER_MOL)

    return {
        "barrier, NEB": lambda rows: summary((row.barrier for row in rows), unit=KCAL_PER_MOL),
        "its error, absolute": error,
        "± of the members": lambda rows: summary((row.barrier_sigma for row in rows), unit=KCAL_PER_MOL),
        "barrier, relaxed ends": lambda rows: summary((row.barrier_relaxed for row in rows), unit=KCAL_PER_MOL),
        "no barrier": lambda rows: str(sum(bool(row.barrier_why) and row.barrier_why != NOT_COMPUTED for row in rows)),
        "energy MAE, own test": lambda rows: summary((row.energy_mae for row in rows), unit=KCAL_PER_MOL),
        "force MAE, own test (per Å)": lambda rows: summary((row.force_mae for row in rows), unit=KCAL_PER_MOL),
    }


def _seed_cells(results: Results) -> Cells:
    def errors(rows: list[CommitteeRow]) -> list[float]:
        truth, known = results.truth_relaxed, [row.barrier_relaxed for row in rows]
        return [] if truth is None else [(height - truth) / KCAL_PER_MOL for height in known if height is not None]

    def median(rows: list[CommitteeRow]) -> str:
        missed = list(map(abs, errors(rows)))
        return f"{np.median(missed):.2f} ({min(missed):.2f} to {max(missed):.2f})" if missed else "–"

    def within(bound: float) -> Callable[[list[CommitteeRow]], str]:
        return lambda rows: f"{sum(abs(error) <= bound for error in errors(rows))} of {len(rows)}"

    return {
        "seeds": lambda rows: ", ".join(str(row.seed) for row in rows),
        "errors": lambda rows: ", ".join(f"{error:+.2f}" for error in errors(rows)) or "–",
        "median of the absolute error (range)": median,
        "within 0.25": within(0.25),
        "within 0.1": within(0.1),
    }


def _landscape_cells() -> Cells:
    def below(cap: float) -> Callable[[list[CommitteeRow]], str]:
        key = f"{cap:g} kcal/mol"
        return lambda rows: summary((row.rmse_below.get(key) for row in rows), unit=KCAL_PER_MOL)

    return {f"≤ {cap:g}": below(cap) for cap in CAPS}


def _stability_cells(results: Results) -> Cells:
    temperatures = sorted({one.temperature for row in results.committees for one in row.stable})

    def at(temperature: float) -> Callable[[list[CommitteeRow]], str]:
        def cell(rows: list[CommitteeRow]) -> str:
            found = [one for row in rows for one in row.stable if one.temperature == temperature]
            return summary((100 * one.n_stable / one.n_copies for one in found), decimals=0)

        return cell

    def whole(rows: list[CommitteeRow]) -> str:
        fractions = (row.stable_fraction for row in rows if len(row.stable) == len(temperatures))
        return summary((None if one is None else 100 * one for one in fractions), decimals=0)

    return {**{f"{temperature:g} K": at(temperature) for temperature in temperatures}, "all": whole}
