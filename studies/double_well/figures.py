"""Figures of the double well: the paper's Fig. 2, and the profiles of its one-dimensional sibling."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator

from sparring.plots.style import FAINT, INK, SOURCES, panels
from sparring.systems.wells import grid_structures
from studies.double_well.protocol import WELLS, Protocol
from studies.double_well.results import Record, n_loops

__all__ = ["curves", "landscapes", "profiles"]

COLOURS = {"adversarial": SOURCES["attack"][0], "random": SOURCES["random"][0], "md": "#0072b2"}
LINES = {"adversarial": "-", "random": "-", "md": (0, (4, 1.5))}
WORDS = {"adversarial": "adversarial", "random": "random", "md": "molecular dynamics"}
LEVELS = np.arange(-4.0, 40.1, 2.0)


def curves(record: Record) -> Figure:
    """Fig. 2b: error, labels and sampled energies by generation, and the error by labels; medians and quartiles."""
    figure, (error, labels, energy, cost) = panels(4, n_columns=4, width=3.6, height=3.2)
    for strategy, found in record["curves"].items():
        for ax, name in ((error, "error"), (labels, "labels"), (energy, "energy"), (cost, "error_by_labels")):
            band(ax, found[name], strategy)
    for ax in (error, labels, energy):
        ax.set_xlabel("generation")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    error.set(yscale="log", ylabel="RMSE on the grid (eV)")
    labels.set(ylabel="labelled points")
    energy.set(yscale="log", ylabel="median sampled energy\nabove the minimum (eV)")
    cost.set(yscale="log", xlabel="labelled points", ylabel="RMSE on the grid (eV)")
    for ax in (error, energy, cost):
        # With powers of ten alone some axes would have no number.
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        ax.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    error.legend(title=f"{next(iter(n_loops(record).values()))} loops each", loc="best")
    return figure


def band(ax: Axes, curve: Mapping[str, Any], strategy: str) -> None:
    """A line at the median of the loops, and a band between the quartiles."""
    x, (low, middle, high) = np.array(curve["x"]), np.array(curve["quartiles"]).reshape(-1, 3).T
    colour, marker = COLOURS[strategy], "o" if len(x) < 12 else None
    ax.fill_between(x, low, high, color=colour, alpha=0.18, lw=0)
    ax.plot(x, middle, color=colour, lw=1.6, ls=LINES[strategy], marker=marker, ms=3, label=WORDS[strategy])


def landscapes(
    protocol: Protocol, loops: Mapping[str, Mapping[str, Any]], start: np.ndarray, grids: Mapping[str, np.ndarray]
) -> Figure:
    """Fig. 2a: the committee's mean energy in each generation, one strategy a row, of one loop; the truth is below."""
    n_columns, n_rows = protocol.n_generations, len(loops)
    figure = Figure(figsize=(1.75 * n_columns + 0.8, 1.85 * n_rows + 0.3), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    drawn = []
    for row, (strategy, loop) in zip(axes, loops.items(), strict=True):
        earlier = np.empty((0, 2))
        for column, (ax, generation) in enumerate(zip(row, loop["generations"], strict=True)):
            energy = grids[f"{strategy}/{column + 1}/energy"].reshape(100, 100).T
            drawn.append(well_map(protocol, ax, energy))
            new = np.array(generation.get("sampled", ())).reshape(-1, 2)
            dots(ax, start, "white", INK)
            dots(ax, earlier, "#9aa4ae", INK)
            dots(ax, new, "black", "white")
            earlier = np.concatenate([earlier, new])
            ax.set_title(f"generation {column + 1}" if column == 0 else f"{column + 1}", fontsize=9, pad=3)
            ax.text(
                0.03,
                0.03,
                f"{generation['rmse']:.2g} eV",
                transform=ax.transAxes,
                fontsize=7,
                color="white",
                bbox={"facecolor": INK, "alpha": 0.7, "lw": 0, "pad": 1.5},
            )
        row[0].set_ylabel(f"{WORDS[strategy]}\ny (Å)")
    for ax in axes[-1]:
        ax.set_xlabel("x (Å)")
    figure.colorbar(drawn[-1], ax=list(axes.flat), label="mean energy of the committee (eV)", shrink=0.8)
    return figure


def well_map(protocol: Protocol, ax: Axes, energy: np.ndarray) -> QuadContourSet:
    """Filled contours of an energy over the plane, and thin lines of the true one."""
    limit = WELLS[protocol.well].limit
    side = np.linspace(-limit, limit, 100)
    truth = WELLS[protocol.well].energies(grid_structures(WELLS[protocol.well]).positions.numpy())
    filled = ax.contourf(side, side, energy, levels=LEVELS, cmap="viridis", extend="both")
    filled.set_rasterized(True)
    ax.contour(
        side, side, truth.reshape(100, 100).T, levels=(-3.0, -2.0, -1.0, 0.0, 5.0), colors="white", linewidths=0.4
    )
    ax.set(aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit), xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    ax.grid(visible=False)
    return filled


def dots(ax: Axes, points: np.ndarray, face: str, edge: str) -> None:
    """Labelled points; those outside the window are not drawn."""
    ax.plot(points[:, 0], points[:, 1], "o", ms=2.6, mfc=face, mec=edge, mew=0.4, ls="none")


def profiles(
    protocol: Protocol, loops: Mapping[str, Mapping[str, Any]], start: np.ndarray, grids: Mapping[str, np.ndarray]
) -> Figure:
    """The one-dimensional well: truth, committee with its standard deviation, and points, in each generation."""
    n_columns, n_rows = protocol.n_generations, len(loops)
    figure = Figure(figsize=(1.9 * n_columns + 0.6, 2.0 * n_rows + 0.2), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    well = WELLS[protocol.well]
    grid = grid_structures(well).positions.numpy()
    x, truth = grid[:, 0], well.energies(grid)
    for row, (strategy, loop) in zip(axes, loops.items(), strict=True):
        earlier = np.empty(0)
        for column, (ax, generation) in enumerate(zip(row, loop["generations"], strict=True)):
            energy, spread = (grids[f"{strategy}/{column + 1}/{name}"] for name in ("energy", "spread"))
            ax.plot(x, truth, color=FAINT, lw=1.0, ls="--", label="truth")
            ax.fill_between(x, energy - 2 * spread, energy + 2 * spread, color=COLOURS[strategy], alpha=0.25, lw=0)
            ax.plot(x, energy, color=COLOURS[strategy], lw=1.2, label="committee, ±2σ")
            new = np.array(generation.get("sampled", ())).reshape(-1)
            for points, face, edge in ((start[:, 0], "white", INK), (earlier, "#9aa4ae", INK), (new, "black", "white")):
                heights = well.energies(np.pad(points[:, None], ((0, 0), (0, 2))))
                ax.plot(points, heights, "o", ms=3.0, mfc=face, mec=edge, mew=0.4, ls="none")
            earlier = np.concatenate([earlier, new])
            ax.set_title(f"{column + 1}   RMSE {generation['rmse']:.2g} eV", fontsize=8, pad=3)
            ax.set(xlim=(-well.limit, well.limit), ylim=(-9.0, 16.0))
        row[0].set_ylabel(f"{WORDS[strategy]}\nenergy (eV)")
    for ax in axes[-1]:
        ax.set_xlabel("x (Å)")
    axes[0, 0].legend(loc="upper center", fontsize=7)
    return figure
