"""Figures of landscapes: energy and uncertainty over two variables or along one, and errors below a cap of energy."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from sparring.plots.scales import Scale, colour_bar, energy_scale, uncertainty_scale
from sparring.plots.style import INK, STYLE, generation_colours, panels
from sparring.plots.ticks import GREEK, radians
from sparring.surfaces.grids import Variable
from sparring.surfaces.landscape import Landscape, Landscapes
from sparring.units import KCAL, EnergyUnit

COLUMNS = 5
CAP = 300.0  # kcal/mol, where Fig. 4c of the paper clips energies over two torsions
FEW = 5  # points, of which no error is given
NOTHING = "#f3f4f6"
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

# What each role of a labelled structure is called, and how it is drawn: white, grey and black as in the paper.
MARKS = {
    "start": ("starting data", "white", INK),
    "earlier": ("added by earlier committees", "#9aa4ae", INK),
    "next": ("added by this committee", "black", "white"),
}


def landscape_energy(
    landscape: Landscape,
    ax: Axes | None = None,
    *,
    truth: bool = False,
    unit: EnergyUnit = KCAL,
    scale: Scale | None = None,
    colour: str = INK,
) -> Axes:
    """Energy over two variables, with labelled structures as dots; along one variable, a curve beside the truth.

    What is not known is blank. The band about a curve is the standard deviation over the members.

    Args:
        landscape: Landscape of a committee.
        ax: Axes to draw on.
        truth: True to draw the true energies, without structures, instead of the committee's.
        unit: Unit of energies.
        scale: Colour scale shared with other panels; None for one of its own.
        colour: Colour of a curve.
    """
    if landscape.y is None:
        return _energy_curve(landscape, ax or panels()[1][0], truth=truth, unit=unit, colour=colour)
    energy = unit.show(landscape.truth if truth else landscape.energy)
    # Below zero, where log10(1 + E) ends, its mirror image goes on.
    ax = _filled(
        landscape, np.sign(energy) * np.log10(1 + np.abs(energy)), scale or energy_scale([landscape], unit), ax
    )
    if truth:
        _note(ax, int((landscape.mask & ~np.isfinite(landscape.truth)).sum()), "without a label")
    else:
        _draw_marks(landscape, ax, unit)
    return ax


def landscape_uncertainty(
    landscape: Landscape, ax: Axes | None = None, *, scale: Scale | None = None, colour: str = INK
) -> Axes:
    """The committee's σ_F over two variables or along one, on a logarithmic scale."""
    # A logarithm has no place for members that agree exactly.
    sigma = np.where(landscape.force_sigma > 0.0, landscape.force_sigma, np.nan)
    if landscape.y is not None:
        return _filled(landscape, np.log10(sigma), scale or uncertainty_scale([landscape]), ax)
    ax = ax or panels()[1][0]
    ax.plot(landscape.x.values, sigma[:, 0], color=colour, lw=1.4)
    ax.set(xlabel=_named(landscape.x), ylabel="σ$_F$ of the committee (eV/Å)")
    ax.set_xlim(landscape.x.values[0], landscape.x.values[-1])
    logarithmic(ax, "y")
    return ax


def landscape_errors(
    landscapes: Mapping[str, Landscape],
    ax: Axes | None = None,
    *,
    unit: EnergyUnit = KCAL,
    colours: Sequence[str] | None = None,
    aligned: bool = False,
) -> Axes:
    """Error of committees over all points whose true energy is below a cap, against the cap (Fig. 3f).

    Curves begin where a few points are below.
    """
    ax = ax or panels()[1][0]
    colours = colours or generation_colours(len(landscapes))
    for colour, (name, one) in zip(colours, landscapes.items(), strict=True):
        caps = np.sort(one.truth[np.isfinite(one.truth)])
        caps = (caps - caps[:1])[FEW:]
        error = unit.show(one.rmse_below(caps.tolist(), aligned=aligned))
        ax.plot(unit.show(caps), error, color=colour, lw=1.4, label=name, drawstyle="steps-post")
    ax.set(xlabel=f"cap of the true energy ({unit.name})", ylabel=f"RMSE below the cap ({unit.name})")
    logarithmic(ax, "x", (1.0,))
    logarithmic(ax, "y")
    ax.legend(loc="best")
    return ax


