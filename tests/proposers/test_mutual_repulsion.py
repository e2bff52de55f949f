import dataclasses
import math

import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers import ascent
from sparring.proposers.ascent import attack
from sparring.proposers.mutual_repulsion import mutual_repulsion
from sparring.proposers.objectives import exp, force_variance, log
from sparring.proposers.spaces import Cartesian


@pytest.fixture
def data(ammonia, water):
    frames = [ammonia.copy(), water.copy()]
    for atoms in frames:
        atoms.info[ENERGY], atoms.arrays[FORCES] = 0.0, np.zeros((len(atoms), 3))
    return Dataset.from_atoms(frames)


def unpredicted(term, structures):
    """Scores that do not depend on the prediction."""
    energy, forces = torch.zeros(2, structures.n_structures), torch.zeros(2, structures.n_atoms, 3)
    return term(Prediction(energy, forces), structures)


def scores(term, frames):
    return unpredicted(term, Structures.from_atoms(frames))


def test_equal_geometries_share_a_penalty_of_one_also_if_turned_or_mirrored(ammonia, rattled, data):
    (one,) = rattled(ammonia, 1)
    turned, mirrored = one.copy(), one.copy()
    turned.rotate(70, (1, 1, 2))
    mirrored.positions[:, 0] *= -1
    found = scores(mutual_repulsion(0.1, data), [one, turned, mirrored])
    torch.testing.assert_close(found, torch.full((3,), -1.0).double())  # two halves each


def test_the_penalty_is_a_gaussian_of_the_difference_of_distances():
    pairs = [Atoms("N2", [[0, 0, 0], [length, 0, 0]]) for length in (1.0, 1.2)]
    for atoms in pairs:
        atoms.info[ENERGY], atoms.arrays[FORCES] = 0.0, np.zeros((2, 3))
    found = scores(mutual_repulsion(0.1, Dataset.from_atoms(pairs)), pairs)
    torch.testing.assert_close(found, torch.full((2,), -0.5 * math.exp(-0.5 * (0.2 / 0.1) ** 2)).double())


def test_the_order_of_structures_in_a_group_does_not_matter(ammonia, water, rattled, data):
    frames, order = [*rattled(ammonia, 4), *rattled(water, 3)], [5, 2, 0, 6, 3, 1, 4]
    term = mutual_repulsion(0.2, data)
    found, exchanged = scores(term, frames), scores(term, [frames[k] for k in order])
    torch.testing.assert_close(exchanged, found[order])
    assert (found < -0.1).all()


def test_other_molecules_and_other_groups_do_not_repel(ammonia, water, data):
    term = mutual_repulsion(0.2, data, among=3)
    assert scores(term, [ammonia, water]).tolist() == [0, 0]
    assert scores(term, [ammonia] * 4).tolist() == [-1, -1, -1, 0]


def test_the_slope_is_that_of_finite_differences(ammonia, water, rattled, data, slope, copies):
    term, space = mutual_repulsion(0.2, data, among=4), Cartesian()
    seeds = Structures.from_atoms([*rattled(ammonia, 2), *rattled(water, 2)])
    delta = torch.zeros_like(seeds.positions)

    def score(points):
        return (
            unpredicted(term, space.displace(copies(seeds, len(points)), points.flatten(0, 1)))
            .reshape(len(points), -1)
            .sum(1)
        )

    point = delta.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point.unsqueeze(0)).sum(), point)
    torch.testing.assert_close(gradient, slope(score, delta), rtol=1e-6, atol=1e-8)
    assert gradient.abs().max() > 1e-2


def test_equal_seeds_leave_the_slope_finite(ammonia, data):
    seeds = Structures.from_atoms([ammonia] * 3)
    positions = seeds.positions.requires_grad_()
    (gradient,) = torch.autograd.grad(
        unpredicted(mutual_repulsion(0.2, data), seeds.with_positions(positions)).sum(), positions
    )
    assert gradient.abs().max() < 1e-12


def test_the_limit_of_memory_changes_nothing(committee, ammonia, rattled, data):
    seeds = Structures.from_atoms(rattled(ammonia, 7))
    objective = log(force_variance) + 5 * mutual_repulsion(0.2, data, among=3)
    members = committee()
    assert ascent.chunk_size(members, seeds, objective, 1.0) == 3
    whole, parts = (attack(members, seeds, objective, n_steps=4, seed=0, max_memory=one) for one in (None, 1.0))
    torch.testing.assert_close(parts.positions, whole.positions, rtol=0, atol=1e-12)
    alone = attack(members, seeds, log(force_variance), n_steps=4, seed=0)
    assert (whole.positions - alone.positions).abs().max() > 1e-3


def test_an_attack_that_fails_does_not_stop_the_others(ammonia, rattled, data):
    seeds = Structures.from_atoms(rattled(ammonia, 3))
    positions = seeds.positions.clone()
    positions[0] = torch.nan
    positions.requires_grad_()
    term = mutual_repulsion(0.2, data)
    score = unpredicted(term, dataclasses.replace(seeds, positions=positions))
    (gradient,) = torch.autograd.grad(score.sum(), positions)
    torch.testing.assert_close(score[1:], unpredicted(term, seeds.take([1, 2])))
    assert torch.isfinite(gradient[4:]).all()


def test_a_formula_keeps_the_groups_of_its_terms_together(data):
    three, four = mutual_repulsion(0.2, data, among=3), mutual_repulsion(0.4, data, among=4)
    formulas = (three, -three, 2 * three, 1 - three / 2, exp(three), three + force_variance, three * four)
    assert [one.among for one in formulas] == [3, 3, 3, 3, 3, 3, 12]
    assert force_variance.among == 1


def test_attacks_that_repel_end_farther_apart(committee, ammonia, data):
    seeds, members = Structures.from_atoms([ammonia] * 4), committee()
    near = Cartesian(spread=0.01)
    repelling = log(force_variance) + 20 * mutual_repulsion(0.3, data)

    def spread(objective):
        result = attack(members, seeds, objective, n_steps=20, seed=0, space=near)
        return scores(mutual_repulsion(0.3, data), result.structures.to_atoms()).sum().item()

    assert spread(repelling) > spread(log(force_variance)) + 0.5


@pytest.mark.parametrize("among", [1, 101, 2.5])
def test_groups_of_a_size_that_makes_no_sense_are_an_error(among, data):
    with pytest.raises(ValueError, match=f"in groups of 2 to 100, got among={among:g}"):
        mutual_repulsion(0.2, data, among=among)


def test_a_distance_that_is_not_positive_is_an_error(data):
    with pytest.raises(ValueError, match="the distance of the repulsion must be positive, got 0 Å"):
        mutual_repulsion(0.0, data)


def test_crystals_are_refused(salt):
    salt.info[ENERGY], salt.arrays[FORCES] = 0.0, np.zeros((len(salt), 3))
    with pytest.raises(ValueError, match="mutual_repulsion is for molecules, and a structure of the data is periodic"):
        mutual_repulsion(0.2, Dataset.from_atoms([salt]))
