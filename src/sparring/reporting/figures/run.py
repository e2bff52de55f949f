"""Figures of a run: its training, its attacks, and what it labelled."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from scipy.stats import spearmanr

from sparring.plots.style import FAINT, GENERATIONS, INK, TEST, generation_colours, panels, source_style
from sparring.plots.ticks import logarithmic
from sparring.reporting.data import Labelled, Paths, Sampled, Training
from sparring.units import KCAL, EnergyUnit

# Above this many marks an SVG is slow to draw; they are then painted as pixels, the axes stay lines.
MANY = 600


def learning_curves(training: Training, ax: Axes | None = None) -> Axes:
    """Training and validation loss of every member by epoch; a dot marks the epoch whose weights a member keeps."""
    ax = ax or panels()[1][0]
    for member in np.unique(training.member):
        rows = training.member == member
        epoch, validation = training.epoch[rows], training.validation_loss[rows]
        first = member == training.member.min()
        ax.plot(epoch, training.train_loss[rows], color="#b6c2cf", lw=0.8, label="training" if first else None)
        ax.plot(epoch, validation, color=GENERATIONS[0], lw=0.8, alpha=0.7, label="validation" if first else None)
        if np.isfinite(validation).any():
            best = np.nanargmin(validation)
            kept = "best validation" if first else None
            ax.plot(epoch[best], validation[best], "o", color=TEST, ms=4, mec="white", mew=0.6, zorder=3, label=kept)
    logarithmic(ax).set(xlabel="epoch", ylabel="loss of Eq. 3 (eV²)")
    ax.legend(loc="upper right")
    return ax


def path_energy(
    paths: Paths, ax: Axes | None = None, *, unit: EnergyUnit = KCAL, colour: str = GENERATIONS[0], label: str = ""
) -> Axes:
    """The committee's mean energy along every attack, above the lowest label; a dot marks the best step."""
    ax = _along_paths(unit.show(paths.energy), paths, ax, colour, label)
    ax.set_ylabel(f"mean energy above lowest ({unit.name})")
    return ax


def path_uncertainty(paths: Paths, ax: Axes | None = None, *, colour: str = GENERATIONS[0], label: str = "") -> Axes:
    """The committee's σ_F along every attack; a dot marks the best step."""
    # A logarithm has no place for members that agree exactly.
    positive = np.where(paths.force_sigma > 0.0, paths.force_sigma, np.nan)
    ax = _along_paths(positive, paths, ax, colour, label, log_scale=True)
    ax.set_ylabel("σ$_F$ of the committee (eV/Å)")
    return ax


def _along_paths(
    values: Float[np.ndarray, "n_points n_seeds"],
    paths: Paths,
    ax: Axes | None,
    colour: str,
    label: str,
    *,
    log_scale: bool = False,
) -> Axes:
    fresh = ax is None or not ax.has_data()
    ax = ax or panels()[1][0]
    if log_scale:
        logarithmic(ax)
    n_points, n_seeds = values.shape
    steps = np.arange(n_points)
    lines = [np.column_stack([steps, path]) for path in values.T]
    alpha = float(np.clip(12.0 / n_seeds, 0.12, 0.6))
    ax.add_collection(LineCollection(lines, colors=colour, lw=0.8, alpha=alpha, rasterized=values.size > 30 * MANY))
    best = values[paths.best_step, np.arange(n_seeds)]
    ax.scatter(
        paths.best_step, best, s=16, color=colour, edgecolors="white", lw=0.5, zorder=3, label=label or "best step"
    )
    low, high = _frame(values, best, log_scale=log_scale)
    before = (low, high) if fresh else ax.get_ylim()
    ax.set(xlabel="step of the attack", xlim=(-0.02 * n_points, 1.02 * n_points))
    ax.set_ylim(min(low, before[0]), max(high, before[1]))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


