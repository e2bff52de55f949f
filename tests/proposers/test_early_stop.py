"""Dynamics with an early stop: which frames replicas offer, and that a hole counts whatever the committee believes."""

import numpy as np
import pytest
import torch
from ase.build import bulk

from sparring.atoms.dataset import ENERGY
from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.candidates import Status
from sparring.committee import Committee
from sparring.dynamics import NPT, UDD, Langevin, simulate
from sparring.proposers.biased_dynamics import biased_dynamics
from sparring.proposers.early_stop import EarlyStop, early_stopped, largest_number_of_frames, way_down
from sparring.selection import UncertaintyAbove

NO_END = {"force_sigma": None, "bonds": None, "min_distance": 0.0, "energy_below": None}
HOT = Langevin(500.0, 0.01)


@pytest.fixture
def seeds(rattled, ammonia, water):
    return Structures.from_atoms([*rattled(ammonia, 2, stdev=0.02), *rattled(water, 1, stdev=0.02)])


def moved(members, seeds, stop=None, **changes):
    given = {"ensemble": HOT, "seed": 3, "duration": 20.0, "timestep": 0.5, "every": 2}
    stop = {**NO_END, "quiet": 10.0, **(stop or {})}
    return early_stopped(members, seeds, stop=EarlyStop(**stop), **{**given, **changes})


def trajectory(members, seeds, **changes):
    given = {"ensemble": HOT, "seed": 3, "timestep": 0.5, "n_steps": 40, "every": 1, "keep_frames": True}
    return simulate(members, seeds, **{**given, **changes})


def separate(candidates):
    return candidates.structures.positions.split(candidates.structures.counts.tolist())


# --- frames ---------------------------------------------------------------------------------------------------------


def test_a_replica_to_which_nothing_happens_offers_a_frame_after_every_quiet_period(committee, seeds):
    found = moved(committee(), seeds)
    path = trajectory(committee(), seeds).positions
    assert found.origin.tolist() == [0, 0, 1, 1, 2, 2]
    for origin, step, positions in zip(found.origin, [20, 40] * 3, separate(found), strict=True):
        expected = path[step].split(seeds.counts.tolist())[origin]
        torch.testing.assert_close(positions, expected, rtol=0, atol=1e-12)
    assert found.unconditional.all()
    assert found.count(Status.FINISHED) == 6


def test_a_replica_that_ends_offers_its_last_frame_and_one_on_the_way_there(committee, seeds):
    members, at = committee(), 2
    whole = trajectory(members, seeds)
    sigma = whole.force_variance.sqrt().numpy()
    threshold = float(np.sort(sigma[:, at])[-9:-7].mean())  # replica 2 gets there
    last = int(np.argmax(sigma[:, at] > threshold)) - 1
    assert last > 2
    found = moved(members, seeds, {"force_sigma": threshold})
    mine = [positions for positions, origin in zip(separate(found), found.origin, strict=True) if origin == at]
    path = whole.positions[:, -3:]
    n_quiet = last // 20
    torch.testing.assert_close(mine[n_quiet], path[last], rtol=0, atol=1e-12)
    down = 2 * way_down(whole.force_variance[: last + 1 : 2, at].numpy())
    torch.testing.assert_close(mine[n_quiet + 1], path[down], rtol=0, atol=1e-12)
    assert 0 < down <= last


def test_frames_at_constant_pressure_have_their_cells(committee):
    crystals, ensemble = Structures.from_atoms([bulk("Si"), bulk("Si")]), NPT(500.0, 0.01, False, 20.0, 30.0)
    found = moved(committee(), crystals, ensemble=ensemble)
    path = trajectory(committee(), crystals, ensemble=ensemble)
    torch.testing.assert_close(found.structures.cells, path.cells[[20, 40, 20, 40], [0, 0, 1, 1]], rtol=0, atol=1e-12)
    led = biased_dynamics(
        committee(),
        crystals,
        ensemble=ensemble,
        seed=3,
        stop=EarlyStop(**NO_END, quiet=10.0),
        burn_in=5.0,
        duration=20.0,
    )
    assert (led.structures.cells != crystals.cells[[0, 0, 1, 1]]).any((1, 2)).all()


def test_the_way_down_begins_where_uncertainty_leaves_its_median():
    calm = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.9, 2.0, 3.0, 5.0, 9.0])
    assert way_down(calm) == (5 + 10) // 2  # the fifth is the last at or below the median of 1.1
    assert way_down(np.arange(10.0)) == (4 + 10) // 2
    assert way_down(np.ones(6)) == 5  # it ended without a warning: the last frame
    assert way_down(np.ones(1)) == 0


