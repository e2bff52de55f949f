import dataclasses
import math

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.proposers.ascent import Ascent, AttackResult, Status, attack, chunk_size
from sparring.proposers.boltzmann import boltzmann, boltzmann_weighted
from sparring.proposers.objectives import energy_variance, force_variance, log, mean_energy
from sparring.proposers.spaces import Cartesian, RandomDisplacement


def of_particles(energy):
    """A potential of particles that do not see each other."""
    return lambda structures: energy(structures.positions)


def disagreeing_about(function):
    """A committee of two whose σ_E² is twice the square of a function of the position."""
    return Committee([of_particles(lambda r, sign=sign: sign * function(r)) for sign in (-1.0, 1.0)])


def hill(r):
    """Highest at (0.7, -0.3)."""
    return torch.exp(-((r[:, 0] - 0.7) ** 2 + (r[:, 1] + 0.3) ** 2) / 2)


def attraction(structures):
    """Falls with the distance of two atoms."""
    ends = structures.positions.reshape(-1, 2, 3)
    return torch.exp(-(ends[:, 0] - ends[:, 1]).square().sum(1).sqrt())


@pytest.fixture
def particles(particle):
    def make(*points):
        return Structures.from_atoms([particle(*point) for point in points])

    return make


@pytest.fixture
def ammonias(ammonia, rattled):
    return Structures.from_atoms(rattled(ammonia, 5, stdev=0.05))


def assert_same_attacks(one, other, *, tolerance):
    assert (one.status == other.status).all()
    assert (one.best_step == other.best_step).all()
    for name in ("objective", "energy", "energy_variance", "force_variance", "positions"):
        left, right = getattr(one, name), getattr(other, name)
        torch.testing.assert_close(left, right, rtol=tolerance, atol=tolerance, equal_nan=True, msg=name)
    torch.testing.assert_close(one.structures.positions, other.structures.positions, rtol=0, atol=tolerance)


def of_seeds(result, indices):
    """What an attack found for some of its seeds."""
    index = result.structures.structure_index
    atoms = torch.cat([torch.nonzero(index == i).flatten() for i in indices])
    along = {
        name: getattr(result, name)[:, indices] for name in ("objective", "energy", "energy_variance", "force_variance")
    }
    return AttackResult(
        structures=result.structures.take(indices),
        best_step=result.best_step[indices],
        status=result.status[indices],
        positions=result.positions[:, atoms],
        **along,
    )


def test_the_highest_point_of_a_plane_is_found_from_all_around(particles):
    seeds = particles((0.0, 0.0), (1.5, 0.5), (0.7, -1.5), (-0.5, -1.0))
    space = Cartesian(axes="xy")
    result = attack(
        disagreeing_about(hill), seeds, energy_variance, seed=0, space=space, n_steps=300, learning_rate=0.02
    )
    found = result.structures.positions[:, :2]
    torch.testing.assert_close(found, torch.tensor([[0.7, -0.3]]).double().expand(4, 2), rtol=0, atol=1e-3)
    torch.testing.assert_close(result.best().objective, torch.full((4,), 2.0, dtype=torch.float64), rtol=0, atol=1e-6)


def test_forces_are_least_certain_on_a_ring_around_the_hill(particles):
    seeds = particles((0.5, 0.0), (1.5, 0.5), (0.7, -0.4))
    result = attack(disagreeing_about(hill), seeds, force_variance, seed=0, n_steps=300, learning_rate=0.02)
    away = (result.structures.positions[:, :2] - torch.tensor([0.7, -0.3]).double()).norm(dim=1)
    torch.testing.assert_close(away, torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-3)


def test_product_and_logarithm_lead_to_the_same_closed_form_maximum(particle, particles):
    # Members (k ± d) x²/2: σ_F² goes as x², p as exp(-k x²/2kT), their product is highest at x² = 2kT/k.
    stiffness, kT = 2.0, 0.25
    members = [of_particles(lambda r, k=k: k * r[:, 0] ** 2 / 2) for k in (stiffness - 0.1, stiffness + 0.1)]
    labelled = particle()
    labelled.info[ENERGY], labelled.arrays[FORCES] = 0.0, [[0.0, 0.0, 0.0]]
    reference = Dataset.from_atoms([labelled])
    product = boltzmann_weighted(force_variance, kT=kT, reference=reference)
    logarithm = log(force_variance) + boltzmann(kT, reference)
    for objective in (product, logarithm):
        result = attack(
            Committee(members), particles((0.2,), (-0.9,)), objective, seed=0, n_steps=300, learning_rate=0.02
        )
        expected = math.sqrt(2 * kT / stiffness) * torch.tensor([1.0, -1.0]).double()
        torch.testing.assert_close(result.structures.positions[:, 0], expected, rtol=0, atol=1e-3)