def note_paths_outside(ax: Axes) -> Axes:
    """Writes into axes of attack paths, once their limits are final, how many paths leave them."""
    low, high = ax.get_ylim()
    drawn = (lines.get_segments() for lines in ax.collections if isinstance(lines, LineCollection))
    paths = [path for segments in drawn for path in segments if len(path)]  # one that never was finite has no points
    n_outside = sum(bool(np.any((path[:, 1] < low) | (path[:, 1] > high))) for path in paths)
    if n_outside:
        words = f"{n_outside} of {len(paths)} paths leave the frame"
        box = {"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 1.5}
        ax.text(0.02, 0.98, words, transform=ax.transAxes, va="top", fontsize="small", color=INK, bbox=box, zorder=4)
    return ax


def labelled_energies(
    groups: Mapping[str, Sampled], ax: Axes | None = None, *, unit: EnergyUnit = KCAL, seed: int = 0
) -> Axes:
    """Energies of what was labelled, above the lowest label: a column a group, every structure a mark by its source.

    The line is the median, the box the interquartile range, as in the paper's Fig. 3b.
    """
    ax = ax or panels()[1][0]
    generator = np.random.default_rng(seed)
    drawn: set[str] = set()
    for place, sampled in enumerate(groups.values()):
        energy = unit.show(sampled.energy)
        _box(ax, place, energy)
        offsets = generator.uniform(-0.24, 0.24, len(energy))
        for source in dict.fromkeys(sampled.source):
            rows = np.array([name == source for name in sampled.source])
            colour, marker, words = source_style(source)
            name = None if source in drawn else words
            drawn.add(source)
            ax.scatter(
                place + offsets[rows], energy[rows], s=13, color=colour, marker=marker, alpha=0.75, lw=0, label=name
            )
    names = [f"{name}\n{len(sampled.energy)}" for name, sampled in groups.items()]
    ax.set_xticks(range(len(groups)), names)
    ax.set(xlabel="generation, number of labels", ylabel=f"energy above lowest ({unit.name})")
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.1 * len(drawn) * (high - low))  # room for the legend above the points
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.legend(loc="upper left", handletextpad=0.1)
    return ax


def uncertainty_error(
    generations: Mapping[str, Labelled], ax: Axes | None = None, *, colours: Sequence[str] | None = None
) -> Axes:
    """Uncertainty σ_F of the committee against its true error, on structures that it was not trained on.

    The line is where they are equal; ρ is Spearman's rank correlation.
    """
    ax = ax or panels(height=4.2)[1][0]
    colours = colours or generation_colours(len(generations))
    everything: list[Float[np.ndarray, " n"]] = []
    for colour, (name, labelled) in zip(colours, generations.items(), strict=True):
        sigma, error = labelled.force_sigma, labelled.force_error
        words = name
        if len(sigma) > 2 and np.ptp(sigma) > 0 and np.ptp(error) > 0:
            words = f"{name}: ρ = {spearmanr(sigma, error).statistic:.2f}, n = {len(sigma)}"
        ax.scatter(sigma, error, s=20, color=colour, edgecolors="white", lw=0.5, label=words, zorder=2)
        everything += [sigma, error]
    low, high = padded(np.concatenate(everything), log_scale=True)
    ax.plot([low, high], [low, high], color=FAINT, lw=0.8, zorder=1)
    logarithmic(ax, "xy").set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set(xlabel="σ$_F$ of the committee (eV/Å)", ylabel="true error, RMS force component (eV/Å)")
    # Above the axes: marks may be anywhere within.
    ax.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), handletextpad=0.1, borderaxespad=0.2)
    return ax


