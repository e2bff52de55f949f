"""The figures of the study of alanine dipeptide, after Fig. 4 of Schwalbe-Koda et al. (2021)."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import INK, generation_colours, panels
from sparring.reporting.data import Run, Sampled
from sparring.reporting.figures import attack_torsions, energy_distributions, free_energy_figure, landscape_figure
from sparring.reporting.reading import read_run
from sparring.surfaces.landscape import Landscapes
from sparring.units import KCAL_PER_MOL
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.landscape.figure import logarithmic
from sparring.validation.records import read_record
from studies.alanine_dipeptide.plan import ADVERSARIAL, ATOMS, Study
from studies.alanine_dipeptide.results import CommitteeRow, FreeEnergyRow, Results, landscapes
from studies.common.figures import FigureFolder

__all__ = ["errors", "figures"]

LOOKS = {
    ADVERSARIAL: ("#0072b2", "o"),
    "random-50": ("#e69f00", "^"),
    "random-200": ("#d55e00", "^"),
    "dynamics-200": ("#117733", "s"),
    "paper-attacks": ("#525252", "v"),
    "boltzmann": ("#56b4e9", "D"),
    "combined": ("#cc79a7", "P"),
    ATOMS: ("#882255", "o"),
    "atoms-random-200": ("#999933", "^"),
    "atoms-dynamics-200": ("#44aa99", "s"),
}
"""Colour and marker of each strategy."""


def figures(study: Study, results: Results, folder: FigureFolder) -> None:
    """Draw and save all figures for which there are data."""
    seed = min((row.seed for row in results.committees), default=0)
    folder.save(
        "alanine_dipeptide_errors",
        errors(study, results),
        "Error, uncertainty and coverage against the number of labels: a mark a seed, lines through their means.",
    )
    folder.save(
        "alanine_dipeptide_energies",
        energies(study, seed),
        f"Energies of what each strategy had labelled, seed {seed} (Fig. 4b): median, quartiles, range.",
    )
    for which in ("rigid", "relaxed"):
        folder.save(
            f"alanine_dipeptide_{which}",
            maps(study, seed, which),
            f"Energy and uncertainty over (φ, ψ) on the {which} grid, attacks of seed {seed} (Fig. 4c).",
            is_map=True,
        )
    folder.save(
        "alanine_dipeptide_attacks",
        attacks(study, seed),
        f"Start and end points of the attacks of seed {seed}, with their paths.",
    )
    for row in _drawn(study, results):
        folder.save(
            f"alanine_dipeptide_free_energy_{row.strategy}",
            free_energy_figure(read_record(study.free_energy(row.strategy, row.seed), FreeEnergies)),
            f"Free energy at 300 K, {study.strategies[row.strategy].title}, generation {row.generation} of seed "
            f"{row.seed}.",
            is_map=True,
        )


def _drawn(study: Study, results: Results) -> list[FreeEnergyRow]:
    """The free energy of the first seed of every strategy, where the file exists."""
    first: dict[str, FreeEnergyRow] = {}
    for row in sorted(results.free_energies, key=lambda row: row.seed):
        if study.free_energy(row.strategy, row.seed).exists():
            first.setdefault(row.strategy, row)
    return list(first.values())


def errors(study: Study, results: Results) -> Figure:
    """Errors, uncertainty and coverage of committees against the number of labels."""
    figure, axes = panels(6, n_columns=3, width=4.0, height=3.4)
    shown: tuple[tuple[str, Callable[[CommitteeRow], float | None]], ...] = (
        ("rigid grid: RMSE ≤ 50 (kcal/mol)", lambda row: _rmse(row, "rigid", 50)),
        ("rigid grid: RMSE ≤ 300 (kcal/mol)", lambda row: _rmse(row, "rigid", 300)),
        ("rigid grid: largest error ≤ 50 (kcal/mol)", lambda row: _largest(row, "rigid")),
        ("rigid grid: mean σ²$_F$ ≤ 50 (eV²/Å²)", lambda row: _variance(row, "rigid")),
        ("relaxed grid: RMSE ≤ 20 (kcal/mol)", lambda row: _rmse(row, "relaxed", 20)),
        ("bins of (φ, ψ) covered (%)", lambda row: 100 * row.coverage),
    )
    for ax, (quantity, value) in zip(axes, shown, strict=True):
        _against_labels(study, results, ax, value)
        ax.set(xlabel="labels beyond the start", ylabel=quantity)
        if "%" not in quantity and ax.has_data():
            logarithmic(ax, "y")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _against_labels(study: Study, results: Results, ax: Axes, value: Callable[[CommitteeRow], float | None]) -> None:
    """Marks for all committees, and for strategies of several rounds a line from the shared first committee on."""
    for strategy in dict.fromkeys(row.strategy for row in results.committees):
        colour, marker = LOOKS.get(strategy, (INK, "x"))
        own = [row for row in results.committees if row.strategy == strategy]
        seeds = {row.seed for row in own}
        rounds = study.strategies[strategy].generations > 2
        first = results.of(study.start(strategy), 1) if rounds and study.start(strategy) != strategy else []
        begin = [row for row in first if row.seed in seeds]
        points = [
            (row.generation, row.n_requested, found) for row in [*begin, *own] if (found := value(row)) is not None
        ]
        if not points:
            continue
        generations, labels, values = np.array(points, dtype=float).T
        if rounds:
            by_generation = [generations == number for number in np.unique(generations)]
            means = np.array([(labels[rows].mean(), values[rows].mean()) for rows in by_generation])
            ax.plot(*means.T, "-", color=colour, lw=1.2, zorder=2)
        name = f"{study.strategies[strategy].title} ({len(seeds)})"
        ax.plot(labels, values, marker, color=colour, ms=4.5, mec="white", mew=0.5, label=name, zorder=3)


def _rmse(row: CommitteeRow, which: str, cap: int) -> float | None:
    return row.grids[which].rmse_below[f"{cap} kcal/mol"] / KCAL_PER_MOL if which in row.grids else None


def _largest(row: CommitteeRow, which: str) -> float | None:
    return row.grids[which].largest_error / KCAL_PER_MOL if which in row.grids else None


def _variance(row: CommitteeRow, which: str) -> float | None:
    return row.grids[which].force_variance if which in row.grids else None


def energies(study: Study, seed: int) -> Figure | None:
    """A panel for each strategy whose labels were found by a committee or at random."""
    runs = {name: _run(study, name, seed) for name in study.strategies}
    known = {name: run for name, run in runs.items() if run is not None and _labelled(run)}
    if not known:
        return None
    figure, axes = panels(len(known), n_columns=3, width=3.8, height=3.2)
    for ax, (name, run) in zip(axes, known.items(), strict=True):
        discarded = {str(one.number): len(one.failures) for one in run.generations}
        start: dict[str, Sampled] = {} if run.start is None else {"start": run.start}
        energy_distributions({**start, **_labelled(run)}, ax, discarded=discarded)
        ax.set_title(study.strategies[name].title)
    top = max(ax.get_ylim()[1] for ax in axes)
    for ax in axes:
        ax.set_ylim(top=top)
    return figure


def _labelled(run: Run) -> dict[str, Sampled]:
    return {str(one.number): one.labelled for one in run.generations if one.labelled is not None}


def _run(study: Study, strategy: str, seed: int) -> Run | None:
    return read_run(study.run(strategy, seed)) if study.trained(strategy, seed, 1) else None


def maps(study: Study, seed: int, which: str) -> Figure | None:
    """Fig. 4c for the attacks of one seed."""
    found = landscapes(study, ADVERSARIAL, seed, which)
    if not found:
        return None
    return landscape_figure(Landscapes(committees={f"generation {number}": one for number, one in found.items()}))


def attacks(study: Study, seed: int) -> Figure | None:
    """Start points, end points and paths of the attacks of one seed, for each generation."""
    run = _run(study, ADVERSARIAL, seed)
    parts = [] if run is None else [(one.number, one.torsions) for one in run.generations if one.torsions is not None]
    if not parts:
        return None
    figure, axes = panels(len(parts), n_columns=4, width=3.2, height=3.4)
    colours = generation_colours(len(parts))
    for ax, colour, (number, paths) in zip(axes, colours, parts, strict=True):
        attack_torsions(paths, ax, colour=colour)
        ax.set_title(f"generation {number}", color=colour)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower right", ncols=len(names), handletextpad=0.3)
    return figure
