import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from sparring.atoms.duplicates import duplicate_groups
from sparring.atoms.structures import Structures


def groups(*atoms):
    return duplicate_groups(Structures.from_atoms(list(atoms))).tolist()


def turned(atoms, *, mirrored=False):
    """The same geometry elsewhere in space, and written to a file with eight decimals."""
    moved = atoms.copy()
    moved.rotate(37.0, (1.0, 2.0, 3.0), rotate_cell=True)
    if mirrored:
        moved.positions[:, 0] *= -1
    moved.positions += (3.0, -2.0, 0.5)
    moved.positions = np.round(moved.positions, 8)
    return moved


def test_equal_frames_are_duplicates_wherever_they_stand(water, ammonia):
    assert groups(water, ammonia, water.copy(), ammonia, water) == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_molecule_that_is_turned_moved_or_mirrored_is_a_duplicate(rattled, ammonia, mirrored):
    (one,) = rattled(ammonia, 1)
    assert groups(one, turned(one, mirrored=mirrored)) == [0, 0]


def test_frames_that_differ_by_a_thousandth_of_an_angstrom_are_none(rattled, water):
    assert groups(*rattled(water, 30)) == list(range(30))
    other = water.copy()
    other.positions[1] += 1e-3
    assert groups(water, other) == [0, 1]


def test_the_order_of_atoms_and_their_elements_count(water):
    assert groups(water, water[[1, 0, 2]], Atoms("H2S", water.positions[[1, 2, 0]])) == [0, 1, 2]


def test_crystals_are_compared_with_their_cells_and_through_their_walls(salt):
    wrapped = salt.copy()
    wrapped.positions += 0.37 * salt.cell.array[1]
    wrapped.wrap()
    strained = salt.copy()
    strained.set_cell(1.01 * salt.cell.array, scale_atoms=True)
    assert groups(salt, wrapped, turned(salt), strained) == [0, 0, 0, 3]


def test_a_molecule_in_a_box_is_another_structure_than_the_molecule(water):
    boxed = water.copy()
    boxed.set_cell([9.0, 9.0, 9.0])
    boxed.pbc = True
    assert groups(water, boxed) == [0, 1]


def test_a_slab_without_a_third_lattice_vector_is_compared_in_its_plane():
    slab = Atoms("Cu2", positions=[[0, 0, 0], [1.0, 0.2, 1.9]], cell=[2.5, 2.6, 0.0], pbc=(True, True, False))
    shifted, other = slab.copy(), slab.copy()
    shifted.positions[1] -= slab.cell.array[0]
    other.positions[1, 2] += 0.01
    assert groups(slab, shifted, other) == [0, 0, 2]


def test_cells_of_one_atom_differ_by_their_shape():
    assert groups(bulk("Cu", a=3.6), bulk("Cu", a=3.61), bulk("Cu", a=3.6)) == [0, 1, 0]


def test_a_particle_in_a_well_has_a_place(particle):
    assert groups(particle(0.1), particle(0.2), particle(0.1)) == [0, 1, 0]


def test_isolated_atoms_of_an_element_are_all_the_same():
    assert groups(Atoms("H"), Atoms("O"), Atoms("H", positions=[[1.0, 0, 0]]), molecule("H2")) == [0, 1, 0, 3]
