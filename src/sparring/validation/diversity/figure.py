"""Figures of labelled structures: similarity, energy, distance to the ground state."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, INK, STYLE, generation_colours, panels, source_style
from sparring.units import KCAL, EnergyUnit
from sparring.validation.diversity.compute import Diversity

__all__ = ["diversity_figure", "energies_by_source", "rmsd_energy", "similarity_map"]

# What runs started with steps back behind what they found. Several runs may have started with other structures.
STARTS = ("#6e7781", "#a3acb6", "#4a5159")
# Above this many marks an SVG is slow to draw; they are then painted as pixels, the axes stay lines.
MANY = 600


class _Group(NamedTuple):
    name: str
    rows: Int[np.ndarray, " n_members"]
    colour: str
    marker: str

    @property
    def size(self) -> float:
        """Area of its marks, in square points; a single star among many dots is larger."""
        return 70.0 if self.marker == "*" else 18.0


def similarity_map(diversity: Diversity, ax: Axes | None = None, *, legend: bool = True) -> Axes:
    """Similarity map, as in the paper's Fig. 3a: similar structures lie together, both axes have one scale.

    A map preserves neighbourhoods. Distances between islands, and the sizes of islands, mean little.
    """
    ax = ax or panels(height=4.0)[1][0]
    for group in _groups(diversity):
        _scatter(ax, group, *diversity.map[group.rows].T)
    ax.set_aspect("equal", adjustable="datalim")
    ax.set(xlabel="UMAP 1 (no unit)", ylabel="UMAP 2 (no unit)")
    ax.tick_params(labelbottom=False, labelleft=False, length=0)
    ax.margins(0.08)
    if legend:
        ax.legend(loc="best", handletextpad=0.1)
    return ax


def energies_by_source(diversity: Diversity, ax: Axes | None = None, *, unit: EnergyUnit = KCAL, seed: int = 0) -> Axes:
    """Distributions of energies, as in the paper's Fig. 3b: a row a group, every structure a mark.

    The line is the median, the box the interquartile range, and the whiskers span the whole range.
    """
    groups = list(_groups(diversity))
    ax = ax or panels(height=1.2 + 0.5 * len(groups))[1][0]
    generator = np.random.default_rng(seed)
    for place, group in enumerate(groups):
        energy = unit.show(diversity.energy[group.rows])
        _box(ax, place, energy)
        spread = 0.22 if len(energy) > 1 else 0.0
        _scatter(ax, group, energy, place + generator.uniform(-spread, spread, len(energy)))
    ax.set_yticks(range(len(groups)), [f"{group.name} ({len(group.rows)})" for group in groups])
    ax.set_ylim(len(groups) - 0.4, -0.6)
    ax.grid(visible=False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=f"energy above lowest ({unit.name})")
    return ax


def rmsd_energy(diversity: Diversity, ax: Axes | None = None, *, unit: EnergyUnit = KCAL, legend: bool = True) -> Axes:
    """Distortion against energy, as in the paper's Fig. 3c."""
    ax = ax or panels()[1][0]
    for group in _groups(diversity):
        _scatter(ax, group, unit.show(diversity.energy[group.rows]), diversity.rmsd[group.rows])
    ax.set(xlabel=f"energy above lowest ({unit.name})", ylabel="RMSD to the ground state (Å)")
    if legend:
        ax.legend(loc="best", handletextpad=0.1)
    return ax


def diversity_figure(diversity: Diversity, *, unit: EnergyUnit = KCAL) -> Figure:
    """The three beside each other, with one legend."""
    with rc_context(STYLE):
        n_groups = len(diversity.groups())
        figure, (left, middle, right) = panels(3, width=4.6, height=max(3.6, 1.6 + 0.36 * n_groups))
        similarity_map(diversity, left, legend=False).set_title("Similarity (SOAP, UMAP)")
        energies_by_source(diversity, middle, unit=unit).set_title("Energies")
        rmsd_energy(diversity, right, unit=unit, legend=False).set_title("Distortion and energy")
        handles, names = left.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=min(len(names), 4), handletextpad=0.1)
    return figure


def _groups(diversity: Diversity) -> Iterator[_Group]:
    """Groups of structures, each with its colour and marker."""
    members = diversity.groups()
    started = {name: bool((diversity.generation[rows] == 1).all()) for name, rows in members.items()}
    colours = iter(generation_colours(len(members) - sum(started.values())))
    n_starts: dict[str, int] = {}
    for name, rows in members.items():
        source = diversity.source[rows[0]]
        colour, marker, _ = source_style(source)
        if not started[name]:
            colour = next(colours)
        elif source != "minimum":
            colour = STARTS[n_starts.setdefault(source, 0) % len(STARTS)]
            n_starts[source] += 1
        yield _Group(name, rows, colour, marker)


def _scatter(ax: Axes, group: _Group, x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> None:
    ax.scatter(
        x,
        y,
        s=group.size,
        color=group.colour,
        marker=group.marker,
        edgecolors="white",
        lw=0.4,
        alpha=0.85,
        label=group.name,
        zorder=4 if group.marker == "*" else 3,
        rasterized=len(x) > MANY,
    )


def _box(ax: Axes, place: int, values: Float[np.ndarray, " n"]) -> None:
    """Draw median, quartiles and range of at least five values."""
    if len(values) < 5:
        return
    lowest, low, middle, high, highest = np.percentile(values, (0, 25, 50, 75, 100))
    ax.plot([lowest, highest], [place, place], color=FAINT, lw=0.9, zorder=1)
    ax.plot([lowest, lowest, np.nan, highest, highest], place + 0.14 * np.array([-1, 1, 0, -1, 1]), color=FAINT, lw=0.9)
    ax.fill_betweenx([place - 0.34, place + 0.34], low, high, color="#e3e7ec", lw=0, zorder=2)
    ax.plot([low, high, high, low, low], place + 0.34 * np.array([-1, -1, 1, 1, -1]), color=INK, lw=0.7, zorder=4)
    ax.plot([middle, middle], [place - 0.34, place + 0.34], color=INK, lw=1.4, zorder=4)