def crystals(salt, rattled, n=2):
    return Structures.from_atoms(rattled(salt, n, stdev=0.05))


def test_an_attack_that_strains_a_crystal_returns_the_cell_in_which_its_uncertainty_was_seen(
    committee, salt, rattled, strain
):
    members, seeds = committee(), crystals(salt, rattled)
    result = attack(members, seeds, force_variance, seed=0, space=strain, n_steps=10, learning_rate=0.01)
    assert not torch.equal(result.structures.cells, seeds.cells)
    for structures in (result.structures, result.candidates().structures):
        seen_again = force_variance(members.predict(structures), structures)
        torch.testing.assert_close(seen_again, result.best().force_variance, rtol=1e-10, atol=0)
    for index, step in enumerate(result.best_step.tolist()):
        assert torch.equal(result.cells[step, index], result.structures.cells[index])
    assert (result.objective[-1] > result.objective[0]).all()


def test_a_space_that_moves_atoms_only_leaves_the_cells_of_the_seeds_and_keeps_no_paths_of_them(
    committee, salt, rattled
):
    seeds = crystals(salt, rattled)
    result = attack(committee(), seeds, force_variance, seed=0, n_steps=2)
    assert result.cells is None
    assert torch.equal(result.structures.cells, seeds.cells)


def test_neighbours_of_a_strained_crystal_are_found_anew_although_the_space_hands_on_old_ones(committee, salt, strain):
    # With the seeds' list a crystal that shrinks by a tenth would miss images that come within the cutoff.
    members = committee(cutoff=3.3)
    seeds = with_edges(Structures.from_atoms([salt]), 3.3)
    delta = -0.1 * torch.eye(3, dtype=torch.float64).unsqueeze(0)
    shrunk = strain.displace(seeds, delta)
    assert shrunk.edges is seeds.edges
    _, seen, _ = Ascent(members, seeds, force_variance, strain).observe(delta)
    fresh = dataclasses.replace(shrunk, edges=None)
    assert seen.force_variance == force_variance(members.predict(fresh), fresh)
    assert seen.force_variance != force_variance(members.predict(shrunk), shrunk)


