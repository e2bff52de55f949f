import numpy as np
import pytest
import torch
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.structures import Structures
from sparring.proposers.spaces import Directions
from sparring.starting_data.normal_modes import hessian, normal_modes
from sparring.starting_data.relaxation import relax

DIRECTIONS = np.random.default_rng(0).normal(size=(2, 4, 3))


@pytest.fixture
def seeds(ammonia, rattled):
    return Structures.from_atoms(rattled(ammonia, 3))


def test_a_delta_moves_every_atom_along_its_part_of_the_direction(seeds):
    delta = torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 0.5]], dtype=torch.float64)
    shift = (Directions(directions=DIRECTIONS).displace(seeds, delta).positions - seeds.positions).reshape(3, 4, 3)
    expected = [DIRECTIONS[0], -2 * DIRECTIONS[1], DIRECTIONS.mean(0)]
    np.testing.assert_allclose(shift.numpy(), expected, atol=1e-14)


def test_a_bound_holds_for_all_directions_of_a_seed_together(seeds):
    space = Directions(directions=DIRECTIONS, radius=0.5)
    delta = torch.tensor([[3.0, 4.0], [0.3, 0.3], [0.0, -1.0]], dtype=torch.float64)
    expected = torch.tensor([[0.3, 0.4], [0.3, 0.3], [0.0, -0.5]], dtype=torch.float64)
    torch.testing.assert_close(space.project(seeds, delta), expected)


def test_a_seed_with_another_number_of_atoms_is_an_error_that_names_it(ammonia, water, drawn):
    with pytest.raises(ValueError, match="the directions move 4 atoms, seed 1 has 3"):
        drawn(Directions(directions=DIRECTIONS), Structures.from_atoms([ammonia, water]))


def test_normal_modes_are_directions_of_unit_length(water, drawn):
    def by_emt(structures):
        for one in structures:
            one.calc = EMT()
            one.info[ENERGY], one.arrays[FORCES] = one.get_potential_energy(), one.get_forces()
        return structures

    relaxed = relax(water, EMT())
    modes = normal_modes(relaxed, hessian(relaxed, by_emt))
    space = Directions(directions=modes.modes, spread=0.1)
    seeds = Structures.from_atoms([relaxed, relaxed])
    delta = drawn(space, seeds)
    assert delta.shape == (2, 3)
    for column in range(3):
        alone = delta * (torch.arange(3) == column)
        shift = space.displace(seeds, alone).positions - seeds.positions
        torch.testing.assert_close(shift.reshape(2, -1).norm(dim=1), delta[:, column].abs())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directions": np.zeros((0, 4, 3))}, r"shape \(n_directions, n_atoms, 3\), got \(0, 4, 3\)"),
        ({"directions": 0 * DIRECTIONS}, "every direction must be finite and move an atom"),
        ({"directions": np.full((1, 4, 3), np.nan)}, "every direction must be finite and move an atom"),
        ({"directions": DIRECTIONS, "spread": -1.0}, "must not be negative, got -1.0"),
    ],
)
def test_directions_that_make_no_sense_are_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        Directions(**arguments)
