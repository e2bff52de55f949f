"""Figures of minimum energy paths: how high the barrier is, and how sure a committee is of it."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import INK, STYLE, generation_colours, panels
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath
from sparring.units import KCAL, EnergyUnit

__all__ = ["barrier_figure", "barrier_profiles"]


def barrier_profiles(
    paths: Mapping[str, MinimumEnergyPath],
    ax: Axes | None = None,
    *,
    truth: MinimumEnergyPath | None = None,
    unit: EnergyUnit = KCAL,
    colours: Sequence[str] | None = None,
    truth_name: str = "label method",
) -> Axes:
    """Energy along the path of each committee, as in the paper's Fig. 3d, beside the path of the label method.

    Marks are images; lines are piecewise cubics through their energies and slopes. The band is one standard deviation
    between the members to either side. Every surface has its own path, so that images of one number need not stand at
    the same place.

    Args:
        paths: Paths by their names in the legend.
        ax: Axes to draw on.
        truth: Path on the surface of the labels.
        unit: Unit of energies.
        colours: Colour of each path.
        truth_name: Name of the reference path in the legend.
    """
    ax = ax or panels()[1][0]
    for colour, (name, path) in zip(colours or generation_colours(len(paths)), paths.items(), strict=True):
        coordinate, energy = path.curve()
        words = f"{name}: {_height(path, unit)}"
        if len(path.member_energy) > 1:
            sigma = np.interp(coordinate, path.coordinate, path.energy_sigma)
            low, high = unit.show(energy - sigma), unit.show(energy + sigma)
            ax.fill_between(coordinate, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(coordinate, unit.show(energy), color=colour, lw=1.4)
        ax.plot(path.coordinate, unit.show(path.energy), "o", color=colour, ms=4, mec="white", mew=0.5)
        ax.plot([], [], "o-", color=colour, lw=1.4, ms=4, mec="white", mew=0.5, label=words)
    if truth is not None:
        coordinate, energy = truth.curve()
        ax.plot(coordinate, unit.show(energy), color=INK, lw=1.0, ls=(0, (4, 2)), zorder=3)
        ax.plot(truth.coordinate, unit.show(truth.energy), "D", color=INK, ms=3.2, mew=0, zorder=3)
        words = f"{truth_name}: {_height(truth, unit)}"
        ax.plot([], [], "D", color=INK, lw=1.0, ls=(0, (4, 2)), ms=3.2, mew=0, label=words)
    ax.legend(loc="best", handletextpad=0.5)
    ax.set(xlabel="distance along the path (Å)", ylabel=f"energy above the start ({unit.name})")
    return ax


def barrier_figure(
    paths: Mapping[str, MinimumEnergyPath],
    *,
    truth: MinimumEnergyPath | None = None,
    unit: EnergyUnit = KCAL,
    title: str = "",
) -> Figure:
    """A figure of its own for one committee or for all generations of a run."""
    with rc_context(STYLE):
        figure, (ax,) = panels(width=5.2, height=4.2)
        barrier_profiles(paths, ax, truth=truth, unit=unit)
        ax.set_title(title)
    return figure


def _height(path: MinimumEnergyPath, unit: EnergyUnit) -> str:
    spread = f" ± {path.barrier_sigma / unit.size:.{unit.decimals}f}" if len(path.member_energy) > 1 else ""
    warning = "" if path.converged else ", not converged"
    return f"{path.barrier / unit.size:.{unit.decimals}f}{spread} {unit.name}{warning}"