def label_cost(
    generations: Mapping[str, Labelled], ax: Axes | None = None, *, colours: Sequence[str] | None = None, seed: int = 0
) -> Axes:
    """Seconds of one core that every label cost when it was computed, by generation, with their sum."""
    ax = ax or panels()[1][0]
    colours = colours or generation_colours(len(generations))
    generator = np.random.default_rng(seed)
    names = []
    for place, (colour, (name, labelled)) in enumerate(zip(colours, generations.items(), strict=True)):
        seconds = labelled.wall_time[np.isfinite(labelled.wall_time)]
        _box(ax, place, seconds)
        ax.scatter(place + generator.uniform(-0.24, 0.24, len(seconds)), seconds, s=13, color=colour, alpha=0.75, lw=0)
        total = seconds.sum()
        names.append(f"{name}\n{len(seconds)}\n{total:{'.0f' if total > 10 else '.2g'}} s")
    ax.set_xticks(range(len(names)), names)
    ax.set(xlim=(-0.6, len(names) - 0.4), xlabel="generation, number of labels, sum", ylabel="wall time of a label (s)")
    ax.set_ylim(0.0, 1.06 * max(ax.get_ylim()[1], 1e-3))
    ax.grid(visible=False, axis="x")
    return ax


def by_generation(
    numbers: Sequence[int],
    values: Sequence[float],
    ax: Axes | None = None,
    *,
    quantity: str,
    reference: tuple[str, float] | None = None,
    colours: Sequence[str] | None = None,
    joined: bool = True,
) -> Axes:
    """One number a generation, such as a barrier, beside the number it should be.

    A line joins only numbers that can be compared: not errors on different structures.
    """
    ax = ax or panels()[1][0]
    if joined:
        ax.plot(numbers, values, color=FAINT, lw=1.0, zorder=1)
    ax.scatter(
        numbers,
        values,
        s=42,
        color=list(colours or generation_colours(len(values))),
        edgecolors="white",
        lw=0.6,
        zorder=3,
    )
    for number, value in zip(numbers, values, strict=True):
        ax.annotate(f"{value:#.3g}", (number, value), (0, 8), textcoords="offset points", ha="center", fontsize="small")
    shown = list(values)
    if reference is not None:
        name, value = reference
        ax.axhline(value, color=INK, lw=1.0, ls=(0, (5, 3)), zorder=0, label=f"{name}: {value:#.3g}")
        ax.legend(loc="best")
        shown.append(value)
    else:
        shown.append(0.0)
    low, high = min(shown), max(shown)
    margin = 0.18 * (high - low or abs(high) or 1.0)
    ax.set_ylim(low - margin if low != 0.0 else 0.0, high + margin)
    ax.set_xticks(list(numbers))
    ax.set(xlabel="generation", ylabel=quantity, xlim=(min(numbers) - 0.5, max(numbers) + 0.5))
    return ax


def _box(ax: Axes, place: int, values: Float[np.ndarray, " n"]) -> None:
    """Median and interquartile range behind the points; too few points are better shown alone."""
    if len(values) < 5:
        return
    low, middle, high = np.percentile(values, (25, 50, 75))
    ax.fill_between([place - 0.34, place + 0.34], low, high, color="#e9edf1", lw=0, zorder=0)
    ax.plot([place - 0.34, place + 0.34], [middle, middle], color=INK, lw=1.4, zorder=3)


def padded(values: Float[np.ndarray, " n"], *, log_scale: bool = False) -> tuple[float, float]:
    """Limits with a margin around all finite values (the positive ones on a logarithmic axis)."""
    kept = values[np.isfinite(values) & ((values > 0.0) | (not log_scale))]
    low, high = (kept.min(), kept.max()) if len(kept) else (0.1, 1.0)
    if log_scale:
        return float(low / 1.5), float(high * 1.5)
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + margin)


def _frame(
    values: Float[np.ndarray, "n_points n_seeds"], best: Float[np.ndarray, " n_seeds"], *, log_scale: bool
) -> tuple[float, float]:
    """Limits that hold every best step and 98 % of all steps.

    A committee that extrapolates may send single paths to absurd energies; they would flatten all the others.
    """
    finite = values[np.isfinite(values)]
    middle = np.percentile(finite, (1, 99)) if len(finite) else np.empty(0)
    return padded(np.concatenate([middle, best]), log_scale=log_scale)