def test_crystals_that_are_strained_in_chunks_go_the_same_ways(committee, salt, rattled, strain):
    members, seeds = committee(), crystals(salt, rattled, 3)
    arguments = {"seed": 0, "space": strain, "n_steps": 4}
    together = attack(members, seeds, force_variance, **arguments)
    apart = attack(members, seeds, force_variance, max_memory=1.0, **arguments)
    assert_same_attacks(together, apart, tolerance=1e-10)
    torch.testing.assert_close(together.cells, apart.cells, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(together.structures.cells, apart.structures.cells, rtol=1e-10, atol=1e-10)


def test_it_is_counted_in_how_many_attacks_the_energy_fell(particles):
    downhill = attack(disagreeing_about(hill), particles((0.0,), (1.0,)), mean_energy, seed=0, n_steps=2)
    assert downhill.energy_fell().tolist() == [False, False]
    relaxing = log(energy_variance) - 1e3 * mean_energy
    bowl = Committee([of_particles(lambda r, k=k: k * r.square().sum(1)) for k in (0.9, 1.1)])
    result = attack(bowl, particles((1.0,), (-1.0,)), relaxing, seed=0, n_steps=3)
    assert result.energy_fell().tolist() == [True, True]


@pytest.mark.parametrize("objective", [force_variance, log(force_variance) - mean_energy], ids=repr)
def test_an_attack_climbs(committee, ammonias, objective):
    result = attack(committee(), ammonias, objective, seed=0, n_steps=15)
    assert (result.best().objective > result.objective[0]).all()
    assert (result.status == Status.FINISHED).all()
    assert result.count(Status.FINISHED) == 5


def test_an_attack_climbs_out_of_a_crystals_order(committee, salt, rattled):
    seeds = Structures.from_atoms(rattled(salt, 2, stdev=0.02))
    result = attack(committee(), seeds, force_variance, seed=0, n_steps=10)
    assert (result.best().objective > result.objective[0]).all()


def test_the_best_geometry_is_kept_and_not_the_last(particles):
    # Steps of Adam are so long that the third lands on the top and the next ones beyond it.
    result = attack(
        disagreeing_about(hill), particles((0.5, 0.0)), energy_variance, seed=0, n_steps=6, learning_rate=0.1
    )
    best = result.best_step.item()
    assert best == 3
    assert result.best().objective == result.objective.max(0).values
    assert result.best().objective > result.objective[-1]
    assert (result.structures.positions == result.positions[best]).all()


def test_what_is_noted_along_the_path_is_what_the_committee_says_there(committee, ammonias):
    members = committee()
    result = attack(members, ammonias, log(force_variance), seed=0, n_steps=5)
    for step in (0, 5):
        structures = ammonias.with_positions(result.positions[step])
        prediction = members.predict(structures)
        for name, objective in (
            ("objective", log(force_variance)),
            ("energy", mean_energy),
            ("energy_variance", energy_variance),
            ("force_variance", force_variance),
        ):
            torch.testing.assert_close(getattr(result, name)[step], objective(prediction, structures).detach())


def test_steps_are_those_of_pytorchs_adam(committee, ammonias):
    members = committee()
    result = attack(members, ammonias, force_variance, seed=0, n_steps=12, learning_rate=0.02)
    delta = (result.positions[0] - ammonias.positions).requires_grad_()
    adam = torch.optim.Adam([delta], lr=0.02, eps=1e-30, maximize=True)
    for positions in result.positions:
        moved = ammonias.with_positions(ammonias.positions + delta)
        torch.testing.assert_close(positions, moved.positions.detach(), rtol=0, atol=1e-9)
        adam.zero_grad()
        force_variance(members.predict(moved), moved).sum().backward()
        adam.step()


def test_an_objective_that_is_tiny_is_climbed_as_fast_as_one_that_is_not(committee, ammonias):
    one, other = (attack(committee(), ammonias, scale * force_variance, seed=0, n_steps=5) for scale in (1.0, 1e-15))
    torch.testing.assert_close(one.positions, other.positions, rtol=0, atol=1e-8)


def test_seeds_that_are_attacked_in_chunks_go_the_same_ways(committee, ammonia, water, rattled):
    members = committee()
    seeds = Structures.from_atoms([*rattled(ammonia, 3), *rattled(water, 2)])
    whole = attack(members, seeds, force_variance, seed=0, n_steps=8, max_memory=None)
    one_seed = chunk_size(members, seeds, force_variance, 1.0)
    budget = next(2.0**k for k in range(10, 40) if chunk_size(members, seeds, force_variance, 2.0**k) > 1)
    assert one_seed == 1
    for max_memory in (1.0, budget):
        chunked = attack(members, seeds, force_variance, seed=0, n_steps=8, max_memory=max_memory)
        assert_same_attacks(chunked, whole, tolerance=1e-8)


def test_more_memory_takes_more_seeds_at_a_time(committee, ammonias):
    members, seeds = committee(), ammonias.take(list(range(5)) * 20)
    sizes = [chunk_size(members, seeds, force_variance, max_memory) for max_memory in (1e3, 1e6, 3e6, 1e10, None)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == sizes[-2] == 100
    assert 1 < sizes[2] < 100


def test_a_seed_does_not_notice_which_others_are_attacked_with_it(committee, ammonia, water, rattled):
    seeds = Structures.from_atoms([*rattled(ammonia, 2), *rattled(water, 2)])
    space = Cartesian(spread=0.0)
    together = attack(committee(), seeds, force_variance, seed=0, space=space, n_steps=8)
    for indices in ([0], [3, 1]):
        apart = attack(committee(), seeds.take(indices), force_variance, seed=5, space=space, n_steps=8)
        assert_same_attacks(apart, of_seeds(together, indices), tolerance=1e-8)


def test_a_molecule_does_not_notice_a_crystal_that_is_attacked_with_it(committee, ammonia, salt, rattled):
    space = Cartesian(spread=0.0)
    seeds = [*rattled(ammonia, 1), *rattled(salt, 1)]
    together = attack(committee(), Structures.from_atoms(seeds), force_variance, seed=0, space=space, n_steps=5)
    for index, atoms in enumerate(seeds):
        alone = attack(committee(), Structures.from_atoms([atoms]), force_variance, seed=0, space=space, n_steps=5)
        assert_same_attacks(alone, of_seeds(together, [index]), tolerance=1e-8)


def breaks_beyond_half(r):
    return torch.where(r[:, 0] > 0.5, torch.nan, r[:, 0] ** 2)


def test_a_seed_that_runs_into_nan_stops_there_and_the_others_do_not_notice(particles):
    members, space = disagreeing_about(breaks_beyond_half), Cartesian(spread=0.0)
    seeds = particles((-0.2,), (0.4,), (-1.0,))
    result = attack(members, seeds, force_variance, seed=0, space=space, n_steps=20, learning_rate=0.03)
    assert result.status.tolist() == [Status.FINISHED, Status.NOT_FINITE, Status.FINISHED]
    assert result.count(Status.NOT_FINITE) == 1
    finite = torch.isfinite(result.objective)
    assert finite[:, [0, 2]].all()
    n_good = int(finite[:, 1].sum())
    assert finite[:n_good, 1].all()
    assert result.best_step.tolist() == [20, n_good - 1, 20]
    x = result.positions[:, 1, 0]
    assert (x[n_good:] == x[n_good - 1]).all()
    assert 0.4 < result.structures.positions[1, 0].item() <= 0.5
    others = attack(members, seeds.take([0, 2]), force_variance, seed=0, space=space, n_steps=20, learning_rate=0.03)
    assert_same_attacks(others, of_seeds(result, [0, 2]), tolerance=0.0)


def test_a_seed_that_is_not_finite_from_the_start_is_counted_and_stays(particles):
    seeds = particles((0.9,), (-0.2,))
    result = attack(
        disagreeing_about(breaks_beyond_half), seeds, force_variance, seed=0, space=Cartesian(spread=0.0), n_steps=5
    )
    assert result.status.tolist() == [Status.NOT_FINITE, Status.FINISHED]
    assert torch.isnan(result.objective[:, 0]).all()
    assert torch.isnan(result.best().objective).tolist() == [True, False]
    assert (result.structures.positions[0] == seeds.positions[0]).all()


def test_atoms_that_run_into_each_other_end_the_attack_on_their_seed_only():
    members, space = Committee([attraction, lambda s: -attraction(s)]), Cartesian(spread=0.0)
    seeds = Structures.from_atoms([Atoms("H2", [[0, 0, 0], [d, 0, 0]]) for d in (0.8, 3.0, 0.4)])
    result = attack(
        members, seeds, energy_variance, seed=0, space=space, n_steps=10, learning_rate=0.03, min_distance=0.5
    )
    assert result.status.tolist() == [Status.OVERLAP, Status.FINISHED, Status.OVERLAP]
    assert result.best_step[1:].tolist() == [10, 0]
    ends = result.positions.reshape(11, 3, 2, 3)
    distance = (ends[:, :, 0] - ends[:, :, 1]).norm(dim=2)
    assert (distance[:, :2] >= 0.5).all()
    assert distance[-1, 0] < 0.5 + 0.06
    assert torch.isnan(result.objective[-1]).tolist() == [True, False, True]
    alone = attack(members, seeds.take([1]), energy_variance, seed=0, space=space, n_steps=10, learning_rate=0.03)
    assert_same_attacks(alone, of_seeds(result, [1]), tolerance=0.0)


def test_images_of_a_crystal_overlap_too_even_if_the_committee_looks_at_no_neighbours():
    # Two atoms 1 Å apart across the face of the cell, pulled apart inside it and hence together through the face.
    crystal = Atoms("He2", positions=[[0.5, 2, 2], [3.5, 2, 2]], cell=[4, 4, 4], pbc=True)
    members = Committee([lambda s: -attraction(s), attraction])
    seeds = Structures.from_atoms([crystal])
    result = attack(
        members, seeds, -1 * energy_variance, seed=0, space=Cartesian(spread=0.0), n_steps=20, learning_rate=0.03
    )
    assert result.status.tolist() == [Status.OVERLAP]
    assert result.structures.to_atoms()[0].get_distance(0, 1, mic=True) >= 0.5


def test_where_no_distance_is_an_overlap_atoms_may_come_as_close_as_they_like():
    seeds = Structures.from_atoms([Atoms("H2", [[0, 0, 0], [0.3, 0, 0]])])
    members = Committee([attraction, lambda s: -attraction(s)])
    result = attack(members, seeds, energy_variance, seed=0, n_steps=2, min_distance=0.0)
    assert result.status.tolist() == [Status.FINISHED]


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.0, math.inf])
def test_a_bound_holds_along_the_whole_path(committee, ammonias, norm):
    space = Cartesian(spread=0.02, radius=0.05, norm=norm)
    result = attack(committee(), ammonias, force_variance, seed=0, space=space, n_steps=15, learning_rate=0.02)
    deltas = (result.positions - ammonias.positions).reshape(16, 5, 12)
    sizes = torch.linalg.vector_norm(deltas, ord=norm, dim=2)
    assert (sizes <= 0.05 * (1 + 1e-9)).all()
    assert (sizes.max(0).values > 0.05 * (1 - 1e-9)).all()


