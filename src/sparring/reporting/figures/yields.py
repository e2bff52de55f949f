"""Figures of the yield of proposers, by generation."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from sparring.plots.style import panels, source_style
from sparring.runs.yields import Yield
from sparring.units import KCAL, EnergyUnit

__all__ = ["errors_found", "labels_spent"]


def labels_spent(yields: Sequence[Yield], ax: Axes | None = None) -> Axes:
    """Labels of each proposer, a column for each generation; refused ones are hatched."""
    ax = ax or panels()[1][0]
    numbers = _generations(yields)
    bottom = np.zeros(len(numbers))
    for source in _sources(yields):
        own = [[one for one in yields if (one.generation, one.source) == (number, source)] for number in numbers]
        refused = np.array([sum(one.n_refused for one in some) for some in own])
        useful = np.array([sum(one.n_chosen for one in some) for some in own]) - refused
        style = source_style(source)
        ax.bar(numbers, useful, 0.6, bottom, color=style.colour, lw=0)
        ax.bar(numbers, refused, 0.6, bottom + useful, color="white", edgecolor=style.colour, hatch="////", lw=0)
        bottom += useful + refused
    ax.set(xlabel="generation", ylabel="labels", ylim=(0, 1.05 * max(bottom.max(), 1)))
    return _with_generations(ax, numbers)


def errors_found(yields: Sequence[Yield], ax: Axes | None = None, *, unit: EnergyUnit = KCAL) -> Axes:
    """Mean error of forces that the labels of each proposer uncovered, by generation."""
    ax = ax or panels()[1][0]
    sources, numbers = _sources(yields), _generations(yields)
    for place, source in enumerate(sources):
        shift = 0.08 * (place - (len(sources) - 1) / 2)  # marks of equal errors stay apart
        known = [one for one in yields if one.source == source and not math.isnan(one.force_error)]
        style = source_style(source)
        ax.plot(
            [one.generation + shift for one in known],
            [one.force_error / unit.size for one in known],
            color=style.colour,
            marker=style.marker,
            ms=6,
            mec="white",
            lw=1.0,
            label=style.words,
        )
    ax.set(xlabel="generation", ylabel=f"error found, forces ({unit.name}/Å)")
    ax.set_ylim(0.0, max(ax.get_ylim()[1], 1e-3))
    return _with_generations(ax, numbers)


def _with_generations(ax: Axes, numbers: Sequence[int]) -> Axes:
    ax.set_xticks(list(numbers[:: -(-len(numbers) // 10)]))
    ax.set_xlim(min(numbers) - 0.5, max(numbers) + 0.5)
    return ax


def _sources(yields: Sequence[Yield]) -> list[str]:
    return list(dict.fromkeys(one.source for one in yields))


def _generations(yields: Sequence[Yield]) -> list[int]:
    return sorted({one.generation for one in yields})
