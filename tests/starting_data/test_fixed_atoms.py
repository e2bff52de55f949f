"""Relaxation, normal modes and displacements where atoms are fixed: they stay, and labels have the true forces."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian
from ase.vibrations import Vibrations

from sparring.labels import Label, LabelStore, StoredCalculator, label, label_key
from sparring.labels.results import compute
from sparring.starting_data.displacements import uniform_displacements
from sparring.starting_data.normal_modes import hessian, n_hessian_labels, normal_modes
from sparring.starting_data.relaxation import relax
from sparring.starting_data.sampling import normal_mode_displacements, normal_mode_sample


def true_forces(atoms):
    free = atoms.copy()
    free.set_constraint()
    free.calc = EMT()
    return free.get_forces()


def label_many(structures):
    """As the labeller of a run: no constraint reaches the calculator."""
    labelled = [atoms.copy() for atoms in structures]
    for atoms in labelled:
        atoms.info["REF_energy"] = EMT().get_potential_energy(atoms)
        atoms.arrays["REF_forces"] = true_forces(atoms)
    return labelled


@pytest.fixture
def methanol():
    """C and O are closer than they want to be, and fixed."""
    atoms = molecule("CH3OH")
    atoms.set_distance(0, 1, 1.2)
    atoms.set_constraint(FixAtoms([0, 1]))
    return atoms


@pytest.fixture
def slab():
    """Three layers of one copper atom each; the lower two are fixed."""
    atoms = fcc111("Cu", (1, 1, 3), vacuum=5.0)
    atoms.rattle(0.05, seed=0)
    atoms.set_constraint(FixAtoms(mask=atoms.get_tags() > 1))
    return atoms


@pytest.mark.parametrize("name", ["methanol", "slab"])
def test_a_minimum_of_the_free_atoms_enters_the_data_with_the_true_forces_on_the_fixed_ones(name, request):
    start = request.getfixturevalue(name)
    fixed = start.constraints[0].index
    sample = normal_mode_sample(start, EMT(), label_many, n_structures=3, seed=0)
    forces = sample.minimum.arrays["REF_forces"]
    np.testing.assert_allclose(forces, true_forces(sample.minimum), atol=1e-12)
    free = np.delete(np.arange(len(start)), fixed)
    assert np.linalg.norm(forces[free], axis=1).max() <= 0.005
    assert np.linalg.norm(forces[fixed], axis=1).max() > 0.1
    for one in (sample.minimum, *sample.structures):
        assert (one.positions[fixed] == start.positions[fixed]).all()
        assert (one.positions[free] != start.positions[free]).any()
        assert one.constraints[0].index.tolist() == fixed.tolist()
        np.testing.assert_allclose(one.arrays["REF_forces"], true_forces(one), atol=1e-12)


def test_a_relaxation_converges_on_the_free_atoms_and_says_where_it_did_not(methanol):
    relaxed = relax(methanol, EMT(), fmax=0.01)
    assert np.linalg.norm(relaxed.get_forces(), axis=1).max() <= 0.01
    assert np.linalg.norm(relaxed.get_forces(apply_constraint=False), axis=1).max() > 1
    with pytest.raises(RuntimeError, match="the largest force is"):
        relax(methanol, EMT(), fmax=0.01, max_steps=1)


def test_the_hessian_has_rows_for_free_coordinates_only_and_takes_fewer_labels(methanol):
    methanol.set_constraint([FixAtoms([0, 1]), FixCartesian([2], (False, False, True))])
    counts = []

    def counted(structures):
        counts.append(len(structures))
        return label_many(structures)

    matrix = hessian(methanol, counted)
    assert matrix.shape == (11, 11)
    assert counts == [22] == [n_hessian_labels(methanol)]
    whole = methanol.copy()
    whole.set_constraint()
    free = [3 * atom + axis for atom in range(2, 6) for axis in range(3) if (atom, axis) != (2, 2)]
    np.testing.assert_allclose(matrix, hessian(whole, label_many)[np.ix_(free, free)], atol=1e-9)


def test_frequencies_about_a_constrained_minimum_are_those_of_ase(slab, tmp_path):
    relaxed = relax(slab, EMT(), fmax=1e-4)
    modes = normal_modes(relaxed, hessian(relaxed, label_many))
    ase_s = relaxed.copy()
    ase_s.calc = EMT()
    vibrations = Vibrations(ase_s, indices=[2], name=str(tmp_path / "vibrations"))
    vibrations.run()
    assert modes.frequencies == pytest.approx(vibrations.get_frequencies().real, abs=0.5)
    assert not modes.modes[:, :2].any()


TETRAHEDRON = Atoms("Ar4", positions=1.1 * np.array([[0.0, 0, 0], [1, 0, 0], [0.5, 0.87, 0], [0.5, 0.29, 0.82]]))


def springs(structures):
    """Pairs of atoms, without any frame of reference."""
    labelled = [atoms.copy() for atoms in structures]
    for atoms in labelled:
        atoms.set_constraint()
        atoms.calc = LennardJones(rc=1000.0)
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = atoms.get_potential_energy(), atoms.get_forces()
    return labelled


@pytest.mark.parametrize(
    ("constraints", "n_modes"),
    [
        ([], 6),
        ([FixAtoms([0])], 6),  # three turns about an atom
        ([FixAtoms([0, 1])], 5),  # a turn about a line
        ([FixAtoms([0, 1, 2])], 3),
        ([FixCartesian([0, 1, 2, 3], (False, False, True))], 5),  # flat land: two shifts and a turn
        ([FixCartesian([0], (False, False, True))], 8),  # two shifts, a turn; other turns lift the atom in second order
        ([FixAtoms([0]), FixCartesian([1], (False, False, True))], 7),
    ],
    ids=str,
)
def test_rigid_motions_that_fixed_atoms_leave_are_no_vibrations_and_all_others_are(constraints, n_modes):
    atoms = TETRAHEDRON.copy()
    atoms.set_constraint(constraints)
    modes = normal_modes(atoms, hessian(atoms, springs))
    assert len(modes.frequencies) == n_modes
    fixed = np.zeros((4, 3), dtype=bool)
    for one in constraints:
        fixed[one.index] |= getattr(one, "mask", True)
    assert not modes.modes[:, fixed].any()
    np.testing.assert_allclose(np.linalg.norm(modes.modes, axis=(1, 2)), 1.0)


def test_atoms_fixed_in_a_line_leave_a_turn_about_it():
    chain = Atoms("Ar4", positions=[[0, 0, 0], [1.1, 1.1, 0], [2.2, 2.2, 0], [0.3, 1.4, 1.0]])
    chain.set_constraint(FixAtoms([0, 1, 2]))
    assert len(normal_modes(chain, hessian(chain, springs)).frequencies) == 2


def test_a_hessian_of_all_coordinates_does_not_fit_a_molecule_with_fixed_atoms(methanol):
    with pytest.raises(ValueError, match=r"must have a row and a column for each of 12 free coordinates, got .*18, 18"):
        normal_modes(methanol, np.eye(18))


def test_a_structure_all_of_which_is_fixed_has_no_hessian(water):
    water.set_constraint(FixAtoms([0, 1, 2]))
    with pytest.raises(ValueError, match="all atoms of H2O are fixed, so that it has no Hessian; free some"):
        normal_mode_sample(water, EMT(), label_many, n_structures=3, seed=0)


def test_displacements_leave_fixed_coordinates_and_draw_the_same_for_others(methanol):
    methanol.set_constraint([FixAtoms([0]), FixCartesian([3], (True, False, False))])
    free = methanol.copy()
    free.set_constraint()
    held, loose = (uniform_displacements(one, 3, amplitude=0.2, seed=4) for one in (methanol, free))
    for one, other in zip(held, loose, strict=True):
        same = one.positions == methanol.positions
        assert same[0].all()
        assert same[3].tolist() == [True, False, False]
        assert (one.positions[~same] == other.positions[~same]).all()
    modes = normal_modes(relax(free, EMT()), hessian(free, label_many))
    (drawn,) = normal_mode_displacements(methanol, modes, 1, seed=0)
    assert (drawn.positions[0] == methanol.positions[0]).all()


def test_displacing_what_other_constraints_hold_is_an_error(methanol):
    methanol.set_constraint(FixBondLengths([[0, 1]]))
    with pytest.raises(ValueError, match="CH4O has the constraint FixBondLengths, which cannot be kept"):
        uniform_displacements(methanol, 3, amplitude=0.2, seed=4)


# --- labels ---------------------------------------------------------------------------------------------------------


class Obedient:
    """A labeller of somebody who does not think of constraints: it asks ASE for forces, which applies them."""

    method, version = "EMT", "1"

    def __call__(self, atoms):
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        return Label(energy=energy, forces=forces, method="EMT", version="1", converged=True, wall_time=0.0)


@pytest.mark.parametrize("labeller", [Obedient(), EMT()], ids=["labeller", "calculator"])
def test_labels_never_see_constraints(labeller, methanol, tmp_path):
    (result,) = label([methanol], labeller, store=tmp_path).labels
    np.testing.assert_allclose(result.forces, true_forces(methanol), atol=1e-12)
    assert methanol.constraints  # the structure is as it was
    free = methanol.copy()
    free.set_constraint()
    stored = StoredCalculator(labeller, LabelStore(tmp_path))
    free.calc = stored
    assert free.get_potential_energy() == result.energy
    assert label([free], labeller, store=tmp_path).n_reused == 1


def test_the_key_of_a_label_does_not_count_constraints(methanol):
    free = methanol.copy()
    free.set_constraint()
    assert label_key(methanol, Obedient()) == label_key(free, Obedient())
    assert np.abs(compute(Obedient(), methanol).forces[:2]).max() > 1
