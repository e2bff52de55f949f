import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri

from sparring.validation.errors.calibration import calibrate, independent_ratio
from sparring.validation.errors.detection import UndefinedError


def sample(n=4000, *, factor=1.0, seed=0):
    """σ over two orders of magnitude, and errors spread as they say, times a factor."""
    generator = np.random.default_rng(seed)
    sigma = generator.lognormal(-2.0, 1.0, n)
    return sigma, factor * sigma * generator.normal(size=n), np.arange(n)


def test_errors_spread_as_they_should_are_calibrated():
    found = calibrate(*sample())
    assert (found.scale, found.ratio) == (pytest.approx(1.0, abs=0.03), pytest.approx(1.0, abs=0.08))
    assert found.interval[0] < 1.0 < found.interval[1]
    assert found.miscalibration < 0.01
    np.testing.assert_allclose(found.bin_error / found.bin_sigma, 1.0, atol=0.15)
    assert found.bin_deviation < 0.08


@pytest.mark.parametrize("factor", [0.25, 3.0])
def test_a_factor_of_the_errors_is_the_scale_and_mends_it(factor):
    right, wrong = calibrate(*sample()), calibrate(*sample(factor=factor))
    assert wrong.scale == pytest.approx(factor * right.scale)
    assert wrong.ratio == pytest.approx(factor * right.ratio)
    assert wrong.miscalibration > 0.1
    sigma, difference, owner = sample(factor=factor)
    assert calibrate(wrong.scale * sigma, difference, owner).scale == pytest.approx(1.0)


def test_a_committee_that_is_too_sure_has_fewer_errors_within_its_sigma_than_expected():
    sure, cautious = (calibrate(*sample(factor=factor)) for factor in (2.0, 0.5))
    inner = slice(1, -1)
    assert (sure.observed[inner] < sure.expected[inner]).all()
    assert (cautious.observed[inner] > cautious.expected[inner]).all()


def test_normal_errors_lie_within_every_interval_as_often_as_expected():
    difference = ndtri((np.arange(1000) + 0.5) / 1000)
    found = calibrate(np.ones(1000), difference, np.arange(1000))
    np.testing.assert_allclose(found.observed, found.expected, atol=0.0021)
    assert found.miscalibration < 0.002


def test_errors_beyond_any_sigma_leave_all_of_the_triangle():
    found = calibrate(np.full(10, 1e-6), np.ones(10), np.arange(10))
    assert found.miscalibration == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("n_members", [5, 8])
def test_the_mean_of_independent_members_errs_less_than_they_disagree(n_members):
    members = np.random.default_rng(1).normal(size=(n_members, 40_000))
    sigma, owner = members.std(0, ddof=1), np.arange(40_000)
    unbiased = calibrate(sigma, members.mean(0), owner)
    assert unbiased.ratio == pytest.approx(independent_ratio(n_members), rel=0.02)
    truth = np.random.default_rng(2).normal(size=40_000)
    one_of_them = calibrate(sigma, members.mean(0) - truth, owner)
    assert one_of_them.ratio == pytest.approx(np.sqrt(1 + 1 / n_members), rel=0.02)


def test_sigma_of_few_members_is_itself_uncertain_and_makes_the_scale_larger():
    members = np.random.default_rng(1).normal(size=(8, 40_000))
    error = np.random.default_rng(2).normal(size=40_000)
    found = calibrate(members.std(0, ddof=1), error, np.arange(40_000))
    assert found.ratio == pytest.approx(1.0, rel=0.02)
    assert found.scale == pytest.approx(np.sqrt(7 / 5), rel=0.03)


def test_all_components_of_a_structure_share_its_sigma():
    sigma = np.array([1.0, 2.0])
    difference, owner = np.array([1.0, 1.0, 1.0, 4.0, 0.0, 0.0, 0.0]), np.array([0, 0, 0, 1, 1, 1, 1])
    found = calibrate(sigma, difference, owner, n_bins=2)
    assert found.bin_error.tolist() == [1.0, 2.0]
    assert (found.scale, found.ratio) == (pytest.approx(1.0), pytest.approx(1.0))


def test_bins_hold_as_many_structures_each_and_rise():
    sigma, difference, owner = sample(43)
    found = calibrate(sigma, difference, owner)
    assert found.bin_size.tolist() == [9, 9, 9, 8, 8]
    assert (np.diff(found.bin_sigma) > 0).all()
    first = np.argsort(sigma)[:9]
    assert found.bin_sigma[0] == pytest.approx(np.sqrt(np.mean(sigma[first] ** 2)))
    assert found.bin_error[0] == pytest.approx(np.sqrt(np.mean(difference[first] ** 2)))


def test_the_same_sigma_everywhere_can_be_calibrated():
    found = calibrate(np.full(20, 0.5), np.full(20, 1.0), np.arange(20))
    assert (found.scale, found.ratio) == (pytest.approx(2.0), pytest.approx(2.0))


def test_a_committee_without_errors_needs_no_uncertainty():
    found = calibrate(np.ones(9), np.zeros(9), np.arange(9))
    assert (found.scale, found.ratio, found.interval) == (0.0, 0.0, (0.0, 0.0))


def test_the_order_of_structures_does_not_matter():
    sigma, difference, owner = sample(50)
    order = np.random.default_rng(1).permutation(50)
    one, other = calibrate(sigma, difference, owner), calibrate(sigma[order], difference[order], owner)
    for field in dataclasses.fields(one):
        np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-12)


@pytest.mark.parametrize(
    ("sigma", "message"), [([1.0], "at least 2 structures, got 1"), ([0.0, 1.0, 0.0], "σ is zero for 2 of 3")]
)
def test_what_cannot_be_calibrated_is_said(sigma, message):
    with pytest.raises(UndefinedError, match=message):
        calibrate(np.array(sigma), np.ones(len(sigma)), np.arange(len(sigma)))


def test_more_bins_than_structures_are_refused():
    with pytest.raises(ValueError, match="1 to 4 bins, got n_bins=5"):
        calibrate(np.ones(4), np.ones(4), np.arange(4), n_bins=5)
