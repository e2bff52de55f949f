import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import spearmanr

from sparring.validation.errors.detection import UndefinedError, area_under, correlate, detect


def normal(n, mean=0.0):
    """A sample that stands exactly for a normal distribution."""
    return mean + ndtri((np.arange(n) + 0.5) / n)


@pytest.fixture
def sample():
    """Variances with many ties, of two kinds of structures."""
    generator = np.random.default_rng(0)
    positive = generator.random(60) < 0.4
    return np.round(generator.gamma(2.0, 1.0, 60) + positive, 1), positive


def found(variance, positive, **more):
    return detect(variance, positive, name="force", error_limit=0.5, **more)


# --- rank correlation -----------------------------------------------------------------------------------------------


def test_the_rank_correlation_is_scipys_also_with_ties(sample):
    sigma, _ = sample
    error = np.round(sigma + np.random.default_rng(1).normal(size=60))
    assert correlate(sigma, error).rho == pytest.approx(spearmanr(sigma, error).statistic, abs=1e-12)


def test_ranks_do_not_care_for_units_or_logarithms(sample):
    sigma, _ = sample
    error = sigma + np.random.default_rng(1).normal(size=60)
    assert correlate(np.log(sigma), 27.2 * error) == correlate(sigma, error)


@pytest.mark.parametrize("sign", [1, -1])
def test_perfect_ranks_of_few_structures_are_not_certain(sign):
    found = correlate(np.arange(5.0), sign * np.arange(5.0) ** 3)
    low, high = sorted(sign * end for end in found.interval)
    assert found.rho == pytest.approx(sign)
    assert high == 1.0
    assert -0.2 < low < 0.8


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_the_interval_of_a_rank_correlation_holds_the_truth_as_often_as_it_says(correlation):
    generator = np.random.default_rng(2)
    truth = 6 / np.pi * np.arcsin(correlation / 2)  # of ranks, where both values are normal
    held = 0
    for _ in range(400):
        first, other = generator.normal(size=(2, 30))
        low, high = correlate(first, correlation * first + np.sqrt(1 - correlation**2) * other).interval
        held += low <= truth <= high
    assert 0.92 < held / 400 < 0.98


@pytest.mark.parametrize(
    ("sigma", "error", "message"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], "at least 4 structures, got 3"),
        ([2.0] * 5, [1.0, 2.0, 3.0, 4.0, 5.0], "all 5 structures have the same σ"),
        ([1.0, 2.0, 3.0, 4.0], [0.5] * 4, "all 4 structures have the same error"),
    ],
)
def test_where_nothing_can_be_ranked_there_is_a_reason(sigma, error, message):
    with pytest.raises(UndefinedError, match=message):
        correlate(np.array(sigma), np.array(error))


# --- ROC curve ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_two_normal_distributions_have_the_area_of_the_textbook(distance):
    variance = np.concatenate([normal(400), normal(300, distance)])
    positive = np.arange(700) >= 400
    assert area_under(variance, positive) == pytest.approx(ndtr(distance / np.sqrt(2)), abs=2e-3)


def test_the_area_is_how_often_a_positive_has_the_greater_variance(sample):
    variance, positive = sample
    pairs = variance[positive][:, None] - variance[~positive]
    assert area_under(variance, positive) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))


def test_the_area_is_that_under_the_curve(sample):
    curve = found(*sample)
    x, y = (np.insert(rate, 0, 0.0) for rate in (curve.false_positive_rate, curve.true_positive_rate))
    assert curve.area == pytest.approx(np.trapezoid(y, x))
    assert (x[-1], y[-1]) == (1.0, 1.0)


def test_every_point_of_the_curve_is_the_classifier_at_its_threshold(sample):
    variance, positive = sample
    curve = found(variance, positive)
    assert np.array_equal(curve.threshold, np.unique(variance)[::-1])
    for index in (0, 7, -1):
        unfamiliar = variance >= curve.threshold[index]
        assert curve.true_positive_rate[index] == pytest.approx(unfamiliar[positive].mean())
        assert curve.false_positive_rate[index] == pytest.approx(unfamiliar[~positive].mean())


def test_a_monotone_transformation_of_the_variance_changes_nothing(sample):
    variance, positive = sample
    one, other = found(variance, positive), found(np.exp(3 * variance) - 7, positive)
    assert (one.area, one.interval) == (other.area, other.interval)
    assert np.array_equal(one.true_positive_rate, other.true_positive_rate)
    assert np.array_equal(one.false_positive_rate, other.false_positive_rate)


def test_with_kinds_swapped_the_area_is_what_is_left(sample):
    variance, positive = sample
    one, other = found(variance, positive), found(variance, ~positive)
    assert other.area == pytest.approx(1 - one.area)
    assert other.interval == pytest.approx((1 - one.interval[1], 1 - one.interval[0]), abs=1e-9)
    assert (other.n_positive, other.n_negative) == (one.n_negative, one.n_positive)


def test_a_variance_that_is_the_same_everywhere_only_guesses():
    curve = found(np.full(6, 0.3), np.arange(6) < 2)
    assert curve.area == 0.5
    assert curve.threshold.tolist() == [0.3]


def test_two_kinds_wholly_apart_are_found_but_few_of_them_leave_doubt():
    few, many = (found(np.arange(2.0 * n), np.arange(2 * n) >= n) for n in (3, 100))
    assert few.area == many.area == 1.0
    assert few.interval[1] == many.interval[1] == 1.0
    assert few.interval[0] < 0.7 < 0.97 < many.interval[0]


@pytest.mark.parametrize("area", [0.5, 0.9])
def test_the_interval_of_an_area_holds_the_truth_as_often_as_it_says(area):
    generator = np.random.default_rng(3)
    positive = np.arange(40) < 15
    distance = np.sqrt(2) * ndtri(area)
    held = 0
    for _ in range(150):
        low, high = found(generator.normal(size=40) + distance * positive, positive).interval
        held += low <= area <= high
    assert 0.9 < held / 150 <= 0.99


def test_at_its_threshold_the_classifier_is_counted_by_hand():
    variance = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    choice = found(variance, np.array([False, False, True, False, True]), threshold=0.3).choice
    assert (choice.true_positive_rate, choice.false_positive_rate) == (1.0, pytest.approx(1 / 3))
    assert choice.accuracy == pytest.approx(4 / 5)
    assert found(variance, variance > 0.2).choice is None


@pytest.mark.parametrize(("positive", "words"), [(True, "all 4 errors reach"), (False, "all 4 errors stay below")])
def test_structures_of_one_kind_cannot_be_told_apart(positive, words):
    with pytest.raises(UndefinedError, match=f"{words} the limit, 0.5"):
        found(np.arange(4.0), np.full(4, positive))
