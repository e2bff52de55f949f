"""Energies of what was labelled, over so many powers of ten that only boxes on a logarithmic axis can show them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, SymmetricalLogLocator

from sparring.plots.style import FIT, INK, panels
from sparring.reporting.data import Sampled
from sparring.units import KCAL, EnergyUnit

__all__ = ["energy_distributions"]

HALF = 0.32
LINEAR = 1.0  # in the unit of the axis, below which it is linear: the lowest label of all is at zero


def energy_distributions(
    groups: Mapping[str, Sampled],
    ax: Axes | None = None,
    *,
    discarded: Mapping[str, int] | None = None,
    unit: EnergyUnit = KCAL,
) -> Axes:
    """Distributions of label energies by generation, as in the paper's Fig. 4b.

    The line is the median, the box the interquartile range, and whiskers span the whole range. Below are how many
    labels there are, and how many were discarded; these have no place on the axis.

    Args:
        groups: Labels by the names of the groups, in eV above the lowest.
        ax: Axes to draw on.
        discarded: Numbers of labels that failed.
        unit: Unit of the axis.
    """
    ax = ax or panels()[1][0]
    discarded = discarded or {}
    for place, sampled in enumerate(groups.values()):
        energy = unit.show(sampled.energy[np.isfinite(sampled.energy)])
        if not len(energy):
            continue
        lowest, low, middle, high, highest = np.percentile(energy, (0, 25, 50, 75, 100))
        for end, start in ((lowest, low), (highest, high)):
            ax.plot([place, place], [start, end], color=INK, lw=1.0, zorder=2)
            ax.plot([place - 0.4 * HALF, place + 0.4 * HALF], [end, end], color=INK, lw=1.0, zorder=2)
        ax.fill_between([place - HALF, place + HALF], low, high, facecolor=FIT, edgecolor=INK, lw=0.8, zorder=3)
        ax.plot([place - HALF, place + HALF], [middle, middle], color=INK, lw=1.8, zorder=4)
    names = [f"{name}\n{len(one.energy)}{_without(discarded.get(name, 0))}" for name, one in groups.items()]
    ax.set_xticks(range(len(groups)), names)
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=0.4)
    ax.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=LINEAR))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    highest = max((float(unit.show(one.energy).max()) for one in groups.values() if len(one.energy)), default=1.0)
    ax.set_ylim(0.0, 2 * max(highest, LINEAR))
    ax.set_xlim(-0.6, len(groups) - 0.4)
    ax.set(xlabel=_explained(discarded), ylabel=f"energy above lowest ({unit.name})")
    ax.grid(visible=False, axis="x")
    return ax


def _without(n: int) -> str:
    return f"\n(−{n})" if n else ""


def _explained(discarded: Mapping[str, int]) -> str:
    words = "generation, number of labels"
    return f"{words} (− discarded)" if any(discarded.values()) else words
