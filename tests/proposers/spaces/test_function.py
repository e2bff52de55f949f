import math

import pytest
import torch
from ase.build import molecule

from sparring.atoms.geometry import turn
from sparring.atoms.structures import Structures
from sparring.proposers.spaces import CollectiveVariables, Dihedrals


def stretch(positions, delta):
    """The second atom goes away from the first; others stay."""
    along = positions[1] - positions[0]
    second = torch.arange(len(positions)) == 1
    return torch.where(second[:, None], positions + delta * along / along.norm(), positions)


def test_the_map_is_asked_for_every_seed_whatever_its_size(ammonia, water):
    seeds = Structures.from_atoms([ammonia, water, ammonia])
    space = CollectiveVariables(function=stretch, n_variables=1)
    delta = torch.tensor([[0.1], [0.2], [-0.3]], dtype=torch.float64)
    for before, after, grown in zip(seeds.to_atoms(), space.displace(seeds, delta).to_atoms(), delta, strict=True):
        assert after.get_distance(0, 1) - before.get_distance(0, 1) == pytest.approx(grown.item())
        assert (after.positions[2:] == before.positions[2:]).all()
        assert (after.numbers == before.numbers).all()


def test_ones_own_rotation_is_that_of_the_dihedrals(ethanol, rattled, drawn):
    seeds = Structures.from_atoms(rattled(ethanol, 3, stdev=0.05))
    torsions = Dihedrals.of(ethanol, ["[#1]-[#8]-[#6]-[#6]"])
    (((_, j, k, _), moving, _),) = torsions.molecules[0].torsions
    mask = torch.zeros(9, dtype=torch.bool)
    mask[list(moving)] = True

    def rotate(positions, delta):
        vectors = positions - positions[k]
        shift = turn(vectors, (positions[k] - positions[j]).expand_as(vectors), delta.expand(len(positions)))
        return torch.where(mask[:, None], positions + shift, positions)

    own = CollectiveVariables(function=rotate, n_variables=1)
    delta = torch.tensor([0.3, math.pi, -2.0], dtype=torch.float64)
    expected = torsions.displace(seeds, delta).positions
    torch.testing.assert_close(own.displace(seeds, delta.unsqueeze(1)).positions, expected)


def test_a_map_that_gives_no_positions_is_an_error():
    seeds = Structures.from_atoms([molecule("NH3")])
    space = CollectiveVariables(function=lambda positions, delta: positions[1:] + delta, n_variables=3)
    with pytest.raises(ValueError, match=r"must give positions of shape \(4, 3\), got \(3, 3\)"):
        space.displace(seeds, torch.zeros(1, 3, dtype=torch.float64))


def test_without_a_variable_there_is_nothing_to_attack():
    with pytest.raises(ValueError, match="need at least one variable, got 0"):
        CollectiveVariables(function=stretch, n_variables=0)