def test_atoms_move_only_along_the_axes_that_are_free(committee, ammonias):
    result = attack(committee(), ammonias, force_variance, seed=0, space=Cartesian(axes="z"), n_steps=5)
    moved = result.positions != ammonias.positions
    assert not moved[..., :2].any()
    assert moved[..., 2].all()


def test_no_steps_in_the_random_space_are_the_baseline(committee, ammonias):
    members = committee()
    result = attack(members, ammonias, force_variance, seed=0, space=RandomDisplacement(amplitude=0.3), n_steps=0)
    assert result.positions.shape == (1, 20, 3)
    assert result.best_step.tolist() == [0] * 5
    assert (result.structures.positions == result.positions[0]).all()
    away = (result.positions[0] - ammonias.positions).abs()
    assert 0.2 < away.max() <= 0.3
    expected = force_variance(members.predict(result.structures), result.structures).detach()
    torch.testing.assert_close(result.best().force_variance, expected)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_attack(committee, ammonias):
    one, same, other = (attack(committee(), ammonias, force_variance, seed=seed, n_steps=5) for seed in (1, 1, 2))
    assert_same_attacks(one, same, tolerance=0.0)
    assert (one.positions != other.positions).any()


def test_seeds_and_committee_are_left_as_they_were(committee, ammonias):
    members, before = committee(), ammonias.positions.clone()
    weights = members.state()[1]["weights_sha256"]
    attack(members, ammonias, force_variance, seed=0, n_steps=2)
    assert (ammonias.positions == before).all()
    assert members.state()[1]["weights_sha256"] == weights


