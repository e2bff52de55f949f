"""Ticks of logarithmic axes as plain numbers, so few that their labels never touch."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator, NullFormatter, NullLocator

__all__ = ["GREEK", "DecadeLocator", "legend_below", "logarithmic", "radians"]

GREEK = {"phi": "φ", "psi": "ψ", "omega": "ω", "chi": "χ"}
DIGITS: tuple[tuple[int, ...], ...] = ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))


class DecadeLocator(Locator):
    """At most so many ticks at round numbers of a logarithmic axis: 1, 2, 5, 10; or 1, 3, 10; or whole powers of ten.

    Where the axis spans too little for two of these, ticks are those of a linear axis.
    """

    def __init__(self, n_ticks: int = 7) -> None:
        self.n_ticks = n_ticks

    def __call__(self) -> Sequence[float]:
        """Ticks between the limits of the axis."""
        assert self.axis is not None
        low, high = sorted(self.axis.get_view_interval())
        return self.tick_values(low, high)

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        """Ticks between two limits."""
        if not 0.0 < vmin < vmax < np.inf:
            return []
        first, last = int(np.floor(np.log10(vmin))), int(np.ceil(np.log10(vmax)))
        for digits in DIGITS:
            ticks = _inside([digit * 10.0**power for power in range(first, last + 1) for digit in digits], vmin, vmax)
            if len(ticks) < 2:
                return _inside(MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(vmin, vmax), vmin, vmax)
            if len(ticks) <= self.n_ticks:
                return ticks
        return ticks[:: -(-len(ticks) // self.n_ticks)]


def logarithmic(ax: Axes, which: str = "y", *, n_ticks: int = 7) -> Axes:
    """Make axes logarithmic ("x", "y" or "xy"), labelled with plain numbers."""
    for name in which:
        getattr(ax, f"set_{name}scale")("log")
        axis = getattr(ax, f"{name}axis")
        axis.set_major_locator(DecadeLocator(n_ticks))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    return ax


def legend_below(ax: Axes) -> Axes:
    """A legend at the lower right, with room for it below what is drawn."""
    handles, names = ax.get_legend_handles_labels()
    n_columns = 2 if len(names) > 3 else 1
    share = 0.075 * -(-len(names) // n_columns) + 0.02
    (low, high), is_log = ax.get_ylim(), ax.get_yscale() == "log"
    room = share / (1.0 - share)
    ax.set_ylim(bottom=low * (low / high) ** room if is_log else low - room * (high - low))
    ax.legend(handles, names, loc="lower right", handletextpad=0.1, ncols=n_columns, columnspacing=1.0)
    return ax


def radians(axis: XAxis | YAxis) -> None:
    """An axis of an angle, once around, with its numbers in parts of π."""
    axis.set_ticks(np.pi * np.linspace(-1, 1, 5), ["−π", "−π/2", "0", "π/2", "π"])


def _inside(values: Iterable[float], low: float, high: float) -> list[float]:
    rounding = 1e-9 * (high - low)
    return [float(value) for value in values if low - rounding <= value <= high + rounding]
