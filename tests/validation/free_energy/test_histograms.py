"""Free energies over two torsions: known potentials, statistical errors, and what is not compared."""

import dataclasses

import numpy as np
import pytest

from sparring.committee import Committee
from sparring.units import kT
from sparring.validation.free_energy.compute import committee_visits, reference_visits
from sparring.validation.free_energy.histograms import Visits, compare, free_energy, in_blocks, visits
from sparring.validation.records import read_record, write_record

N = 6
T = 300.0
NAMES = ("phi", "psi")


def surface(shift=0.0):
    """A free energy over N × N bins, in units of kT; the last rows are so high that nobody goes there."""
    x = 2 * np.pi * (np.arange(N) + 0.5) / N
    energy = 1.2 * np.cos(x)[:, None] + 0.8 * np.cos(x - shift)
    energy[-2:] = 30.0
    return energy


def drawn(energy, n_blocks, n_frames, seed):
    """Visits of blocks to a free energy in units of kT, each frame independent of the one before."""
    p = np.exp(-energy).ravel()
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(n_frames, p / p.sum(), size=n_blocks).reshape(n_blocks, N, N)
    return Visits(counts=counts, n_failed=0, method=f"drawn {seed}")


def test_a_free_energy_is_minus_kT_times_the_logarithm_of_how_often():
    counts = np.array([[[8, 4], [2, 0]], [[8, 4], [2, 0]]])
    found = free_energy(counts, T)
    np.testing.assert_allclose(found[:2, 0], [0.0, kT(T) * np.log(4)])
    assert found[0, 1] == pytest.approx(kT(T) * np.log(2))
    assert np.isnan(found[1, 1])


def test_nothing_has_no_free_energy():
    with pytest.raises(ValueError, match="no frames for a free energy"):
        free_energy(np.zeros((2, 3, 3), dtype=int), T)


def test_a_known_free_energy_is_found_within_its_error():
    result = compare(drawn(surface(), 20, 2000, 1), drawn(surface(), 20, 2000, 2), names=NAMES, temperature=T)
    assert result.shared.sum() == N * (N - 2)
    for found in (result.committee, result.reference):
        error = found - kT(T) * surface()
        error = (error - error[result.shared].mean())[result.shared]
        assert np.abs(error).max() < 5 * np.nanmax(result.sigma)
    # Nothing but noise: the mean absolute difference is what noise alone gives.
    assert result.difference == pytest.approx(result.noise, rel=0.5)
    standardised = ((result.committee - result.reference) / result.sigma)[result.shared]
    assert 0.6 < standardised.std() < 1.5


def test_a_true_difference_is_found_and_is_more_than_noise():
    other = surface(shift=1.0)
    result = compare(drawn(other, 20, 20_000, 1), drawn(surface(), 20, 20_000, 2), names=NAMES, temperature=T)
    difference = (kT(T) * (other - surface()))[result.shared]
    expected = np.abs(difference - difference.mean()).mean()
    assert result.difference == pytest.approx(expected, abs=4 * result.difference_sigma)
    assert result.difference > 5 * result.noise


def test_a_constant_is_no_difference():
    one = drawn(surface(), 20, 500, 1)
    result = compare(one, one, names=NAMES, temperature=T)
    assert result.difference == pytest.approx(0.0, abs=1e-12)
    assert result.weighted == pytest.approx(0.0, abs=1e-12)
    assert np.nanmin(result.reference[result.shared]) == 0.0


def test_only_what_both_have_seen_in_several_blocks_is_compared():
    one, other = (drawn(surface(), 10, 500, seed) for seed in (1, 2))
    seldom, once = one.counts.copy(), other.counts.copy()
    seldom[:, 0, 0] = 0
    seldom[:9, 0, 0] = 1  # in nine blocks, but nine times only
    once[1:, 1, 1] = 0
    once[0, 1, 1] = 400  # often, but by one block
    result = compare(
        dataclasses.replace(one, counts=seldom), dataclasses.replace(other, counts=once), names=NAMES, temperature=T
    )
    assert not result.shared[0, 0]
    assert not result.shared[1, 1]
    assert result.shared[2, 2]
    assert np.isfinite(result.committee[0, 0])
    assert np.isnan(result.sigma[0, 0])
    assert result.inside[1] < 1.0 - 400 / once.sum() + 1e-9


def test_surfaces_that_do_not_meet_are_not_compared():
    here, there = np.zeros((5, 2, 2), dtype=int), np.zeros((5, 2, 2), dtype=int)
    here[:, 0, 0], there[:, 1, 1] = 100, 100
    words = [Visits(counts=counts, n_failed=0, method="") for counts in (here, there)]
    result = compare(*words, names=NAMES, temperature=T)
    assert not result.shared.any()
    assert np.isnan([result.difference, result.difference_sigma, result.weighted, result.noise]).all()
    assert result.inside == (0.0, 0.0)
    assert np.nanmin(result.committee) == np.nanmin(result.reference) == 0.0


def test_a_committee_that_has_seen_nothing_has_no_free_energy():
    nothing = Visits(counts=np.zeros((4, N, N), dtype=int), n_failed=4, method="")
    result = compare(nothing, drawn(surface(), 10, 500, 1), names=NAMES, temperature=T)
    assert np.isnan(result.committee).all()
    assert (result.n_failed, result.inside[0]) == (4, 0.0)


def test_bins_must_be_the_same():
    some = [Visits(counts=np.ones((5, n, n), dtype=int), n_failed=0, method="") for n in (2, 3)]
    with pytest.raises(ValueError, match="bins must be the same"):
        compare(*some, names=NAMES, temperature=T)