def test_single_precision_attacks_as_well(committee, ammonias):
    result = attack(committee(dtype=torch.float32), ammonias, log(force_variance), seed=0, n_steps=10)
    double = attack(committee(), ammonias, log(force_variance), seed=0, n_steps=10)
    torch.testing.assert_close(result.positions, double.positions, rtol=0, atol=1e-3)
    assert (result.best().objective > result.objective[0]).all()


def test_one_member_can_be_attacked_where_no_disagreement_is_asked_for(committee, ammonias):
    result = attack(committee(1), ammonias, mean_energy, seed=0, n_steps=3)
    assert (result.best().energy >= result.energy[0]).all()
    assert (result.force_variance == 0).all()
    with pytest.raises(ValueError, match="at least two members, got 1"):
        attack(committee(1), ammonias, force_variance, seed=0)


@pytest.mark.parametrize("max_memory", [None, 1.0])
def test_progress_counts_every_point_of_every_chunk(committee, ammonias, max_memory):
    seen = []
    attack(
        committee(),
        ammonias,
        force_variance,
        seed=0,
        n_steps=2,
        max_memory=max_memory,
        progress=lambda done, total: seen.append((done, total)),
    )
    total = 3 if max_memory is None else 15
    assert seen == [(k + 1, total) for k in range(total)]


def test_seeds_of_which_none_can_be_scored_are_an_error(particles, particle, committee):
    labelled = bulk("Cu")
    labelled.info[ENERGY], labelled.arrays[FORCES] = 0.0, [[0.0, 0.0, 0.0]]
    objective = boltzmann_weighted(force_variance, kT=1.0, reference=Dataset.from_atoms([labelled]))
    with pytest.raises(ValueError, match=r"not finite at any seed.*Boltzmann weight's data set lack their composition"):
        attack(disagreeing_about(hill), particles((0.0,)), objective, seed=0, n_steps=1)


@pytest.mark.parametrize("arguments", [{"n_steps": -1}, {"learning_rate": 0.0}])
def test_arguments_that_make_no_sense_are_an_error(committee, ammonias, arguments):
    with pytest.raises(ValueError, match="need n_steps >= 0 and learning_rate > 0, got"):
        attack(committee(), ammonias, force_variance, seed=0, **arguments)


def test_a_step_asks_nothing_of_the_device(committee, ammonia, water, never_asks):
    members, objective = committee(dtype=torch.float32), log(force_variance)
    seeds = Structures.from_atoms([ammonia, water, ammonia])
    climb = Ascent(members, seeds, objective, Cartesian())
    state = climb.start(Cartesian().initial(seeds, torch.Generator().manual_seed(0)))
    state, *_ = climb.step(state, 0)
    with never_asks():
        for number in (1, 2):
            state, *_ = climb.step(state, number)
    assert (state.best_step == 2).all()
