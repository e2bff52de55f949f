import math

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.constraints import FixAtoms
from scipy.spatial.transform import Rotation

from sparring.atoms.geometry import rotate
from sparring.atoms.guests import Guests
from sparring.atoms.structures import Structures
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Cartesian, Combined, Rigid, Strain


def guest_of(atoms, n=3):
    """Positions of the last atoms as one molecule."""
    first = atoms.positions[-n]
    return first + atoms.get_distances(len(atoms) - n, range(len(atoms) - n, len(atoms)), mic=True, vector=True)


# --- rotations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 0.4999, 0.5001, 2.0, math.pi, 7.0])
def test_a_rotation_vector_turns_about_its_direction_by_its_length(angle):
    axis, vectors = np.array([0.6, 0.0, -0.8]), np.random.default_rng(0).normal(size=(5, 3))
    expected = Rotation.from_rotvec(angle * axis).apply(vectors) - vectors
    found = rotate(torch.tensor(vectors), torch.tensor(angle * axis).expand(5, 3))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-14)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 0.3, 0.4999, 0.5001, 3.0])
def test_all_derivatives_of_a_rotation_exist_and_are_those_of_the_exponential(angle):
    rotation = angle * torch.tensor([0.6, 0.0, -0.8], dtype=torch.float64)
    vector = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)

    def exponential(w):
        zero = torch.zeros_like(w[0])
        skew = torch.stack([zero, -w[2], w[1], w[2], zero, -w[0], -w[1], w[0], zero]).reshape(3, 3)
        return torch.linalg.matrix_exp(skew) @ vector - vector

    for function in (torch.func.jacrev, lambda one: torch.func.jacrev(torch.func.jacrev(one))):
        expected = function(exponential)(rotation)
        torch.testing.assert_close(function(lambda w: rotate(vector, w))(rotation), expected, rtol=1e-9, atol=1e-9)


# --- the space ------------------------------------------------------------------------------------------------------


def test_a_guest_moves_as_one_body_across_faces_of_the_cell_and_the_host_stays(in_cage, water):
    across, whole = in_cage(water), in_cage(water, wrap=False)
    assert np.abs(across.positions - whole.positions).max() > 3.0
    seeds, delta = (
        Structures.from_atoms([across]),
        torch.tensor([[0.3, -0.2, 0.1, 0.4, 0.1, -0.5]], dtype=torch.float64),
    )
    moved = Rigid.of(across).displace(seeds, delta).to_atoms()[0]
    masses = whole.get_masses()[-3:]
    centre = masses @ whole.positions[-3:] / masses.sum()
    turned = Rotation.from_rotvec([0.4, 0.1, -0.5]).apply(whole.positions[-3:] - centre) + centre + [0.3, -0.2, 0.1]
    step = moved.positions - across.positions
    np.testing.assert_allclose(step[-3:], turned - whole.positions[-3:], atol=1e-12)
    assert not step[:-3].any()


def test_a_rotation_keeps_the_centre_of_mass_and_a_translation_the_orientation(in_cage, water):
    hosted = in_cage(water, wrap=False)
    seeds = Structures.from_atoms([hosted])
    delta = torch.tensor([[0.5, -1.0, 0.2]], dtype=torch.float64)
    turned, shifted = (
        Rigid.of(hosted, which=which).displace(seeds, delta).to_atoms()[0] for which in ("rotation", "translation")
    )
    np.testing.assert_allclose(turned[-3:].get_center_of_mass(), hosted[-3:].get_center_of_mass())
    np.testing.assert_allclose(turned[-3:].get_all_distances(), hosted[-3:].get_all_distances())
    np.testing.assert_allclose(shifted.positions[-3:] - hosted.positions[-3:], delta.repeat(3, 1))


def test_every_guest_has_six_numbers_of_its_own(in_cage, water, drawn):
    two = in_cage(water, wrap=False) * (1, 1, 2)
    space, seeds = Rigid.of(two, spread=0.2), Structures.from_atoms([two, two])
    delta = drawn(space, seeds)
    assert delta.shape == (4, 6)
    assert space.owner(seeds).tolist() == [0, 0, 1, 1]
    moved = space.displace(seeds, delta.index_fill(0, torch.tensor([0, 3]), 0.0))
    changed = (moved.positions != seeds.positions).any(1).reshape(2, -1)
    assert torch.nonzero(changed[0]).flatten().tolist() == [39, 40, 41]
    assert torch.nonzero(changed[1]).flatten().tolist() == [18, 19, 20]


def test_atoms_by_number_move_as_one(water, drawn):
    dimer = water.copy()
    dimer += molecule("NH3", cell=None)
    dimer.positions[3:] += [0.0, 0.0, 3.0]
    space = Rigid.of(dimer, [4, 3, 5, 6], spread=0.2)
    seeds = Structures.from_atoms([dimer])
    moved = space.displace(seeds, drawn(space, seeds)).to_atoms()[0]
    np.testing.assert_array_equal(moved.positions[:3], dimer.positions[:3])
    np.testing.assert_allclose(moved[3:].get_all_distances(), dimer[3:].get_all_distances())
    assert np.abs(moved.positions[3:] - dimer.positions[3:]).min() > 1e-3


