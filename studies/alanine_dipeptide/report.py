"""The page of the study of alanine dipeptide: tables of all committees, with the number of seeds in every cell."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sparring.support.tables import Table
from sparring.surfaces.torsion_maps import CAPS, GRIDS, LOW
from sparring.units import KCAL_PER_MOL
from studies.alanine_dipeptide.figures import figures
from studies.alanine_dipeptide.plan import ADVERSARIAL, NAME, Study
from studies.alanine_dipeptide.results import CommitteeRow, Results, collect
from studies.common import report as common
from studies.common.tables import Columns, numbers, section, summary, table

__all__ = ["page", "report"]

Cells: TypeAlias = Columns[CommitteeRow]
TITLES = {"rigid": "rigid grid: only the torsions turned", "relaxed": "relaxed grid: all else relaxed"}


def report(study: Study, output: Path, *, keep: bool = False) -> str:
    """Write record, page and figures; gives a text about what was written and what is missing.

    Args:
        study: Study whose folder is read.
        output: Folder of the files.
        keep: Switch that keeps results of the record in `output` that the folder does not have.

    Raises:
        ValueError: If there is no committee yet.
    """
    return common.report(NAME, study, output, keep=keep, kind=Results, collect=collect, figures=figures, page=page)


def page(study: Study, results: Results, captions: Mapping[str, str]) -> str:
    """The tables and figures as Markdown."""

    def title_of(strategy: str) -> str:
        return study.strategies[strategy].title

    grids = [table(f"RMSE and uncertainty, {TITLES[which]}", results, _grid_cells(which), title_of) for which in GRIDS]
    return common.page(
        "Alanine dipeptide: attacks on (φ, ψ), random torsions and longer dynamics, label for label",
        results,
        "Cells are means over seeds ± their standard deviation (number of seeds). Labels are those requested beyond "
        "the snapshots that all strategies of a seed start with; those refused (more than "
        f"{_window(study):,.0f} kcal/mol above the lowest) count as well. Energies are compared as they are, not "
        "aligned: committees are trained on total energies.",
        [
            _ratios_of_attacks(results),
            table("What was labelled", results, _label_cells(), title_of),
            *grids,
            free_energies(study, results),
        ],
        captions,
    )


def _window(study: Study) -> float:
    """Energy above which labels are refused, in kcal/mol."""
    window = study.config(ADVERSARIAL, study.seeds[0]).labels.bounds.energy_window
    return float("inf") if window is None else window / KCAL_PER_MOL


def _ratios_of_attacks(results: Results) -> str:
    """Errors of the first committee and of the baselines over those of attacks, on the rigid grid."""
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
            n_labels = _n_requested(results, strategy, generation)
            lines.append(f"- RMSE below 50 kcal/mol, {strategy} over attacks, {n_labels:.0f} labels each: {ratios}")
    return "## Attacks in one number each\n\nRatios on the rigid grid, seed by seed:\n\n" + "\n".join(lines)


def _with_as_many_labels(results: Results, strategy: str, generation: int) -> int | None:
    """The generation of attacks with about as many labels as this committee of another strategy."""
    if strategy == ADVERSARIAL:
        return None
    n_labels = _n_requested(results, strategy, generation)
    costs = {own: _n_requested(results, name, own) for name, own in results.keys if name == ADVERSARIAL and own > 1}
    return next((own for own, cost in costs.items() if abs(cost - n_labels) <= 0.05 * n_labels), None)


def _n_requested(results: Results, strategy: str, generation: int) -> float:
    return float(np.mean([row.n_requested for row in results.of(strategy, generation)]))


def _by_seed(results: Results, strategy: str, generation: int) -> dict[int, dict[str, float]]:
    return {
        row.seed: {"variance": grid.force_variance, "rmse": grid.rmse_below["50 kcal/mol"]}
        for row in results.of(strategy, generation)
        if (grid := row.grids.get("rigid")) is not None
    }


def _ratios(above: Mapping[int, Mapping[str, float]], below: Mapping[int, Mapping[str, float]], what: str) -> str:
    return summary(above[seed][what] / below[seed][what] for seed in above if seed in below)


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
    """Differences between the free energies of committees and that of the force field."""
    if not results.free_energies:
        return ""
    titles = (
        "seed",
        "generation",
        "mean abs. difference",
        "noise alone",
        "weighted by the reference",
        "bins shared",
        "time there: committee, reference",
        "copies failed",
    )
    rows = tuple(
        (
            study.strategies[row.strategy].title,
            row.seed,
            row.generation,
            f"{_kcal(row.difference)} ± {_kcal(row.difference_sigma)}",
            _kcal(row.noise),
            _kcal(row.weighted),
            row.n_shared,
            ", ".join(f"{100 * share:.0f} %" for share in row.inside),
            row.n_failed,
        )
        for row in results.free_energies
    )
    whole = section(
        "Free energy over (φ, ψ) at 300 K (kcal/mol)", Table(columns=numbers("strategy", *titles), rows=rows)
    )
    words = dict.fromkeys(f"{' against '.join(row.methods)}." for row in results.free_energies)
    return "\n".join([whole, "", *words])
