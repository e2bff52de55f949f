"""Figure of elastic constants: those of the committee with their σ, beside those of the labels."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, STYLE, panels
from sparring.units import GPA
from sparring.validation.bulk_results import draw_with_labels
from sparring.validation.elastic.compute import ElasticConstants, ElasticConstantsOfCrystals
from sparring.validation.elastic.table import shown_constants

__all__ = ["draw_constants", "elastic_figure"]


def elastic_figure(result: ElasticConstantsOfCrystals) -> Figure:
    """A panel for each crystal."""
    with rc_context(STYLE):
        figure, axes = panels(len(result.crystals), width=4.6, height=3.4)
        for ax, one in zip(axes, result.crystals, strict=True):
            draw_constants(one, ax)
    return figure


def draw_constants(one: ElasticConstants, ax: Axes | None = None) -> Axes:
    """Constants that are not zero, and bulk and shear modulus, in GPa: means with σ as bars, labels as circles."""
    ax = ax or panels()[1][0]
    rows = [(name.split(", ")[0], members, label) for name, members, label in shown_constants(one)]
    for key, name in (("bulk", "K"), ("shear", "G")):
        rows.append((name, np.array([getattr(average, key) for average in one.averages]), getattr(one.label, key)))
    ax.axhline(0.0, color=FAINT, lw=0.7)
    draw_with_labels([(name, members / GPA, label / GPA) for name, members, label in rows], ax)
    ax.set(title=one.formula, ylabel="elastic constants (GPa)")
    return ax
