"""Style of the figures: one colour for each generation, safe for the colour-blind."""

import math
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from sparring.proposers.registry import STYLES, SourceStyle, plugin_style

INK = "#22272e"
FAINT = "#8b949e"
COLUMNS = 3
FIT = "#8aa1b8"
TEST = "#d55e00"

# Okabe and Ito (2008), without black and yellow: they stay apart in all common forms of colour-blindness.
GENERATIONS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

# Origin of a structure: a colour and a marker.
SOURCES = {
    "minimum": ("#1f2328", "*"),
    "uniform": ("#6e7781", "s"),
    "normal_mode": ("#6e7781", "o"),
    "langevin": ("#6e7781", "o"),
    "displacement": ("#6e7781", "s"),
    "grid": ("#6e7781", "s"),
    "file": ("#6e7781", "D"),
    **{source: (style.colour, style.marker) for source, style in STYLES.items()},
}
OTHER = (INK, "P")
"""The look of sources that nothing is known of."""

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "figure.dpi": 180,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": "#e6e9ec",
    "grid.linewidth": 0.7,
    "legend.fontsize": 8,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.8,
    "svg.hashsalt": "sparring",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def source_style(source: str) -> SourceStyle:
    """The look of structures from a source: Sparring's own, or that of an installed proposer of that name."""
    words = source.replace("_", " ")
    if source in SOURCES:
        return SourceStyle(*SOURCES[source], words)
    return plugin_style(source) or SourceStyle(*OTHER, words)


def generation_colours(n_generations: int) -> tuple[str, ...]:
    """One colour a generation, the same in all figures of a run; many generations shade from dark to light."""
    if n_generations <= len(GENERATIONS):
        return GENERATIONS[:n_generations]
    return tuple(to_hex(colour) for colour in colormaps["viridis"](np.linspace(0.0, 0.9, n_generations)))


def panels(
    n_panels: int = 1, *, n_columns: int = COLUMNS, width: float = 4.2, height: float = 3.2
) -> tuple[Figure, list[Axes]]:
    """A figure that is no part of pyplot's state, and its axes, row by row; the last row may be short."""
    n_columns = min(n_columns, n_panels)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(width * n_columns, height * n_rows), layout="constrained")
    return figure, [figure.add_subplot(n_rows, n_columns, place + 1) for place in range(n_panels)]
