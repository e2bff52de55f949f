import dataclasses

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import fcc111

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures


@pytest.fixture
def mixed(ammonia, water, salt):
    return [ammonia, salt, water, Atoms("X", positions=[[1.0, 2.0, 3.0]]), fcc111("Cu", (1, 1, 2), vacuum=5.0)]


def assert_same_atoms(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert (one.numbers == other.numbers).all()
        assert (one.positions == other.positions).all()
        assert (one.cell.array == other.cell.array).all()
        assert (one.pbc == other.pbc).all()


def test_atoms_survive_the_way_into_a_batch_and_back(mixed):
    assert_same_atoms(Structures.from_atoms(mixed).to_atoms(), mixed)


def test_a_batch_knows_which_atoms_belong_together(mixed):
    structures = Structures.from_atoms(mixed)
    assert structures.n_structures == 5
    assert structures.n_atoms == 4 + 2 + 3 + 1 + 2
    assert structures.counts.tolist() == [4, 2, 3, 1, 2]
    assert structures.structure_index.tolist() == [0] * 4 + [1] * 2 + [2] * 3 + [3] + [4] * 2
    assert structures.periodic


def test_molecules_alone_are_not_periodic(ammonia, water):
    assert not Structures.from_atoms([ammonia, water]).periodic


def test_structures_are_taken_in_the_order_named_and_as_often(mixed):
    taken = Structures.from_atoms(mixed).take([2, 0, 2, 4])
    assert_same_atoms(taken.to_atoms(), [mixed[2], mixed[0], mixed[2], mixed[4]])
    assert taken.structure_index.tolist() == [0] * 3 + [1] * 4 + [2] * 3 + [3] * 2


def test_taking_nothing_gives_an_empty_batch(mixed):
    nothing = Structures.from_atoms(mixed).take([])
    assert (nothing.n_structures, nothing.n_atoms) == (0, 0)
    assert nothing.to_atoms() == []


def test_edges_of_molecules_survive_a_move_and_those_of_crystals_are_dropped(ammonia, water, salt):
    molecules = with_edges(Structures.from_atoms([ammonia, water]), 3.0)
    crystals = with_edges(Structures.from_atoms([ammonia, salt]), 3.0)
    assert molecules.with_positions(molecules.positions + 1.0).edges is molecules.edges
    assert crystals.with_positions(crystals.positions + 1.0).edges is None


def test_a_move_leaves_the_old_batch_as_it_was(ammonia):
    structures = Structures.from_atoms([ammonia])
    moved = structures.with_positions(structures.positions + 1.0)
    assert (structures.to_atoms()[0].positions == ammonia.positions).all()
    assert (moved.to_atoms()[0].positions == ammonia.positions + 1.0).all()
    with pytest.raises(dataclasses.FrozenInstanceError):
        structures.positions = moved.positions


def test_precision_changes_for_all_that_is_measured_and_for_nothing_that_is_counted(salt):
    single = with_edges(Structures.from_atoms([salt]), 3.0).to(dtype=torch.float32)
    assert single.positions.dtype == single.cells.dtype == single.edges.shifts.dtype == torch.float32
    assert single.atomic_numbers.dtype == single.structure_index.dtype == single.edges.source.dtype == torch.int64


def test_no_structures_are_an_error():
    with pytest.raises(ValueError, match="got no structures"):
        Structures.from_atoms([])


def test_a_structure_without_atoms_is_an_error(water):
    with pytest.raises(ValueError, match="structure 1 has no atoms"):
        Structures.from_atoms([water, Atoms()])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_coordinates_that_are_not_finite_are_an_error(water, ammonia, value):
    water.positions[1, 2] = value
    with pytest.raises(ValueError, match=r"structure 1 \(OH2\) has coordinates that are not finite"):
        Structures.from_atoms([ammonia, water])


def test_a_lattice_without_length_is_an_error(water):
    water.pbc = [True, False, False]
    with pytest.raises(ValueError, match=r"structure 0 \(OH2\) is periodic along a zero-length lattice vector"):
        Structures.from_atoms([water])