def test_a_hole_in_which_all_members_agree_is_a_candidate_that_no_threshold_removes(schnet, seeds, committee):
    agreeing = Committee([schnet(0), schnet(0)])
    lowest = float(agreeing.predict(seeds, differentiable=False).energy.mean(0)[2])
    energies = trajectory(agreeing, seeds).energy[:, 2].numpy()
    depth = 0.5 * (lowest - energies.min())
    assert depth > 0
    found = moved(agreeing, seeds, {"energy_below": depth, "quiet": 20.0}, every=1)
    ended = np.flatnonzero((found.origin == 2) & (found.score >= 2))
    assert len(ended) == 1  # above all quiet frames; uncertainty gave no warning, so that there is no frame on the way
    assert found.force_variance.max() < 1e-12
    kept = UncertaintyAbove(threshold=1.0)(found)
    assert set(ended) <= set(kept)


def test_bonds_and_the_floor_of_energies_are_those_of_the_reference_with_the_same_atoms(committee, seeds, water):
    stretched = water.copy()
    stretched.positions[1:] += 0.2 * (stretched.positions[1:] - stretched.positions[0])
    stop = {"bonds": (0.9, 1.3), "quiet": 20.0}
    free, bound = (moved(committee(), seeds, stop, references=some) for some in ([], [stretched]))
    assert free.count(Status.OVERLAP) == 0
    assert bound.count(Status.OVERLAP) == 1  # bonds of all waters are shorter than they should be
    assert np.isnan(bound.score[bound.origin == 2]).all()
    assert torch.equal(separate(bound)[-1], seeds.positions.double()[-3:])
    water.info[ENERGY] = 1e3
    low = moved(committee(), seeds, {"energy_below": 0.1, "quiet": 20.0}, references=[water])
    assert np.isnan(low.score[low.origin == 2]).all()
    assert np.isfinite(low.score[low.origin != 2]).any()


def test_the_same_seed_gives_the_same_frames_also_where_memory_is_short(committee, seeds):
    first, again, apart = (moved(committee(), seeds, max_memory=memory) for memory in (None, None, 1.0))
    assert torch.equal(first.structures.positions, again.structures.positions)
    torch.testing.assert_close(first.structures.positions, apart.structures.positions, rtol=0, atol=1e-12)
    other = moved(committee(), seeds, seed=4)
    assert (first.structures.positions - other.structures.positions).abs().max() > 1e-3


def test_a_replica_moves_as_it_does_without_the_others(committee, seeds):
    alone, among = moved(committee(), seeds.take([0])), moved(committee(), seeds)
    torch.testing.assert_close(alone.structures.positions, among.structures.positions[:8], rtol=0, atol=1e-12)


def test_the_number_of_frames_is_bounded():
    assert largest_number_of_frames(duration=5000.0, quiet=5000.0) == 2
    assert largest_number_of_frames(duration=5000.0, quiet=2000.0) == 4
    with pytest.raises(ValueError, match="offers no frame: it is quiet for 10 fs of 5 fs"):
        largest_number_of_frames(duration=5.0, quiet=10.0)


# --- bias -----------------------------------------------------------------------------------------------------------


def springs(pull):
    """Springs between all atoms of a molecule; a member pulls at them in its own way."""

    def energies(structures):
        length, owner = distances(structures), structures.structure_index[structures.edges.target]
        return length.new_zeros(structures.n_structures).index_add(0, owner, 5 * (length - 1.3) ** 2 + pull * length)

    energies.cutoff = 6.0
    return energies


PULLING = Committee([springs(-0.1), springs(0.1)])


def led(members, seeds, **changes):
    given = {"ensemble": HOT, "seed": 3, "duration": 20.0, "timestep": 0.5, "every": 2, "burn_in": 10.0}
    return biased_dynamics(members, seeds, **{**given, "stop": EarlyStop(**NO_END, quiet=20.0), **changes})


def test_biased_replicas_reach_higher_uncertainty_than_those_without(seeds):
    plain, pushed = led(PULLING, seeds, bias=1e-9), led(PULLING, seeds, bias=1.0)
    assert pushed.origin.tolist() == plain.origin.tolist() == [0, 1, 2]
    assert (pushed.energy_variance > plain.energy_variance).all()
    assert pushed.unconditional.all()


def test_criteria_see_the_energies_of_the_committee_without_the_bias(seeds):
    stop = EarlyStop(**{**NO_END, "energy_below": 0.05}, quiet=20.0)
    free = led(PULLING, seeds, bias=UDD(height=1e-9, width=1.0), stop=stop)
    deep = led(PULLING, seeds, bias=UDD(height=3.0, width=1.0), stop=stop)  # the biased energy falls by up to 3 eV
    assert free.origin.tolist() == deep.origin.tolist()
    np.testing.assert_allclose(deep.energy, PULLING.predict(deep.structures).energy.detach().mean(0), rtol=1e-9)


def test_a_bias_needs_a_committee_and_a_strength(schnet, committee, seeds):
    with pytest.raises(ValueError, match="got a single member"):
        led(Committee([schnet()]), seeds)
    with pytest.raises(ValueError, match=r"need bias > 0 and burn_in >= timestep > 0, got 0.0, 10.0 fs"):
        led(committee(), seeds, bias=0.0)
