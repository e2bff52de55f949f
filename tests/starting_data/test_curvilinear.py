"""Displacements along soft modes turn groups of atoms; they do not stretch bonds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.optimize import minimize

from sparring.atoms.bonds import find_bonds
from sparring.atoms.dataset import FORCES
from sparring.labels import OpenMM
from sparring.starting_data.curvilinear import along_curves
from sparring.starting_data.normal_modes import hessian, normal_modes
from sparring.starting_data.sampling import normal_mode_displacements
from sparring.systems.alanine_dipeptide import geometry, topology
from sparring.units import kT


def lengths(atoms: Atoms) -> np.ndarray:
    bonds = find_bonds(molecule("C2H6"))
    return np.array([atoms.get_distance(bond.first, bond.second, mic=True) for bond in bonds])


def along_curve(atoms: Atoms, straight: np.ndarray, free: np.ndarray | None = None) -> np.ndarray:
    free = np.ones((len(atoms), 3), dtype=bool) if free is None else free
    return along_curves(atoms, straight[None], free)[0]


@pytest.fixture
def ethane():
    atoms = molecule("C2H6")
    assert abs(np.diff(atoms.positions[:2], axis=0)[0, :2]).max() < 1e-8  # the C-C bond is along z
    return atoms


def turn(atoms: Atoms, far: float) -> np.ndarray:
    """The first methyl group turns about the C-C bond, each of its atoms `far` along the tangent."""
    delta = np.zeros((len(atoms), 3))
    group = np.flatnonzero((atoms.numbers == 1) & (atoms.positions[:, 2] * atoms.positions[0, 2] > 0))
    assert len(group) == 3
    tangents = np.cross([0, 0, 1], atoms.positions[group])
    delta[group] = far * tangents / np.linalg.norm(tangents, axis=1, keepdims=True)
    return delta


def displaced(atoms: Atoms, delta: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions += delta
    return moved


def test_a_methyl_group_that_turns_keeps_its_bonds_and_still_turns(ethane):
    straight = turn(ethane, 0.8)
    curved = along_curve(ethane, straight)
    before, line, curve = (lengths(displaced(ethane, delta)) for delta in (np.zeros((8, 3)), straight, curved))
    assert np.abs(line - before).max() > 0.2
    assert np.abs(curve - before).max() < 0.01
    group = np.flatnonzero(np.abs(straight).sum(axis=1))
    angles = [np.arctan2(*displaced(ethane, delta).positions[group, 1::-1].T) for delta in (np.zeros((8, 3)), curved)]
    turned = np.angle(np.exp(1j * (angles[1] - angles[0])))
    radius = np.linalg.norm(ethane.positions[group, :2], axis=1).mean()
    assert turned == pytest.approx(np.arctan(0.8 / radius), abs=0.05)


def test_what_harmonic_theory_describes_stays_a_straight_line(ethane):
    small = turn(ethane, 0.2)
    assert (along_curve(ethane, small) == small).all()
    stretch = np.zeros((8, 3))
    stretch[0] = 0.3 * np.array([0, 0, np.sign(ethane.positions[0, 2] - ethane.positions[1, 2])])
    assert along_curve(ethane, stretch)[0] == pytest.approx(stretch[0], abs=0.05)


def test_fixed_coordinates_stay_where_they_are(ethane):
    free = np.ones((8, 3), dtype=bool)
    free[[0, 1]] = False
    curved = along_curve(ethane, turn(ethane, 0.8), free)
    assert (curved[[0, 1]] == 0).all()
    assert np.abs(lengths(displaced(ethane, curved)) - lengths(ethane)).max() < 0.02


def test_bonds_through_the_wall_of_a_cell_are_bonds(ethane):
    whole, straight = ethane, turn(ethane, 0.8)
    cut = ethane.copy()
    cut.set_cell([9, 9, 9])
    cut.pbc = True
    cut.positions += 0.1
    cut.wrap()
    assert along_curve(cut, straight) == pytest.approx(along_curve(whole, straight), abs=1e-5)


def test_atoms_without_bonds_move_along_straight_lines():
    delta = np.full((2, 3), 5.0)
    assert (along_curve(Atoms("Ar2", [[0, 0, 0], [0, 0, 6]]), delta) == delta).all()


def test_normal_modes_of_a_floppy_molecule_have_the_energies_of_harmonic_theory():
    pytest.importorskip("openmm")
    opls = OpenMM.from_forcefield("opls-aa", topology())

    def label_many(structures):
        labelled = [atoms.copy() for atoms in structures]
        for atoms in labelled:
            atoms.arrays[FORCES] = opls(atoms).forces
        return labelled

    minimum = relaxed(opls)
    modes = normal_modes(minimum, hessian(minimum, label_many))
    drawn = normal_mode_displacements(minimum, modes, 60, seed=0)
    energies = np.array([opls(atoms).energy for atoms in drawn]) - opls(minimum).energy
    thermal = np.array([kT(atoms.info["temperature"]) for atoms in drawn])
    n_modes = (modes.frequencies >= 50).sum()
    # Equipartition: n/2 kT, spread kT sqrt(n/2). Along straight lines 38 of the 60 are more than 4 spreads above it.
    spreads = (energies - n_modes / 2 * thermal) / (thermal * np.sqrt(n_modes / 2))
    assert abs(spreads.mean()) < 4 / np.sqrt(60)
    assert spreads.max() < 4


def relaxed(labeller: OpenMM) -> Atoms:
    def energy_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
        label = labeller(Atoms(atoms.numbers, x.reshape(-1, 3)))
        return label.energy, -label.forces.ravel()

    atoms = geometry()
    found = minimize(energy_and_gradient, atoms.positions.ravel(), jac=True, method="L-BFGS-B", options={"gtol": 1e-4})
    return Atoms(atoms.numbers, found.x.reshape(-1, 3))
