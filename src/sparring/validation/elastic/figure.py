"""Figure of elastic constants: those of the committee with their σ, beside those of the labels."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, panels
from sparring.units import GPA
from sparring.validation.crystals.showing import bars_with_labels, panel_of_each
from sparring.validation.elastic.compute import ElasticConstants
from sparring.validation.elastic.table import shown_constants

__all__ = ["draw_constants", "figure"]


def figure(found: Sequence[ElasticConstants]) -> Figure:
    """A panel for each crystal."""
    return panel_of_each(found, draw_constants, width=4.6, height=3.4)


def draw_constants(one: ElasticConstants, ax: Axes | None = None) -> Axes:
    """Constants that are not zero, and bulk and shear modulus, in GPa: means with σ as bars, labels as circles."""
    ax = ax or panels()[1][0]
    rows = [(name.split(", ")[0], members, label) for name, members, label in shown_constants(one)]
    for key, name in (("bulk", "K"), ("shear", "G")):
        rows.append((name, np.array([getattr(average, key) for average in one.averages]), getattr(one.label, key)))
    ax.axhline(0.0, color=FAINT, lw=0.7)
    bars_with_labels([(name, members / GPA, label / GPA) for name, members, label in rows], ax)
    ax.set(title=one.about.formula, ylabel="elastic constants (GPa)")
    return ax
