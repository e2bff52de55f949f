"""The figures of the study of ammonia, after Fig. 3 of Schwalbe-Koda et al. (2021)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sparring.plots.scales import energy_scale
from sparring.plots.style import INK, panels
from sparring.surfaces.landscape import Landscape
from sparring.units import KCAL_PER_MOL
from sparring.validation.barrier.figure import barrier_profiles
from sparring.validation.diversity.compute import diversity, gather
from sparring.validation.diversity.figure import diversity_figure
from sparring.validation.landscape.figure import landscape_energy
from sparring.validation.records import read_record
from studies.ammonia.plan import ACE, ADVERSARIAL, STRATEGIES, Study, title_of
from studies.ammonia.results import CAPS, CommitteeRow, Results
from studies.ammonia.tasks import BarrierResult
from studies.common.figures import FigureFolder

__all__ = ["barriers", "errors_below", "figures", "stable"]

MARKERS = "osD^vP"
ATTACKS = (ADVERSARIAL, ACE, "paper", "paper-attacks")
COLOURS = {
    ("adversarial", 1): "#56b4e9",
    ("adversarial", 2): "#0072b2",
    ("adversarial", 3): "#003a63",
    ("random-0.1-30", 2): "#cc79a7",
    ("random-0.3-30", 2): "#e69f00",
    ("random-0.3-60", 2): "#d55e00",
    ("random-0.3-100", 2): "#882255",
    ("dynamics", 2): "#7fd1b5",
    ("dynamics", 3): "#009e73",
    ("ace", 1): "#e7b8a5",
    ("ace", 2): "#c8603b",
    ("ace", 3): "#7a2a10",
    ("paper-attacks", 2): "#b39ddb",
    ("paper-attacks", 3): "#5e3c99",
    ("paper", 1): "#bdbdbd",
    ("paper", 2): "#8c8c8c",
    ("paper", 3): "#525252",
}
"""Generations of a strategy are shades of one colour."""


def figures(study: Study, results: Results, folder: FigureFolder) -> None:
    """Draw and save all figures for which there are data."""
    seed = min((row.seed for row in results.committees), default=0)
    folder.save(
        "ammonia_structures",
        structures(study, seed),
        f"What each strategy had labelled, seed {seed}: similarity, energies, distortion (Fig. 3a-c).",
    )
    folder.save(
        "ammonia_barrier",
        barrier_figure(study, results, seed),
        f"The barrier of the inversion: a mark for every seed, and the paths of seed {seed} (Fig. 3d).",
    )
    folder.save(
        "ammonia_landscapes",
        landscapes(study, results, seed),
        f"Energy over R and Z, in units of the ground state's, seed {seed}; dots are labels in the data set (Fig. 3e).",
        is_map=True,
    )
    folder.save(
        "ammonia_errors",
        robustness(results),
        "Error of the energy on that grid below a true energy: attacks by generation, last committees of all "
        "strategies. Trajectories that stay physical (Fig. 3f). Lines are medians of errors and means of trajectories, "
        "bands and bars the range over seeds.",
    )


def colour(strategy: str, generation: int) -> str:
    """The colour of a committee."""
    return COLOURS.get((strategy, generation), INK)


def dashes(strategy: str, generation: int) -> str:
    """The line style of a committee: solid for the last one of a strategy, dashed for the others."""
    last = strategy == ADVERSARIAL or strategy not in STRATEGIES or generation == STRATEGIES[strategy].generations
    return "-" if last else "--"


def structures(study: Study, seed: int) -> Figure | None:
    """Labelled structures in the runs of one seed (Fig. 3a-c)."""
    runs = {strategy: study.run(strategy, seed) for strategy in study.strategies if study.trained(strategy, seed, 2)}
    # The first structures of the larger random sets are those of the smallest.
    shown = [run for strategy, run in runs.items() if strategy not in ("random-0.3-60", "random-0.3-100")]
    if not shown:
        return None
    frames = gather(shown)
    for atoms in frames:
        # The name of a run is its seed; the legend shows the strategy.
        atoms.info["runs"] = sorted({title_of(Path(str(run)).parent.name) for run in atoms.info["runs"]})
    return diversity_figure(diversity(frames, seed=0))


def barrier_figure(study: Study, results: Results, seed: int) -> Figure | None:
    """Barriers of all seeds, and paths of one."""
    if not any(row.barrier is not None for row in results.committees):
        return None
    figure, (left, right) = panels(2, width=5.2, height=4.2)
    barriers(results, left)
    paths = {}
    for strategy, generation in results.keys:
        file = study.result(strategy, seed, generation, "barrier")
        known = read_record(file, BarrierResult) if file.exists() else None
        if known and known.path:
            paths[strategy, generation] = known.path
    truth = study.folder / "results" / "truth" / "barrier.json"
    barrier_profiles(
        {title_of(*key): path for key, path in paths.items()},
        right,
        truth=read_record(truth, BarrierResult).path if truth.exists() else None,
        colours=[colour(*key) for key in paths],
    )
    right.legend(fontsize=6.5, loc="upper left")
    low, high = right.get_ylim()
    right.set_ylim(low, high + 0.09 * (len(paths) + 1) * (high - low))  # room for the legend
    return figure


def barriers(results: Results, ax: Axes | None = None) -> Axes:
    """Barriers by NEB: a row for each strategy and generation, a mark for every seed, a bar at their mean."""
    ax = ax or panels()[1][0]
    rows = [key for key in results.keys if any(row.barrier is not None for row in results.of(*key))]
    for place, key in enumerate(rows):
        heights = np.array([row.barrier for row in results.of(*key) if row.barrier is not None]) / KCAL_PER_MOL
        ax.plot(heights, np.full(len(heights), place), MARKERS[0], color=colour(*key), ms=5, mec="white", mew=0.5)
        ax.plot([heights.mean()] * 2, [place - 0.3, place + 0.3], color=colour(*key), lw=1.6)
    if results.truth_relaxed is not None:
        ax.axvline(results.truth_relaxed / KCAL_PER_MOL, color=INK, lw=1.0, ls=(0, (4, 2)), label="label method")
        # Above the rows, of which every one has its marks.
        ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)
    ax.set_yticks(range(len(rows)), [f"{title_of(*key)} ({_n_barriers(results.of(*key))})" for key in rows])
    ax.set(xlabel="barrier of the inversion (kcal/mol)", ylim=(len(rows) - 0.5, -0.5))
    return ax


def _n_barriers(rows: list[CommitteeRow]) -> int:
    return sum(row.barrier is not None for row in rows)


def landscapes(study: Study, results: Results, seed: int) -> Figure | None:
    """Energies of one seed's committees beside the truth, all in the same colours (Fig. 3e)."""
    found = {key: _landscape(study, key, seed) for key in results.keys}
    maps = {title_of(*key): one for key, one in found.items() if one is not None}
    if not maps:
        return None
    scale = energy_scale(maps.values())
    figure, axes = panels(len(maps) + 1, n_columns=4, width=2.9, height=2.9)
    landscape_energy(next(iter(maps.values())), axes[0], truth=True, scale=scale)
    axes[0].set_title("label method")
    for ax, (name, one) in zip(axes[1:], maps.items(), strict=True):
        landscape_energy(one, ax, scale=scale)
        ax.set_title(name, fontsize=8.5)
    for ax in axes:
        place = ax.get_subplotspec()
        if place is not None and not place.is_first_col():
            ax.set_ylabel("")
    norm = BoundaryNorm(scale.levels, scale.colours.N, extend=scale.extend)
    bar = figure.colorbar(ScalarMappable(norm, scale.colours), ax=axes, label=scale.label, aspect=30, pad=0.02)
    bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()))
    bar.outline.set_visible(False)
    handles, names = axes[1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), handletextpad=0.1)
    return figure


