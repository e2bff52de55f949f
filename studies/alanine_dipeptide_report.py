"""The page of the study of alanine dipeptide: tables of what there is, with the number of seeds in every cell."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from alanine_dipeptide_plan import ADVERSARIAL, Study
from alanine_dipeptide_results import CommitteeRow, Results, collect
from cells import of_labels, summary
from reports import recorded, write_report

from sparring.surfaces.torsion_maps import CAPS, GRIDS, LOW
from sparring.units import KCAL_PER_MOL

__all__ = ["page", "report"]

NAME = "alanine_dipeptide"
TITLES = {"rigid": "rigid grid: only the torsions turned", "relaxed": "relaxed grid: all else relaxed"}


def report(study: Study, output: Path, *, keep: bool = False) -> str:
    """Write record, page and figures; gives what was written, and what is missing, in words.

    Args:
        study: Whose folder is read.
        output: Folder of what is written.
        keep: Whether what the record there has of committees that the folder does not hold stays in it.

    Raises:
        ValueError: If there is nothing yet.
    """
    from alanine_dipeptide_figures import figures

    results = collect(study, recorded(output / f"{NAME}.json", Results, keep=keep))
    return write_report(
        NAME,
        study,
        results,
        output,
        figures=lambda: figures(study, results, output),
        page=lambda drawn: page(study, results, drawn),
    )


def page(study: Study, results: Results, drawn: Mapping[str, str]) -> str:
    """The tables and figures as Markdown."""
    # Maps have so many marks that an SVG is large; people look at pixels then.
    pictures = [f"![{caption}]({name}.png)\n\n{caption}" for name, caption in drawn.items()]
    parts = [
        "# Alanine dipeptide: attacks on (φ, ψ), random torsions and longer dynamics, label for label",
        f"Made by `{results.command}`.",
        "Cells are means over seeds ± their standard deviation (number of seeds). Labels are those asked for beyond "
        "the snapshots that all strategies of a seed begin with; those refused (more than "
        f"{_window(study):,.0f} kcal/mol above the lowest) count all the same. Energies are compared as they are, "
        "not aligned: labels in total energies are what committees learn from.",
        _against_the_issue(results),
        table(study, "What was labelled", results, _label_cells()),
    ]
    for which in GRIDS:
        parts.append(table(study, f"RMSE and uncertainty, {TITLES[which]}", results, _grid_cells(which)))
    parts += [free_energies(study, results), *pictures]
    parts.append("## Missing\n\n" + ("\n".join(f"- {one}" for one in results.missing) or "Nothing."))
    return "\n\n".join(part for part in parts if part) + "\n"


def _window(study: Study) -> float:
    """Above which labels are refused, in kcal/mol."""
    window = study.config(ADVERSARIAL, study.seeds[0]).labels.bounds.energy_window
    return float("inf") if window is None else window / KCAL_PER_MOL


def _against_the_issue(results: Results) -> str:
    """How much attacks improve on their own beginning, and on the baselines with as many labels, on the rigid grid."""
    last = max((generation for strategy, generation in results.keys if strategy == ADVERSARIAL), default=0)
    if last < 2:
        return ""
    first, final = (_by_seed(results, ADVERSARIAL, generation) for generation in (1, last))
    lines = [
        f"- mean σ_F² below 50 kcal/mol, generation 1 over {last}: {_ratios(first, final, 'variance')}",
        f"- RMSE below 50 kcal/mol, generation 1 over {last}: {_ratios(first, final, 'rmse')}",
    ]
    for strategy, generation in dict(results.keys).items():  # the last of each
        ours = _with_as_many_labels(results, strategy, generation)
        if ours is not None:
            ratios = _ratios(_by_seed(results, strategy, generation), _by_seed(results, ADVERSARIAL, ours), "rmse")
            n_labels = _n_asked(results, strategy, generation)
            lines.append(f"- RMSE below 50 kcal/mol, {strategy} over attacks, {n_labels:.0f} labels each: {ratios}")
    return "## Attacks in one number each\n\nRatios on the rigid grid, seed by seed:\n\n" + "\n".join(lines)


def _with_as_many_labels(results: Results, strategy: str, generation: int) -> int | None:
    """The generation of attacks that has cost about as many labels as this committee of another strategy."""
    if strategy == ADVERSARIAL:
        return None
    asked = _n_asked(results, strategy, generation)
    costs = {own: _n_asked(results, name, own) for name, own in results.keys if name == ADVERSARIAL and own > 1}
    return next((own for own, cost in costs.items() if abs(cost - asked) <= 0.05 * asked), None)


def _n_asked(results: Results, strategy: str, generation: int) -> float:
    return float(np.mean([row.n_asked for row in results.of(strategy, generation)]))


def _by_seed(results: Results, strategy: str, generation: int) -> dict[int, dict[str, float]]:
    return {
        row.seed: {"variance": grid.force_variance, "rmse": grid.rmse_below["50 kcal/mol"]}
        for row in results.of(strategy, generation)
        if (grid := row.grids.get("rigid")) is not None
    }


def _ratios(above: Mapping[int, Mapping[str, float]], below: Mapping[int, Mapping[str, float]], what: str) -> str:
    return summary(above[seed][what] / below[seed][what] for seed in above if seed in below)


Cells = Mapping[str, Callable[[list[CommitteeRow]], str]]


def table(study: Study, title: str, results: Results, cells: Cells) -> str:
    """One row for each strategy and generation of which there is a committee."""
    heading = ["strategy", "generation", "labels (refused)", *cells]
    lines = [f"## {title}\n", f"| {' | '.join(heading)} |", "|" + "---|" * len(heading)]
    for strategy, generation in results.keys:
        rows = results.of(strategy, generation)
        labels = of_labels(rows)
        title = study.strategies[strategy].title
        shown = [title, str(generation), labels, *(cell(rows) for cell in cells.values())]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def _label_cells() -> Cells:
    def energy(place: int) -> Callable[[list[CommitteeRow]], str]:
        return lambda rows: summary(
            (row.energies[place] if row.energies else None for row in rows), unit=KCAL_PER_MOL, decimals=1
        )

    return {
        "bins covered (%)": lambda rows: summary((100 * row.coverage for row in rows), decimals=1),
        "energy added: median (kcal/mol)": energy(2),
        "upper quartile": energy(3),
        "highest": energy(4),
        "energy MAE, own test": lambda rows: summary((row.energy_mae for row in rows), unit=KCAL_PER_MOL),
        "force MAE, own test (per Å)": lambda rows: summary((row.force_mae for row in rows), unit=KCAL_PER_MOL),
    }


def _grid_cells(which: str) -> Cells:
    def below(cap: float) -> Callable[[list[CommitteeRow]], str]:
        key = f"{cap:g} kcal/mol"
        return lambda rows: summary(
            (row.grids[which].rmse_below[key] for row in rows if which in row.grids), unit=KCAL_PER_MOL
        )

    def error(what: str) -> Callable[[list[CommitteeRow]], str]:
        return lambda rows: summary(
            (getattr(row.grids[which], what) for row in rows if which in row.grids), unit=KCAL_PER_MOL, decimals=1
        )

    return {
        **{f"≤ {cap:g} kcal/mol": below(cap) for cap in CAPS},
        f"median error ≤ {LOW:g}": error("typical_error"),
        f"largest error ≤ {LOW:g}": error("largest_error"),
        "mean σ_F² ≤ 50 ((eV/Å)²)": lambda rows: summary(
            (row.grids[which].force_variance for row in rows if which in row.grids), decimals=4
        ),
        "RMS force error over RMS σ_F ≤ 50": lambda rows: summary(
            row.grids[which].force_ratio for row in rows if which in row.grids
        ),
    }


def _kcal(energy: float) -> str:
    return f"{energy / KCAL_PER_MOL:.2f}" if np.isfinite(energy) else "–"


def free_energies(study: Study, results: Results) -> str:
    """How far free energies of committees are from those of the force field."""
    if not results.free_energies:
        return ""
    lines = [
        "## Free energy over (φ, ψ) at 300 K (kcal/mol)\n",
        "| strategy | seed | generation | mean abs. difference | noise alone | weighted by the reference | "
        "bins shared | time there: committee, reference | copies failed |",
        "|" + "---|" * 9,
    ]
    for row in results.free_energies:
        cells = [
            study.strategies[row.strategy].title,
            str(row.seed),
            str(row.generation),
            f"{_kcal(row.difference)} ± {_kcal(row.difference_sigma)}",
            _kcal(row.noise),
            _kcal(row.weighted),
            str(row.n_shared),
            ", ".join(f"{100 * share:.0f} %" for share in row.inside),
            str(row.n_failed),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    words = dict.fromkeys(f"{' against '.join(row.methods)}." for row in results.free_energies)
    return "\n".join([*lines, "", *words])