def test_frames_that_are_not_finite_do_not_count():
    angles = np.zeros((2, 5, 2))
    angles[1, 2:] = np.nan
    assert visits(angles, n_bins=4).counts.sum(axis=(1, 2)).tolist() == [5, 2]


def test_a_trajectory_is_divided_in_the_order_of_time():
    angles = np.arange(22).reshape(11, 2) * 0.1
    blocks = in_blocks(angles, 3)
    assert blocks.shape == (3, 3, 2)
    np.testing.assert_allclose(blocks[1, 0], angles[3])
    with pytest.raises(ValueError, match="2 frames cannot be divided into 3 blocks"):
        in_blocks(angles[:2], 3)


def test_a_comparison_survives_its_file(tmp_path):
    result = compare(drawn(surface(), 10, 500, 1), drawn(surface(), 10, 500, 2), names=NAMES, temperature=T)
    write_record(tmp_path / "free_energy.json", result)
    again = read_record(tmp_path / "free_energy.json", type(result))
    np.testing.assert_array_equal(again.committee, result.committee)
    assert (again.inside, again.methods, again.x.period) == (result.inside, result.methods, result.x.period)


# --- dynamics -------------------------------------------------------------------------------------------------------


@pytest.fixture
def members(chains):
    """A committee whose mean is the known potential."""
    return Committee([chains.ChainPotential(1.1), chains.ChainPotential(0.9)], stacked=False)


SHORT = {"n_copies": 4, "duration": 400.0, "equilibration": 40.0, "timestep": 1.0, "every": 10, "n_bins": 4}


def test_dynamics_of_a_committee_gives_the_free_energy_of_its_mean(chains, members):
    grid = np.linspace(-np.pi, np.pi, 240, endpoint=False) + np.pi / 240
    density = np.exp(-chains.known(grid[:, None], grid) / kT(600.0))
    p = density.reshape(4, 60, 4, 60).sum(axis=(1, 3))
    # Where copies start has the right distribution, which dynamics must leave as it is; only bonds have to get warm.
    places = np.random.default_rng(0).choice(density.size, size=300, p=(density / density.sum()).ravel())
    starts = [chains.turned(grid[place // 240], grid[place % 240]) for place in places]
    seen = committee_visits(
        members, starts, chains.PLANE, temperature=600.0, n_copies=300, n_at_once=300, duration=300.0,
        equilibration=100.0, timestep=2.0, every=10, friction=0.02, n_bins=4,
    )  # fmt: skip
    assert seen.n_failed == 0
    assert seen.n_frames == 300 * 10
    counts = np.rint(np.tile(p / p.sum(), (5, 1, 1)) * 1e7).astype(int)
    result = compare(seen, Visits(counts=counts, n_failed=0, method="exact"), names=NAMES, temperature=600.0)
    assert result.shared.all()
    expected = -kT(600.0) * np.log(p)
    np.testing.assert_allclose(result.reference, expected - expected.min(), atol=1e-5)
    assert (np.abs(result.committee - result.reference) < 4 * result.sigma).all()
    assert result.difference < 2 * result.noise


def test_copies_that_have_moved_do_not_move_again(chains, committee, tmp_path, monkeypatch):
    arguments = (committee(2), [chains.chain()], chains.PLANE)
    settings = {**SHORT, "temperature": 10.0, "n_at_once": 2, "batches": tmp_path, "duration": 80.0}
    first = committee_visits(*arguments, **settings)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr("sparring.validation.free_energy.compute.simulate", None)
    again = committee_visits(*arguments, **settings)
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (again.n_failed, again.method) == (first.n_failed, first.method)
    for other in ({"seed": 1}, {"temperature": 11.0}, {"n_bins": 5}, {"timestep": 0.5}):
        with pytest.raises(TypeError, match="not callable"):
            committee_visits(*arguments, **{**settings, **other})


def test_a_copy_that_falls_apart_counts_until_then(chains):
    weak = Committee([chains.ChainPotential(1.0, stiff=0.02), chains.ChainPotential(1.0, stiff=0.02)], stacked=False)
    seen = committee_visits(weak, [chains.chain()], chains.PLANE, temperature=2000.0, **SHORT)
    assert seen.n_failed == 4
    assert 0 <= seen.n_frames < 4 * 36


def test_copies_start_from_the_given_structures_in_turn(chains, members):
    turned = [chains.chain(), chains.turned(1.0, 0.5)]
    settings = {**SHORT, "duration": 20.0, "equilibration": 0.0, "every": 1}
    seen = committee_visits(members, turned, chains.PLANE, temperature=1.0, **settings)
    where = [int(bins.argmax()) for bins in seen.counts]
    assert where == [where[0], where[1]] * 2
    assert where[0] != where[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"equilibration": 400.0}, "the equilibration must be shorter than the trajectory"),
        ({"n_copies": 0}, "at least one copy"),
    ],
)
def test_what_would_count_nothing_is_refused(chains, members, wrong, message):
    with pytest.raises(ValueError, match=message):
        committee_visits(members, [chains.chain()], chains.PLANE, **{**SHORT, **wrong})


def test_a_reference_is_made_of_frames(chains):
    frames = [chains.chain() for _ in range(12)]
    seen = reference_visits(frames, chains.PLANE, n_blocks=3, n_bins=4, method="a file")
    assert seen.counts.shape == (3, 4, 4)
    assert seen.n_frames == 12
    assert seen.method == "a file"