def _landscape(study: Study, key: tuple[str, int], seed: int) -> Landscape | None:
    file = study.result(key[0], seed, key[1], "landscape")
    return read_record(file, Landscape) if file.exists() else None


def robustness(results: Results) -> Figure | None:
    """Errors below a cap, attacks by generation beside all strategies in the end, and stable trajectories (Fig. 3f)."""
    known = results.keys
    attacks = [key for key in known if key[0] in ATTACKS]
    ends = list(dict(known).items())  # the last of each
    errors = any(row.rmse_below for row in results.committees)
    survivors = any(row.stable for row in results.committees)
    if not errors and not survivors:
        return None
    figure, axes = panels(2 * errors + survivors, width=4.4, height=5.2)
    remaining = iter(axes)
    if errors:
        first, second = next(remaining), next(remaining)
        errors_below(results, attacks, first)
        errors_below(results, ends, second)
        second.sharey(first)
    if survivors:
        stable(results, next(remaining))
    return figure


def errors_below(results: Results, keys: Sequence[tuple[str, int]], ax: Axes | None = None) -> Axes:
    """Error of the energy over all points of the grid whose true energy is below a cap, against the cap."""
    ax = ax or panels()[1][0]
    for key in keys:
        rows = [row.rmse_below for row in results.of(*key) if row.rmse_below]
        if rows:
            errors = np.array([[row[f"{cap:g} kcal/mol"] for cap in CAPS] for row in rows]) / KCAL_PER_MOL
            ax.plot(
                CAPS, np.median(errors, axis=0), "o" + dashes(*key), color=colour(*key), lw=1.4, ms=3.5,
                label=f"{title_of(*key)} ({len(rows)})",
            )  # fmt: skip
            ax.fill_between(CAPS, np.min(errors, axis=0), np.max(errors, axis=0), color=colour(*key), alpha=0.1, lw=0)
    ax.set(xscale="log", yscale="log", xlabel="cap of the true energy (kcal/mol)")
    ax.set_ylabel("RMSE below the cap (kcal/mol)")
    ax.set_xticks(CAPS, [f"{cap:g}" for cap in CAPS])
    ax.xaxis.set_minor_locator(NullLocator())
    _legend_above(ax)
    return ax


