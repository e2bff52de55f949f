"""Labels of ticks can be read, and legends hide nothing."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from sparring.plots.style import STYLE, panels
from sparring.plots.ticks import DecadeLocator, logarithmic
from sparring.reporting import figures
from sparring.reporting.data import Labelled
from sparring.reporting.overview import overview
from sparring.reporting.reading import read_run
from sparring.reporting.sheets import sheets


def boxes(axis, which):
    """Where the labels of an axis are drawn, along it; minor ones, too."""
    low, high = sorted(
        axis.axes.get_window_extent().intervalx if which == "x" else axis.axes.get_window_extent().intervaly
    )
    found = []
    for label in (*axis.get_ticklabels(), *axis.get_ticklabels(minor=True)):
        if label.get_text() and label.get_visible():
            extent = label.get_window_extent()
            start, end = sorted(extent.intervalx if which == "x" else extent.intervaly)
            if end > low and start < high:
                found.append((start, end))
    return sorted(found)


def assert_labels_apart(figure):
    FigureCanvasAgg(figure).draw()
    for ax in figure.axes:
        for which in "xy":
            for (_, end), (start, _) in pairwise(boxes(getattr(ax, f"{which}axis"), which)):
                assert end <= start, f"labels of {which} touch in {ax.get_title(loc='left') or 'a figure'}"


def labelled(sigma, error):
    n = len(sigma)
    return Labelled(
        energy=np.zeros(n), source=("attack",) * n, force_sigma=sigma, force_error=error, wall_time=np.zeros(n)
    )


@pytest.mark.parametrize(("low", "high"), [(0.72, 1.7), (0.9, 4.5), (0.21, 0.23), (3e-4, 40.0), (1e-9, 1e12), (5, 60)])
def test_tick_labels_of_uncertainty_against_error_never_touch(low, high):
    with rc_context(STYLE):
        figure, (ax,) = panels(height=4.2)
        sigma = np.geomspace(low, high, 9)
        figures.uncertainty_error({"generation 1": labelled(sigma, 1.3 * sigma[::-1])}, ax)
        assert_labels_apart(figure)
        assert len(boxes(ax.xaxis, "x")) >= 2


@pytest.mark.parametrize("n_generations", [1, 2, 6])
def test_the_legend_of_uncertainty_against_error_lies_on_no_mark(n_generations):
    # Errors far above σ, as of a committee that is too sure of itself: the upper left is full of marks.
    sigma, error = np.geomspace(0.01, 0.3, 12), np.geomspace(10.0, 2.0, 12)
    names = [f"generation {number}" for number in range(1, n_generations + 1)]
    with rc_context(STYLE):
        figure, (ax,) = panels(height=4.2)
        figures.uncertainty_error({name: labelled(sigma, error) for name in names}, ax)
        FigureCanvasAgg(figure).draw()
        legend = ax.get_legend().get_window_extent()
        marks = ax.transData.transform(np.column_stack([sigma, error]))
    assert not any(legend.contains(*mark) for mark in marks)
    assert legend.y0 >= ax.get_window_extent().y1 - 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"system": "own", "formulas": ("H3N", "C2H6O"), "n_generations": 4},
        {"system": "double_well_2d", "formulas": ("X",), "n_generations": 2},
    ],
    ids=["own", "well"],
)
def test_no_labels_of_a_report_touch(made_up_run, options):
    run = read_run(made_up_run(**options))
    with rc_context(STYLE):
        for figure in (overview(run), *(sheet.figure for sheet in sheets(run))):
            assert_labels_apart(figure)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.9, 120.0, [1, 2, 5, 10, 20, 50, 100]),
        (1e-4, 30.0, [1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
        (0.6, 2.5, [0.7, 1, 2]),
        (0.21, 0.24, [0.21, 0.22, 0.23, 0.24]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_round_numbers(low, high, ticks):
    found = DecadeLocator().tick_values(low, high)
    assert found == pytest.approx(ticks)


@pytest.mark.parametrize(("low", "high"), [(1e-30, 1e30), (1e-3, 1e9), (1.0, 1.0001)])
def test_there_are_never_more_ticks_than_fit(low, high):
    assert 2 <= len(DecadeLocator(7).tick_values(low, high)) <= 7


def test_a_logarithmic_axis_has_no_second_set_of_labels():
    ax = logarithmic(Figure().subplots())
    ax.set_ylim(0.5, 8.0)
    FigureCanvasAgg(ax.figure).draw()
    assert [label.get_text() for label in ax.get_yticklabels()] == ["0.5", "0.7", "1", "2", "3", "5", "7"]
    assert not [label for label in ax.get_yticklabels(minor=True) if label.get_text()]
