"""Figures of free energies over two torsions: the labels' own surface, the committee, and where they differ."""

from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, GENERATIONS, INK, STYLE, panels
from sparring.plots.ticks import GREEK, radians
from sparring.units import KCAL, EnergyUnit
from sparring.validation.free_energy.histograms import FreeEnergies

__all__ = ["free_energy_difference", "free_energy_figure", "free_energy_map", "free_energy_parity"]

NOTHING = "#f3f4f6"


def free_energy_map(
    result: FreeEnergies,
    which: Literal["committee", "reference"],
    ax: Axes | None = None,
    *,
    unit: EnergyUnit = KCAL,
    highest: float | None = None,
) -> Axes:
    """Free energy over two torsions, blank in bins without frames; the frame of the shared region is drawn.

    Args:
        result: Both free energies.
        which: Free energy to draw.
        ax: Axes to draw on.
        unit: Unit of energies.
        highest: Upper end of the colours in `unit`; None for the highest value of both.
    """
    ax = ax or panels(height=3.6)[1][0]
    if highest is None:
        highest = _highest(result, unit)
    values = unit.show(getattr(result, which))
    _mesh(result, ax, values, "viridis", 0.0, highest)
    if result.shared.any() and not result.shared.all():
        # The edge of what is compared: a line that grey print keeps.
        shared = result.shared.T.astype(float)
        ax.contour(result.x.values, result.y.values, shared, [0.5], colors=INK, linewidths=0.9, zorder=2)
    return ax


def free_energy_difference(result: FreeEnergies, ax: Axes | None = None, *, unit: EnergyUnit = KCAL) -> Axes:
    """Committee less reference in the shared region; a dot where it is more than two standard errors."""
    ax = ax or panels(height=3.6)[1][0]
    difference = np.where(result.shared, unit.show(result.committee - result.reference), np.nan)
    largest = float(np.abs(difference[result.shared]).max(initial=1e-3))
    _mesh(result, ax, difference, "PuOr", -largest, largest)
    clear = np.argwhere(result.shared & (np.abs(difference) > 2 * unit.show(result.sigma)))
    x, y = result.x.values[clear[:, 0]], result.y.values[clear[:, 1]]
    ax.plot(x, y, ".", color=INK, ms=2.0, label="beyond 2 standard errors", zorder=3)
    return ax


def free_energy_parity(result: FreeEnergies, ax: Axes | None = None, *, unit: EnergyUnit = KCAL) -> Axes:
    """Committee against reference, bin by bin of the shared region, with the standard error of the difference."""
    ax = ax or panels(height=3.6)[1][0]
    committee, reference = (unit.show(one[result.shared]) for one in (result.committee, result.reference))
    sigma = unit.show(result.sigma[result.shared])
    marks = {"fmt": "o", "ms": 3.0, "lw": 0.6, "mew": 0.0}
    ax.errorbar(reference, committee, yerr=sigma, color=GENERATIONS[0], ecolor=FAINT, **marks)  # type: ignore[arg-type]
    ax.axline((0.0, 0.0), slope=1.0, color=INK, lw=0.8, zorder=1)
    if not result.shared.any():
        ax.text(0.5, 0.5, "nothing to compare", transform=ax.transAxes, ha="center", color=INK)
        return ax
    words = (
        f"mean |ΔF| {result.difference / unit.size:.2f} ± {result.difference_sigma / unit.size:.2f}\n"
        f"noise alone {result.noise / unit.size:.2f} {unit.name}"
    )
    ax.text(0.03, 0.97, words, transform=ax.transAxes, va="top", fontsize="small")
    ax.set(xlabel=f"F of the reference ({unit.name})", ylabel=f"F of the committee ({unit.name})")
    return ax


def free_energy_figure(result: FreeEnergies, *, unit: EnergyUnit = KCAL) -> Figure:
    """Reference, committee, their difference, and bin against bin."""
    with rc_context(STYLE):
        figure, axes = panels(4, n_columns=4, width=3.3, height=3.4)
        highest = _highest(result, unit)
        free_energy_map(result, "reference", axes[0], unit=unit, highest=highest)
        free_energy_map(result, "committee", axes[1], unit=unit, highest=highest)
        free_energy_difference(result, axes[2], unit=unit)
        free_energy_parity(result, axes[3], unit=unit)
        for ax, title in zip(axes, ("reference", "committee", "committee − reference", "bin by bin"), strict=True):
            ax.set_title(title)
        axes[1].set_ylabel("")
        for several, words in ((axes[:2], f"F at {result.temperature:g} K"), (axes[2:3], "difference")):
            (mesh,) = (one for one in several[0].collections if isinstance(one, QuadMesh))
            bar = figure.colorbar(mesh, ax=several, label=f"{words} ({unit.name})", pad=0.02, aspect=24)
            bar.outline.set_visible(False)
    return figure


def _highest(result: FreeEnergies, unit: EnergyUnit) -> float:
    both = np.concatenate([result.committee.ravel(), result.reference.ravel()])
    return float(unit.show(both[np.isfinite(both)]).max(initial=1e-3))


def _mesh(
    result: FreeEnergies, ax: Axes, values: Float[np.ndarray, "n_x n_y"], colours: str, low: float, high: float
) -> None:
    ax.set_facecolor(NOTHING)
    ax.grid(visible=False)
    edges = [np.linspace(-np.pi, np.pi, len(side.values) + 1) for side in (result.x, result.y)]
    shown = np.ma.masked_invalid(values.T)
    # As pixels: an SVG of many cells has seams between them.
    ax.pcolormesh(*edges, shown, cmap=colormaps[colours], vmin=low, vmax=high, rasterized=True)
    for axis, side in ((ax.xaxis, result.x), (ax.yaxis, result.y)):
        radians(axis)
        axis.set_label_text(f"{GREEK.get(side.name, side.name)} ({side.unit})")
    ax.set(xlim=(-np.pi, np.pi), ylim=(-np.pi, np.pi), aspect="equal")