def _legend_above(ax: Axes) -> None:
    # Lines of a logarithmic panel leave no corner free.
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), fontsize=7)


def stable(results: Results, ax: Axes | None = None) -> Axes:
    """Trajectories that stay physical, by temperature: means over seeds, and their range."""
    ax = ax or panels()[1][0]
    keys = [key for key in results.keys if any(row.stable for row in results.of(*key))]
    for place, key in enumerate(keys):
        by_temperature: dict[float, list[float]] = {}
        for one in (one for row in results.of(*key) for one in row.stable):
            by_temperature.setdefault(one.temperature, []).append(100 * one.n_stable / one.n_copies)
        temperatures = sorted(by_temperature)
        mean = np.array([np.mean(by_temperature[t]) for t in temperatures])
        span = np.array([[min(by_temperature[t]), max(by_temperature[t])] for t in temperatures]).T
        counts = {len(values) for values in by_temperature.values()}
        n_seeds = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        ax.errorbar(
            np.array(temperatures) + 6 * (place - (len(keys) - 1) / 2), mean, yerr=[mean - span[0], span[1] - mean],
            fmt=MARKERS[place % len(MARKERS)] + dashes(*key), color=colour(*key), ms=4.5, lw=0.9, mec="white", mew=0.5,
            label=f"{title_of(*key)} ({n_seeds})",
        )  # fmt: skip
    ax.set(xlabel="temperature (K)", ylabel="trajectories that stay physical (%)", ylim=(-4, 104))
    _legend_above(ax)
    return ax
