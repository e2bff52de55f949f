"""The page of the study of ammonia: tables of what there is, with the number of seeds in every cell."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ammonia_plan import Study, name_of
from ammonia_results import CAPS, NOT_COMPUTED, CommitteeRow, Results, collect
from cells import of_labels, summary
from reports import recorded, write_report

from sparring.units import KCAL_PER_MOL

__all__ = ["page", "report", "summary"]

NAME = "ammonia"


def report(study: Study, output: Path, *, keep: bool = False) -> str:
    """Write record, page and figures; gives what was written, and what is missing, in words.

    Args:
        study: Whose folder is read.
        output: Folder of what is written.
        keep: Whether what the record there has of committees that the folder does not hold stays in it.

    Raises:
        ValueError: If there is nothing yet.
    """
    from ammonia_figures import figures

    results = collect(study, recorded(output / f"{NAME}.json", Results, keep=keep))
    return write_report(
        NAME,
        study,
        results,
        output,
        figures=lambda: figures(study, results, output),
        page=lambda drawn: page(results, drawn),
    )


def page(results: Results, drawn: Mapping[str, str]) -> str:
    """The tables and figures as Markdown."""
    known = {"by NEB": results.truth_barrier, "from relaxed ends": results.truth_relaxed}
    words = [f"{height / KCAL_PER_MOL:.2f} kcal/mol {how}" for how, height in known.items() if height is not None]
    height = ", ".join(words) or "not computed yet"
    pictures = [f"![{caption}]({name}.svg)\n\n{caption}" for name, caption in drawn.items()]
    return (
        "\n\n".join(
            [
                "# Ammonia: attacks, random displacements and dynamics, label for label",
                f"Made by `{results.command}`.",
                "Cells are means over seeds ± their standard deviation (number of seeds). Runs of one seed share the "
                "data and the committee of generation 1. Labels are those asked for beyond the start; some of them "
                "are refused, because their energy or a force is out of bounds, and count all the same.",
                f"Barrier of the label method: {height}.",
                table("Barrier and errors (kcal/mol)", results, _barrier_cells(results)),
                table("Error of the barrier from relaxed ends, seed by seed (kcal/mol)", results, _seed_cells(results)),
                table(
                    "RMSE of the energy on the (R, Z) grid below a true energy (kcal/mol)", results, _landscape_cells()
                ),
                table(
                    "Trajectories that stay physical (%), mean over temperatures", results, _stability_cells(results)
                ),
                *pictures,
                "## Missing\n\n" + ("\n".join(f"- {one}" for one in results.missing) or "Nothing."),
            ]
        )
        + "\n"
    )


Cells = Mapping[str, Callable[[list[CommitteeRow]], str]]


def table(title: str, results: Results, cells: Cells) -> str:
    """One row for each strategy and generation of which there is a committee."""
    groups = list(dict.fromkeys((row.strategy, row.generation) for row in results.committees))
    heading = ["strategy", "generation", "labels (refused)", *cells]
    lines = [f"## {title}\n", f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for strategy, generation in groups:
        rows = results.of(strategy, generation)
        labels = of_labels(rows)
        shown = [name_of(strategy), str(generation), labels, *(cell(rows) for cell in cells.values())]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


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