def landscape_figure(landscapes: Landscapes, *, unit: EnergyUnit = KCAL, aligned: bool = False) -> Figure:
    """The truth and all committees side by side, energies above uncertainties; below the truth, the errors."""
    maps = landscapes.committees
    first = next(iter(maps.values()))
    energies, sigmas = energy_scale(maps.values(), unit, cap=_cap(first, unit)), uncertainty_scale(maps.values())
    cells: list[str | None] = [*([None] if first.has_truth else []), *maps]  # None is the truth
    n_columns = math.ceil(len(cells) / math.ceil(len(cells) / COLUMNS))
    with rc_context(STYLE):
        figure, rows = _rows(len(cells), n_columns)
        colours = dict(zip(maps, generation_colours(len(maps)), strict=True))
        for place, name in enumerate(cells):
            block, column = divmod(place, n_columns)
            upper, lower = rows[2 * block][column], rows[2 * block + 1][column]
            if name is None:
                landscape_energy(first, upper, truth=True, unit=unit, scale=energies)
                landscape_errors(maps, lower, unit=unit, colours=list(colours.values()), aligned=aligned)
                upper.set_title("ground truth")
            else:
                landscape_energy(maps[name], upper, unit=unit, scale=energies, colour=colours[name])
                landscape_uncertainty(maps[name], lower, scale=sigmas, colour=colours[name])
                upper.set_title(name, color=colours[name])
        if first.has_truth:
            rows[1] = rows[1][1:]  # without the errors
        _finish_rows(rows[::2], energies)
        _finish_rows(rows[1::2], sigmas)
        _explain_marks(figure)
    return figure


def _rows(n_cells: int, n_columns: int) -> tuple[Figure, list[list[Axes]]]:
    """Two rows of panels for every `n_columns` cells; the last two may be short."""
    n_blocks = math.ceil(n_cells / n_columns)
    figure = Figure(figsize=(2.7 * n_columns + 0.9, 5.2 * n_blocks + 0.4), layout="constrained")
    lattice = figure.add_gridspec(2 * n_blocks, n_columns)
    lengths = [min(n_columns, n_cells - n_columns * block) for block in range(n_blocks) for _ in range(2)]
    return figure, [[figure.add_subplot(lattice[row, i]) for i in range(n)] for row, n in enumerate(lengths)]


def _finish_rows(rows: Sequence[Sequence[Axes]], scale: Scale) -> None:
    """Panels of one quantity: one label a row, and a bar of colours; or the same limits, if they hold curves."""
    axes = [ax for row in rows for ax in row]
    filled = [one for ax in axes for one in ax.collections if isinstance(one, QuadContourSet)]
    limits = np.array([ax.get_ylim() for ax in axes])
    for row in filter(None, rows):
        if filled:
            colour_bar(scale, row)
        for number, ax in enumerate(row):
            if not filled:
                ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())
            if number:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)


def _explain_marks(figure: Figure) -> None:
    """One legend of dots, lines and bands for all panels except that of the errors, which has its own."""
    panels = [ax for ax in figure.axes if ax.get_legend() is None]
    entries = {words: mark for ax in panels for mark, words in zip(*ax.get_legend_handles_labels(), strict=True)}
    order = [words for words, *_ in MARKS.values()]
    names = sorted(entries, key=lambda words: order.index(words) if words in order else -1)
    if names:
        handles = [entries[words] for words in names]
        figure.legend(handles, names, loc="outside lower right", ncols=len(names), handletextpad=0.3)


def _filled(landscape: Landscape, values: Float[np.ndarray, "n_x n_y"], scale: Scale, ax: Axes | None) -> Axes:
    """Filled contours; with a bar of colours if the axes are new."""
    given, ax = ax is not None, ax or panels(height=3.4)[1][0]
    assert landscape.y is not None
    ax.set_facecolor(NOTHING)
    ax.grid(visible=False)
    surface = _closed(landscape.x, landscape.y, values)
    finite = values[np.isfinite(values)]
    if len(finite):
        filled = ax.contourf(*surface, levels=scale.levels, cmap=scale.colours, extend=scale.extend)
        filled.set(edgecolor="face", linewidth=0.3)  # or else the seams of the colours shine through
    inside = [tick for tick in scale.ticks if finite.min(initial=np.inf) < tick < finite.max(initial=-np.inf)]
    if inside:  # lines where the bar has its numbers
        ax.contour(*surface, levels=inside, colors="white", linewidths=0.6, alpha=0.55, linestyles="solid")
    ax.set(xlabel=_named(landscape.x), ylabel=_named(landscape.y))
    for axis, variable in ((ax.xaxis, landscape.x), (ax.yaxis, landscape.y)):
        if variable.period is not None:
            radians(axis)
    if not given:
        colour_bar(scale, [ax])
    return ax


