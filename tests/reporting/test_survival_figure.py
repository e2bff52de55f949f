import numpy as np
import pytest
from matplotlib.figure import Figure

from sparring.reporting import figures
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.trials import Settings, Survival, SurvivalAtTemperature


@pytest.fixture
def make():
    """A result with so many stable copies of twenty at each temperature; the others failed one by one."""

    def result(n_stable, *, duration=5000.0):
        trials = [
            SurvivalAtTemperature.of(
                temperature,
                20,
                [Failure(copy=i, time=duration * (i + 1) / 21, reason="hole") for i in range(20 - count)],
            )
            for temperature, count in n_stable.items()
        ]
        settings = Settings(formula="H3N", duration=duration, timestep=0.5, ensemble="", criteria=(), seed=0)
        return Survival.of(trials, settings)

    return result


@pytest.mark.parametrize("given", [True, False])
def test_figures_draw_on_the_axes_they_are_given_or_make_their_own(make, given):
    results = {"generation 1": make({500.0: 20, 600.0: 7}), "generation 2": make({500.0: 0, 600.0: 20})}
    for draw in (figures.stable_fraction, lambda curves, ax: figures.survival_curves(curves, ax, duration=5000.0)):
        ax = Figure().subplots() if given else None
        drawn = draw(results, ax)
        assert drawn is ax or not given
        assert drawn.get_ylabel().endswith("(%)")
        assert drawn.get_xlabel() in ("temperature (K)", "time (ps)")
        assert len(drawn.get_legend().get_texts()) == 2


def test_marks_are_fractions_and_bars_their_intervals(make):
    result = make({500.0: 20, 600.0: 13, 700.0: 0})
    ax = figures.stable_fraction({"one": result})
    (container,) = ax.containers
    points, _, (bars,) = container
    np.testing.assert_allclose(points.get_xydata(), [[500, 1.0], [600, 0.65], [700, 0.0]])
    for segment, trial in zip(bars.get_segments(), result.trials, strict=True):
        np.testing.assert_allclose(segment[:, 1], trial.interval, atol=1e-12)
    assert ax.get_legend().get_texts()[0].get_text() == "one: 33 of 60"
    assert ax.get_ylabel() == "stable for 5 ps (%)"


def test_several_committees_stand_beside_each_other(make):
    results = {str(number): make({500.0: 10, 600.0: 10}) for number in range(3)}
    ax = figures.stable_fraction(results)
    starts = [container[0].get_xdata()[0] for container in ax.containers]
    assert len(set(starts)) == 3
    assert starts[1] == 500.0
    assert max(starts) - min(starts) < 50.0
    assert [label.get_text() for label in ax.get_xticklabels()] == ["500", "600"]


def test_committees_may_have_been_tried_at_other_temperatures_for_other_times(make):
    ax = figures.stable_fraction({"a": make({300.0: 5}), "b": make({500.0: 7, 400.0: 6}, duration=900.0)})
    assert ax.get_ylabel() == "stable (%)"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["300", "400", "500"]


def test_survival_falls_by_a_step_at_every_failure(make):
    result = make({500.0: 18}, duration=210.0)
    ax = figures.survival_curves({"500 K": result.trials[0]}, duration=210.0)
    curve, failures, end = ax.get_lines()[:3]
    assert failures.get_xydata().tolist() == [[10.0, 0.95], [20.0, 0.9]]
    (band,) = ax.collections
    low, _ = result.trials[0].interval
    assert (band.get_paths()[0].vertices[:, 1].min(), 1.0) == pytest.approx((low, 1.0))
    np.testing.assert_allclose(curve.get_xydata(), [[0, 1.0], [10, 0.95], [20, 0.9], [210, 0.9]])
    assert end.get_xydata().tolist() == [[210.0, 0.9]]
    assert ax.get_xlabel() == "time (fs)"


def test_a_committee_of_which_nothing_is_left_has_no_mark_at_the_end(make):
    ax = figures.survival_curves({"500 K": make({500.0: 0}).trials[0]}, duration=5000.0)
    assert [line.get_marker() for line in ax.get_lines()[:-1]] == ["None", "."]


def test_the_sheet_shows_the_temperatures_of_one_committee_or_several_committees(make):
    one = figures.survival_figure({"generation-01": make({500.0: 20, 600.0: 7, 700.0: 3})})
    names = [text.get_text() for text in one.axes[1].get_legend().get_texts()]
    assert names == ["500 K: 100%", "600 K: 35%", "700 K: 15%"]
    several = figures.survival_figure({"1": make({500.0: 20}), "2": make({500.0: 5})})
    names = [text.get_text() for text in several.axes[1].get_legend().get_texts()]
    assert names == ["1: 100%", "2: 25%"]
