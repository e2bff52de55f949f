from itertools import pairwise, product

import numpy as np
import pytest

from sparring.labels import OpenMM
from sparring.starting_data.normal_modes import hessian, normal_modes
from sparring.systems import alanine_dipeptide
from sparring.systems.alanine_dipeptide import BONDS, NAMES, PHI, PSI, RESIDUES, SYMBOLS, geometry, topology
from sparring.units import KCAL_PER_MOL

pytest.importorskip("openmm")


@pytest.fixture(scope="module")
def opls():
    return OpenMM.from_forcefield("opls-aa", topology())


@pytest.fixture
def label_with_opls(opls):
    """Labels many structures, as a Hessian wants it."""

    def label_many(structures):
        labelled = [atoms.copy() for atoms in structures]
        for atoms in labelled:
            atoms.arrays["REF_forces"] = opls(atoms).forces
        return labelled

    return label_many


def handedness(atoms):
    """The sign of the corner that N, C and CB span at CA, as seen from CA: positive for an L-amino acid."""
    ca, n, c, cb = (atoms.positions[i] for i in (8, 6, 14, 10))
    return float(np.linalg.det([n - ca, c - ca, cb - ca]))


def test_the_molecule_has_the_names_of_a_pdb_file_and_the_bonds_of_its_geometry():
    atoms = geometry()
    assert len(atoms) == len(NAMES) == len(SYMBOLS) == 22
    assert atoms.get_chemical_formula() == "C6H12N2O2"
    assert [name for name, _ in RESIDUES] == ["ACE", "ALA", "NME"]
    distances = atoms.get_all_distances()
    near = {(i, j) for i in range(22) for j in range(i) if distances[i, j] < 1.6}
    assert near == {(max(pair), min(pair)) for pair in BONDS}
    assert len(BONDS) == 21


def test_the_torsions_are_those_of_the_backbone():
    assert [NAMES[i] for i in PHI] == ["C", "N", "CA", "C"]
    assert [NAMES[i] for i in PSI] == ["N", "CA", "C", "N"]
    bonded = {frozenset(pair) for pair in BONDS}
    assert all(frozenset(pair) in bonded for torsion in (PHI, PSI) for pair in pairwise(torsion))


def test_alanine_is_the_l_enantiomer():
    # Seen with H towards the eye, CO, R and N of an L-amino acid follow each other clockwise: the CORN rule.
    atoms = geometry()
    towards_eye = atoms.positions[9] - atoms.positions[8]
    corner = [atoms.positions[i] - atoms.positions[8] for i in (14, 10, 6)]  # CO, R, N
    flat = [arm - towards_eye * (arm @ towards_eye) / (towards_eye @ towards_eye) for arm in corner]
    turns = [np.cross(flat[i], flat[(i + 1) % 3]) @ towards_eye for i in range(3)]
    assert all(turn < 0 for turn in turns)
    assert handedness(atoms) > 0
    mirror = geometry()
    mirror.positions[:, 0] *= -1
    assert handedness(mirror) < 0


def test_rdkit_agrees_that_it_is_s_alanine():
    chem = pytest.importorskip("rdkit.Chem")
    molecule = chem.RWMol()
    for symbol in SYMBOLS:
        molecule.AddAtom(chem.Atom(symbol))
    for i, j in BONDS:
        both_heavy_and_carbonyl = {NAMES[i], NAMES[j]} == {"C", "O"}
        molecule.AddBond(i, j, chem.BondType.DOUBLE if both_heavy_and_carbonyl else chem.BondType.SINGLE)
    conformer = chem.Conformer(22)
    conformer.SetPositions(geometry().positions)
    molecule.AddConformer(conformer)
    chem.SanitizeMol(molecule)
    chem.AssignStereochemistryFrom3D(molecule)
    assert chem.FindMolChiralCenters(molecule, useLegacyImplementation=False) == [(8, "S")]


def test_the_topology_is_the_same_molecule():
    built = topology()
    assert [atom.name for atom in built.atoms()] == list(NAMES)
    assert [atom.element.symbol for atom in built.atoms()] == list(SYMBOLS)
    assert [residue.name for residue in built.residues()] == ["ACE", "ALA", "NME"]
    assert [(first.index, second.index) for first, second in built.bonds()] == list(BONDS)


def test_the_geometry_is_a_minimum_of_opls_at_c7eq(opls, label_with_opls):
    atoms = geometry()
    phi, psi = (round((atoms.get_dihedral(*torsion) + 180) % 360 - 180, 1) for torsion in (PHI, PSI))
    assert (phi, psi) == (-79.4, 61.9)
    assert np.linalg.norm(opls(atoms).forces, axis=1).max() < 2e-3
    modes = normal_modes(atoms, hessian(atoms, label_with_opls))
    assert len(modes.frequencies) == 60
    assert modes.frequencies.min() > 20
    # A hydrogen bond closes the ring of seven atoms that the minimum has its name from.
    assert atoms.get_distance(17, 5) == pytest.approx(2.0, abs=0.1)


def test_no_other_rotamer_is_lower_and_c5_is_one_kcal_above(opls):
    from openmm import LocalEnergyMinimizer, VerletIntegrator

    context = opls.context(VerletIntegrator(0.001))
    found = []
    for phi, psi in product((-150, -80, 60), (-60, 60, 160)):
        atoms = geometry()
        atoms.set_dihedral(*PHI, phi, indices=range(8, 22))
        atoms.set_dihedral(*PSI, psi, indices=range(14, 22))
        context.setPositions(atoms.positions / 10)
        LocalEnergyMinimizer.minimize(context, 0.1)
        atoms.positions = context.getState(positions=True).getPositions(asNumpy=True)._value * 10
        assert handedness(atoms) > 0
        found.append((opls(atoms).energy - opls(geometry()).energy) / KCAL_PER_MOL)
    assert min(found) == pytest.approx(0, abs=1e-3)
    assert min(energy for energy in found if energy > 0.01) == pytest.approx(0.954, abs=0.01)


def test_every_geometry_is_made_anew():
    geometry().positions += 1
    assert np.abs(alanine_dipeptide.geometry().positions.mean(axis=0)).max() < 1e-4
    assert geometry().info == {"charge": 0, "multiplicity": 1}
