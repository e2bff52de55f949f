"""Figures of new labels: true against expected errors, and the error that each generation found."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sparring.plots.style import FAINT, INK, TEST, generation_colours, panels, source_style
from sparring.plots.ticks import logarithmic
from sparring.runs.expectations import NewLabels

__all__ = ["errors_by_generation", "expected_errors"]

ROUNDS = 3
"""Number of rounds whose labels are drawn, the newest ones."""


def expected_errors(
    rounds: Sequence[NewLabels], ax: Axes | None = None, *, colours: Mapping[int, str] | None = None
) -> Axes:
    """True errors of new labels against those that were expected before them, with the bounds of the newest round.

    Sources of a portfolio have markers of their own.

    Args:
        rounds: New labels by generation; the newest ones with expected errors are drawn.
        ax: Axes to draw on.
        colours: Colour of each generation.
    """
    ax = ax or panels(height=3.6)[1][0]
    colours = colours or _colours(rounds)
    known = [one for one in rounds if one.expectation() is not None][-ROUNDS:]
    several = len({source for one in known for source in one.source}) > 1
    everything: list[float] = []
    markers: dict[str, str] = {}
    for one in known:
        usable = np.isfinite(one.error) & (one.error > 0) & (one.expected > 0)
        everything += [*one.expected[usable], *one.error[usable]]
        for source in dict.fromkeys(one.source):
            style = source_style(source)
            marker = markers[style.words] = style.marker if several else "o"
            rows = usable & np.array([name == source for name in one.source])
            ax.scatter(
                one.expected[rows],
                one.error[rows],
                s=26,
                color=colours[one.generation],
                marker=marker,
                edgecolors="white",
                lw=0.5,
                zorder=3,
            )
    handles = [
        Line2D(
            [], [], ls="", marker="o", color=colours[one.generation], mec="white", label=f"generation {one.generation}"
        )
        for one in known
    ]
    if several:
        handles += [Line2D([], [], ls="", marker=marker, color=FAINT, label=words) for words, marker in markers.items()]
    if everything:
        low, high = min(everything) / 1.4, max(everything) * 1.4
        ends = np.array([low, high])
        handles += ax.plot(ends, ends, color=FAINT, lw=1.0, zorder=1, label="as expected")
        newest = known[-1]
        words = f"{100 * newest.confidence:.0f} % bound, generation {newest.generation}"
        colour = colours[newest.generation]
        handles += ax.plot(ends, newest.factor * ends, color=colour, lw=1.2, ls=(0, (5, 3)), zorder=2, label=words)
        logarithmic(ax, "xy", n_ticks=6).set(xlim=(low, high), ylim=(low, high))
    ax.set(xlabel="expected error of forces (eV/Å)", ylabel="true error of forces (eV/Å)")
    # Above the axes: marks may be anywhere within.
    above = {"bbox_to_anchor": (0.0, 1.0), "borderaxespad": 0.2}
    ax.legend(handles=handles, loc="lower left", ncols=2, handletextpad=0.4, columnspacing=1.2, **above)
    return ax


def errors_by_generation(
    rounds: Sequence[NewLabels],
    ax: Axes | None = None,
    *,
    target: float | None = None,
    colours: Mapping[int, str] | None = None,
) -> Axes:
    """Error that the labels of each generation found: a bar from the median to the bound of the next structure.

    No line joins generations, whose labels are of different structures. An arrow stands for a round without a bound.

    Args:
        rounds: New labels by generation.
        ax: Axes to draw on.
        target: Error at which the run ends, in eV/Å; None for no line.
        colours: Colour of each generation.
    """
    ax = ax or panels(height=3.6)[1][0]
    colours = colours or _colours(rounds)
    finite = [value for one in rounds for value in (one.median_error, one.error_found) if math.isfinite(value)]
    finite += [] if target is None else [target]
    low, high = (min(finite) / 1.6, 2.0 * max(finite)) if finite and min(finite) > 0 else (0.01, 1.0)
    for one in rounds:
        x, colour, median = float(one.generation), colours[one.generation], one.median_error
        bounded = math.isfinite(one.error_found)
        top = one.error_found if bounded else high / 1.15
        bottom = median if math.isfinite(median) else low * 1.15
        ax.plot([x, x], [bottom, top], color=colour, lw=2.2, solid_capstyle="butt", zorder=2)
        ax.plot(x, top, marker="_" if bounded else "^", color=colour, ms=13 if bounded else 8, mew=2.2, zorder=3)
        if bounded:
            _number(ax, x, one.error_found, above=True)
        if math.isfinite(median):
            ax.plot(x, median, "o", color=colour, ms=7, mec="white", mew=0.8, zorder=4)
            _number(ax, x, median, above=False)
    if target is not None:
        ax.axhline(target, color=TEST, lw=1.2, ls=(0, (5, 3)), zorder=1)
        across = ax.get_yaxis_transform()
        ax.text(0.99, target * 1.03, f"target {target:g}", transform=across, ha="right", va="bottom", fontsize="small")
    numbers = [one.generation for one in rounds]
    logarithmic(ax).set(ylim=(low, high), xlim=(min(numbers) - 0.6, max(numbers) + 0.6))
    ax.set_xticks(numbers[:: -(-len(numbers) // 10)])
    ax.set(xlabel="generation", ylabel="error of forces on new labels (eV/Å)")
    ax.grid(visible=False, axis="x")
    return ax


def _number(ax: Axes, x: float, value: float, *, above: bool) -> None:
    offset = (0, 5) if above else (8, -3)
    ax.annotate(
        f"{value:.2g}",
        (x, value),
        offset,
        textcoords="offset points",
        ha="center" if above else "left",
        fontsize="small",
        color=INK,
        bbox={"facecolor": "white", "alpha": 0.85, "lw": 0, "pad": 0.6},
        zorder=5,
    )


def _colours(rounds: Sequence[NewLabels]) -> dict[int, str]:
    return dict(zip((one.generation for one in rounds), generation_colours(len(rounds)), strict=True))
