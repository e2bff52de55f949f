"""Colours that stand for energies and uncertainties, the same in all panels of a figure."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure

from sparring.surfaces.landscape import Landscape
from sparring.units import KCAL, EnergyUnit

__all__ = ["Scale", "colour_bar", "energy_scale", "uncertainty_scale"]

N_LEVELS = 25
BELOW_ZERO = "#e8488a"


class Scale(NamedTuple):
    """Colour scale of values: the same in all panels that are compared.

    Attributes:
        levels: Borders of the colours, ascending, in the drawn values: log10(1 + E), or log10(σ).
        colours: Colours from the lowest level to the highest, and outside.
        extend: Sides on which values may lie outside: "min", "max" or "both".
        ticks: Positions and texts of the ticks of the colour bar.
        label: Quantity with its unit.
    """

    levels: Float[np.ndarray, " n_levels"]
    colours: Colormap
    extend: Literal["min", "max", "both"]
    ticks: Mapping[float, str]
    label: str


def energy_scale(landscapes: Collection[Landscape], unit: EnergyUnit = KCAL, *, cap: float | None = None) -> Scale:
    """Colours by log10(1 + E), as in Fig. 3e, up to the highest true energy, or without a truth the committees'.

    What lies below the zero, where there should be nothing, by more than the width of a colour has one of its own; so
    has what lies above the cap, an energy in `unit`, if there is one (Fig. 4c).
    """
    known = [one.truth for one in landscapes if one.has_truth] or [one.energy for one in landscapes]
    shown = unit.show(np.concatenate([energy[np.isfinite(energy)] for energy in known]))
    top = float(np.log10(1 + min(max(shown.max(initial=0.0), 1e-6), np.inf if cap is None else cap)))
    levels = np.linspace(0.0, top, N_LEVELS)
    levels[0] = -levels[1]
    ticks = {0.0: "0"}
    for energy in (digit * 10.0**power for power in range(-3, 6) for digit in (1, 3)):
        place = float(np.log10(1 + energy))
        if max(ticks) + 0.06 * top < place <= top + 1e-9:
            ticks[place] = f"{energy:g}"
    return Scale(
        levels=levels,
        colours=colormaps["viridis"].with_extremes(under=BELOW_ZERO, over="#fff7c0"),
        extend="both",
        ticks=ticks,
        label=f"relative energy ({unit.name})",
    )


def uncertainty_scale(landscapes: Collection[Landscape]) -> Scale:
    """Colours by the logarithm of σ_F, up to the highest of all committees; the lowest 0.5 % are all black."""
    sigma = np.concatenate([one.force_sigma.ravel() for one in landscapes])
    sigma = np.log10(sigma[np.isfinite(sigma) & (sigma > 0.0)])
    low, high = np.percentile(sigma, (0.5, 100.0)) if len(sigma) else (-1.0, 0.0)
    ticks = (digit * 10.0**power for power in range(-8, 8) for digit in (1, 3))
    return Scale(
        levels=np.linspace(low, max(high, low + 0.1), N_LEVELS),
        colours=colormaps["magma"].with_extremes(under="black"),
        extend="min",
        ticks={float(np.log10(tick)): f"{tick:g}" for tick in ticks if low <= np.log10(tick) <= high},
        label="σ$_F$ of the committee (eV/Å)",
    )


def colour_bar(scale: Scale, axes: Sequence[Axes]) -> None:
    """The bar that explains the colours of a row of panels, unless none of them has any."""
    filled = [one for ax in axes for one in ax.collections if isinstance(one, QuadContourSet) and one.filled]
    if not filled:
        return
    figure = axes[0].get_figure()
    assert isinstance(figure, Figure)
    bar = figure.colorbar(filled[0], ax=list(axes), label=scale.label, pad=0.02, aspect=24)
    bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()))
    bar.outline.set_visible(False)
