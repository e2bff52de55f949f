"""Geometries that programs have moved, turned, sorted or wrapped are recognised, and vectors are brought back."""

import math

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from scipy.spatial.transform import Rotation

from sparring.exchange.geometry import motion_onto

TOLERANCE = 1e-3


def rotation(seed):
    return Rotation.random(random_state=seed).as_matrix()


def turned(atoms, matrix, shift=(0.3, -0.2, 5.0), order=None):
    """The same geometry as a program may print it; atoms sorted otherwise."""
    moved = atoms[list(range(len(atoms)) if order is None else order)]
    moved.positions = moved.positions @ matrix.T + shift
    moved.cell = atoms.cell.array @ matrix.T
    return moved


def springs(atoms):
    """Forces that depend on distances only, so that they turn with the molecule and know its symmetry."""
    between = atoms.positions[:, None] - atoms.positions[None]
    weights = 1.0 + 0.1 * (atoms.numbers[:, None] + atoms.numbers[None])
    lengths = np.linalg.norm(between, axis=2)
    return (weights[..., None] * between * (1.2 - lengths)[..., None]).sum(axis=1)


@pytest.mark.parametrize("name", ["NH3", "H2O", "CO2", "C6H6", "CH3CH2OH", "CH4", "O2", "H", "C60", "trans-butane"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_forces_of_a_turned_molecule_are_turned_back_onto_their_atoms(name, shuffled):
    target = molecule(name)
    generator = np.random.default_rng(5)
    order = generator.permutation(len(target)) if shuffled else None
    moved = turned(target, rotation(3), order=order)
    moved.positions += generator.uniform(-1e-5, 1e-5, (len(target), 3))  # digits that a program has not printed
    motion = motion_onto(target, moved, TOLERANCE)
    assert motion.deviation < 1e-4
    np.testing.assert_allclose(motion.vectors(springs(moved)), springs(target), atol=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_of_a_distorted_molecule_every_atom_is_found_again(seed):
    target = molecule("CH3CH2OH")
    target.rattle(0.05, seed=seed)
    order = np.random.default_rng(seed).permutation(len(target))
    motion = motion_onto(target, turned(target, rotation(seed), order=order), TOLERANCE)
    assert motion.deviation < 1e-10
    assert order[motion.order].tolist() == list(range(len(target)))


def test_atoms_in_their_place_keep_their_forces_to_the_last_bit():
    target = molecule("NH3")
    moved = target.copy()
    moved.positions += np.random.default_rng(0).uniform(-3e-4, 3e-4, (4, 3)) + 7.0
    forces = np.random.default_rng(1).normal(size=(4, 3))
    motion = motion_onto(target, moved, TOLERANCE)
    assert motion.rotation is None
    assert motion.vectors(forces).tolist() == forces.tolist()


def test_a_mirror_image_is_another_geometry():
    target = molecule("CH3CH2OH")
    target.rattle(0.1, seed=1)
    mirrored = target.copy()
    mirrored.positions[:, 0] *= -1
    assert motion_onto(target, mirrored, TOLERANCE).deviation > 0.05


def test_another_geometry_is_as_far_away_as_its_farthest_atom_and_other_atoms_are_infinitely_far():
    target = molecule("H2O")
    moved = target.copy()
    moved.positions[0, 2] += 0.3
    assert 0.1 < motion_onto(target, moved, TOLERANCE).deviation < 0.3
    assert motion_onto(target, molecule("NH3"), TOLERANCE).deviation == math.inf


def test_a_molecule_that_the_faces_of_its_box_cut_is_put_together():
    target = molecule("CH3CH2OH")
    moved = turned(target, rotation(7), shift=(0.1, 9.9, 0.0))
    moved.cell, moved.pbc = [10, 11, 12], True
    moved.wrap()
    assert np.ptp(moved.positions, axis=0).max() > 8
    motion = motion_onto(target, moved, TOLERANCE)
    assert motion.deviation < 1e-10
    np.testing.assert_allclose(motion.vectors(springs(turned(target, rotation(7)))), springs(target), atol=1e-8)


def test_a_crystal_is_found_after_translation_wrapping_turning_and_sorting_with_its_stress():
    target = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    target.rattle(0.05, seed=2)
    matrix, order = rotation(4), np.random.default_rng(0).permutation(len(target))
    moved = turned(target, matrix, order=order)
    moved.wrap()
    motion = motion_onto(target, moved, TOLERANCE)
    assert motion.deviation < 1e-10
    assert order[motion.order].tolist() == list(range(8))
    forces = np.random.default_rng(1).normal(size=(8, 3))
    np.testing.assert_allclose(motion.vectors((forces @ matrix.T)[order]), forces, atol=1e-10)
    stress = np.array([[1.0, 0.2, 0.3], [0.2, 2.0, 0.4], [0.3, 0.4, 3.0]])
    there = matrix @ stress @ matrix.T
    found = motion.stress(np.array([there[0, 0], there[1, 1], there[2, 2], there[1, 2], there[0, 2], there[0, 1]]))
    np.testing.assert_allclose(found, [1.0, 2.0, 3.0, 0.4, 0.3, 0.2], atol=1e-10)


def test_a_slab_is_found_also_where_a_program_repeats_it_in_all_directions():
    target = fcc111("Cu", (2, 2, 2), vacuum=6.0)
    target.rattle(0.05, seed=0)
    moved = target.copy()
    moved.pbc = True
    moved.positions += [1.0, 2.0, 3.0]
    moved.wrap()
    assert motion_onto(target, moved, TOLERANCE).deviation < 1e-10
    moved.pbc = False
    assert motion_onto(target, moved, TOLERANCE).deviation == math.inf


def test_a_crystal_in_another_cell_is_as_far_away_as_its_lattice_vectors():
    target, moved = bulk("Cu", a=3.6), bulk("Cu", a=3.61)
    assert motion_onto(target, moved, TOLERANCE).deviation == pytest.approx(0.01 / math.sqrt(2), rel=0.1)
    assert motion_onto(target, bulk("Cu", a=3.6001), TOLERANCE).deviation < TOLERANCE


def test_a_single_atom_is_itself_wherever_it_is():
    assert motion_onto(Atoms("O"), Atoms("O", [[1.0, 2.0, 3.0]]), TOLERANCE).deviation == 0.0