def _closed(
    x: Variable, y: Variable, values: Float[np.ndarray, "n_x n_y"]
) -> tuple[Float[np.ndarray, " m_x"], Float[np.ndarray, " m_y"], np.ma.MaskedArray]:
    """Coordinates and values for contours; a periodic variable is closed with its first values."""
    if x.period is not None:
        values = np.concatenate([values, values[:1]])
    if y.period is not None:
        values = np.concatenate([values, values[:, :1]], axis=1)
    along_x, along_y = (one.values if one.period is None else np.append(one.values, one.span[1]) for one in (x, y))
    return along_x, along_y, np.ma.masked_invalid(values.T)


def _cap(landscape: Landscape, unit: EnergyUnit) -> float | None:
    """Energy at which maps are clipped: only over torsions, whose maps contain overlapping atoms."""
    torsions = landscape.y is not None and landscape.x.period is not None and landscape.y.period is not None
    return CAP * KCAL.size / unit.size if torsions else None


def _energy_curve(landscape: Landscape, ax: Axes, *, truth: bool, unit: EnergyUnit, colour: str) -> Axes:
    x, true = landscape.x.values, unit.show(landscape.truth[:, 0])
    if landscape.has_truth:
        ax.plot(x, true, color=INK, lw=1.4 if truth else 1.0, ls="-" if truth else (0, (4, 2)), label="truth")
        room = 0.15 * (np.nanmax(true) - np.nanmin(true))
        ax.set_ylim(np.nanmin(true) - room, np.nanmax(true) + room)
    if not truth:
        energy, sigma = unit.show(landscape.energy[:, 0]), unit.show(landscape.energy_sigma[:, 0])
        ax.fill_between(x, energy - sigma, energy + sigma, color=colour, alpha=0.25, lw=0, label="±σ$_E$")
        ax.plot(x, energy, color=colour, lw=1.4, label="committee")
        _draw_marks(landscape, ax, unit)
    ax.set(xlabel=_named(landscape.x), ylabel=f"relative energy ({unit.name})", xlim=(x[0], x[-1]))
    return ax


def _draw_marks(landscape: Landscape, ax: Axes, unit: EnergyUnit) -> None:
    """Labelled structures: where they are, and on a line how high."""
    ax.set_xlim(*landscape.x.span)
    if landscape.y is not None:
        ax.set_ylim(*landscape.y.span)
    (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
    n_outside = 0
    for role, (words, colour, edge) in MARKS.items():
        if role in landscape.marks:
            marks = landscape.marks[role]
            y = unit.show(marks.energy) if landscape.y is None else marks.y
            ax.scatter(marks.x, y, s=11, color=colour, edgecolors=edge, lw=0.4, zorder=3, label=words)
            n_outside += int((~((marks.x >= left) & (marks.x <= right) & (y >= low) & (y <= high))).sum())
    _note(ax, n_outside, "outside")


def logarithmic(ax: Axes, side: Literal["x", "y"], digits: Sequence[float] = (1.0, 3.0)) -> None:
    """A logarithmic axis with plain numbers, if any line has a place on it."""
    data = [np.asarray(getattr(line, f"get_{side}data")(), dtype=float) for line in ax.get_lines()]
    if any((values > 0.0).any() for values in data):
        ax.set(**{f"{side}scale": "log"})
        axis = ax.xaxis if side == "x" else ax.yaxis
        axis.set_major_locator(LogLocator(subs=digits))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())


def _note(ax: Axes, n: int, what: str) -> None:
    if n:
        box = {"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 2}
        ax.text(0.03, 0.03, f"{what}: {n}", transform=ax.transAxes, fontsize="x-small", color=INK, bbox=box, zorder=4)


def _named(variable: Variable) -> str:
    """A variable with its unit, digits behind a letter as subscripts."""
    name = GREEK.get(variable.name, variable.name)
    name = re.sub(r"(?<=[A-Za-z])\d+", lambda digits: digits[0].translate(SUBSCRIPTS), name)
    return f"{name} ({variable.unit})" if variable.unit else name