def test_bounds_hold_the_length_of_each_translation_and_the_angle_of_each_rotation(in_cage, water):
    hosted = in_cage(water) * (1, 1, 2)
    space, seeds = Rigid.of(hosted, max_translation=0.5, max_rotation=2.0), Structures.from_atoms([hosted])
    delta = torch.tensor([[3.0, 0.0, 4.0, 0.1, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 5.0, 0.0]], dtype=torch.float64)
    expected = torch.tensor([[0.3, 0.0, 0.4, 0.1, 0.0, 0.0], [0.1, 0.0, 0.0, 0.0, 2.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(space.project(seeds, delta), expected)


def test_a_guest_follows_a_strained_cell_that_it_lies_across(in_cage, water):
    across, whole = in_cage(water), in_cage(water, wrap=False)
    strain, motion = (
        torch.tensor([0.05, 0.0, -0.03, 0.02, 0.0, 0.01], dtype=torch.float64),
        torch.full((6,), 0.2).double(),
    )
    ends = []
    for hosted in (across, whole):
        space = Combined(spaces=(Strain(), Rigid.of(hosted)))
        moved = space.displace(Structures.from_atoms([hosted]), torch.cat([strain, motion])).to_atoms()[0]
        ends.append(guest_of(moved) - guest_of(moved).mean(0))
    np.testing.assert_allclose(*ends, atol=1e-12)


def test_an_attack_climbs_by_rigid_motions_and_keeps_the_shape_of_the_guest(in_cage, water, committee):
    hosted = in_cage(water)
    space, seeds = Rigid.of(hosted), Structures.from_atoms([hosted])
    result = attack(committee(), seeds, force_variance, seed=0, space=space, n_steps=20, learning_rate=0.03)
    assert result.best().objective.item() > 1.1 * result.objective[0].item()
    (end,) = result.structures.to_atoms()
    rows = range(-3, 0)
    distances = [[one.get_distance(i, j, mic=True) for i in rows for j in rows if i < j] for one in (end, hosted)]
    np.testing.assert_allclose(*distances, atol=1e-10)
    np.testing.assert_array_equal(end.positions[:-3], hosted.positions[:-3])


# --- where it does not fit ------------------------------------------------------------------------------------------


def test_a_fixed_atom_of_a_guest_is_an_error_and_one_of_the_host_is_not(in_cage, water, drawn):
    hosted = in_cage(water)
    space = Rigid.of(hosted)
    hosted.set_constraint(FixAtoms(range(18)))
    drawn(space, Structures.from_atoms([hosted]))
    hosted.set_constraint(FixAtoms([0, 19]))
    with pytest.raises(
        ValueError, match="seed 0: atom 19 is fixed, but is part of a molecule that is to move; free it"
    ):
        drawn(space, Structures.from_atoms([hosted]))


def test_a_seed_whose_guest_is_not_known_is_an_error(in_cage, water, ammonia, drawn):
    space = Rigid.of(in_cage(water))
    with pytest.raises(ValueError, match=r"seed 1 \(H3NO12Si6\) is no structure whose guest is known"):
        drawn(space, Structures.from_atoms([in_cage(water), in_cage(ammonia)]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"which": "shear"}, "rigid motions are one of all, translation, rotation, got which='shear'"),
        ({"spread": -0.1}, "the initial spread must not be negative, got -0.1 Å"),
        ({"rotation_spread": -0.1}, "the initial spread must not be negative, got -0.1 rad"),
        ({"max_translation": 0.0}, "the radius of the bound must be positive, got 0.0 Å"),
        ({"max_rotation": 0.0}, "the radius of the bound must be positive, got 0.0 rad"),
    ],
)
def test_sizes_out_of_range_are_errors(arguments, message, monkeypatch, water):
    import jaxtyping

    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=message):
        Rigid(guests=Guests.of(water), **arguments)


def test_a_combination_with_atoms_moves_host_and_guest(in_cage, water, drawn):
    hosted = in_cage(water)
    space = Combined(spaces=(Rigid.of(hosted, spread=0.2), Cartesian(spread=0.01)))
    seeds = Structures.from_atoms([hosted])
    step = (space.displace(seeds, drawn(space, seeds)).positions - seeds.positions).norm(dim=1)
    assert 0 < step[:18].max() < 0.06
    assert step[18:].min() > 0.06


def test_to_move_a_guest_once_more_asks_nothing_of_the_device(in_cage, water, drawn, never_asks):
    hosted = in_cage(water)
    space, seeds = Rigid.of(hosted, max_translation=0.5, max_rotation=0.5), Structures.from_atoms([hosted])
    delta = drawn(space, seeds)
    with never_asks():
        space.displace(seeds, space.project(seeds, 10 * delta))
