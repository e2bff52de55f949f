import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.extxyz import write_structures
from sparring.labels import FromCalculator, Label, label, labelled_atoms
from sparring.systems.own.structures import Displacements, NormalModes, Snapshots, assume_state, read_own, starting_data

KEYS = {"energy_key": "dft_energy", "forces_key": "dft_forces"}


@pytest.fixture
def label_service():
    """Labels by EMT, and the formulas of all that was labelled."""
    seen = []

    def label_many(structures):
        seen.extend(one.get_chemical_formula() for one in structures)
        report = label(structures, FromCalculator(EMT()))
        rows = zip(structures, report.labels, report.keys, strict=True)
        return [labelled_atoms(atoms, one, key) for atoms, one, key in rows if isinstance(one, Label)]

    label_many.seen = seen
    return label_many


@pytest.fixture
def file(tmp_path):
    def make(structures):
        write_structures(tmp_path / "own.xyz", structures)
        return tmp_path / "own.xyz"

    return make


def test_labelled_and_unlabelled_structures_of_any_size_share_a_file(file, molecules):
    own = read_own(file(molecules), **KEYS)
    assert [len(one) for one in own] == [len(one) for one in molecules]
    assert [ENERGY in one.info and FORCES in one.arrays for one in own] == [True, False] * 6
    assert own[0].info[ENERGY] == molecules[0].info["dft_energy"]
    np.testing.assert_array_equal(own[0].arrays[FORCES], molecules[0].arrays["dft_forces"])
    assert {(one.info["source"], one.info["parent"]) for one in own} == {("file", -1)}


def test_results_under_the_names_of_ase_are_labels_too(file, water):
    water.calc = EMT()
    energy = water.get_potential_energy()
    (own,) = read_own(file([water]))
    assert own.info[ENERGY] == energy


def test_forces_without_an_energy_are_an_error_that_names_the_frame(file, water, ammonia):
    ammonia.arrays["dft_forces"] = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"own\.xyz, frame 1 \(counting from 0\): there is no 'dft_energy'"):
        read_own(file([water, ammonia]), **KEYS)


def test_a_frame_may_have_an_energy_and_no_forces(file, water, ammonia):
    ammonia.info["dft_energy"] = -1.0
    unlabelled, energy_only = read_own(file([water, ammonia]), **KEYS)
    assert ENERGY not in unlabelled.info
    assert energy_only.info[ENERGY] == -1.0
    assert FORCES not in energy_only.arrays


def test_the_dummy_atom_of_the_wells_is_no_molecule(file):
    with pytest.raises(ValueError, match="dummy X"):
        read_own(file([Atoms("X")]))


def test_charge_and_multiplicity_are_assumed_only_where_a_structure_does_not_say_its_own(file, water, ammonia):
    water.info.update(charge=-1, multiplicity=2)
    one, other = read_own(file([water, ammonia]), charge=1, multiplicity=4)
    assert (one.info["charge"], one.info["multiplicity"]) == (-1, 2)
    assert (other.info["charge"], other.info["multiplicity"]) == (1, 4)


def test_a_charge_that_fits_no_electrons_is_an_error_that_names_file_and_frame(file, water, ammonia):
    path = file([water, ammonia])
    with pytest.raises(
        ValueError, match=r"frame 0 \(counting from 0\): H2O with charge 1 has 9 electrons, which cannot"
    ):
        read_own(path, charge=1, multiplicity=1)


def test_the_lowest_multiplicity_is_left_to_the_labeller(water):
    (assumed,) = assume_state([water], charge=0, multiplicity=None)
    assert "multiplicity" not in assumed.info
    assert "charge" not in water.info


def test_only_what_has_no_label_is_labelled(file, molecules, label_service):
    data = starting_data(read_own(file(molecules), **KEYS), EMT(), label_service)
    assert len(data) == 12
    assert sorted(label_service.seen) == ["H2O"] * 2 + ["H3N"] * 2 + ["N2"] * 2
    for one in data:
        truth = Atoms(one.numbers, one.positions)
        truth.calc = EMT()
        assert one.info[ENERGY] == pytest.approx(truth.get_potential_energy())
        np.testing.assert_allclose(one.arrays[FORCES], truth.get_forces(), atol=1e-10)


def test_displacements_are_shared_out_over_the_structures_and_stay_near_them(file, label_service):
    own = read_own(file([molecule("N2"), molecule("H2O"), molecule("NH3")]))
    data = starting_data(own, EMT(), label_service, enlarge=Displacements(7, 0.05), seed=3)
    added = data[3:]
    assert [one.get_chemical_formula() for one in added] == ["N2"] * 3 + ["H2O"] * 2 + ["H3N"] * 2
    start = {one.get_chemical_formula(): one.positions for one in own}
    moved = [np.abs(one.positions - start[one.get_chemical_formula()]).max() for one in added]
    assert all(0 < one <= 0.05 for one in moved)
    assert {one.info["source"] for one in added} == {"displacement"}


def test_normal_modes_add_the_relaxed_structure_and_what_shakes_around_it(file, label_service):
    own = read_own(file([molecule("N2"), molecule("H2O")]))
    enlarge = NormalModes(6, (250.0, 500.0))
    data = starting_data(own, EMT(), label_service, enlarge=enlarge, seed=3)
    assert [one.info["source"] for one in data] == 2 * ["file"] + 2 * ["minimum", *3 * ["normal_mode"]]
    for minimum, shaken in ((data[2], data[3:6]), (data[6], data[7:])):
        assert np.linalg.norm(minimum.arrays[FORCES], axis=1).max() < 0.005
        assert all(one.info[ENERGY] > minimum.info[ENERGY] for one in shaken)
    again = starting_data(own, EMT(), label_service, enlarge=enlarge, seed=3)
    assert [one.positions.tolist() for one in again] == [one.positions.tolist() for one in data]


def test_every_structure_has_a_trajectory_of_its_own(file, label_service):
    seeds = []

    def take(atoms, seed):
        seeds.append(seed)
        return [atoms.copy(), atoms.copy()]

    own = read_own(file([molecule("N2"), molecule("H2O")]))
    data = starting_data(own, EMT(), label_service, enlarge=Snapshots(take), seed=3)
    assert [one.get_chemical_formula() for one in data] == ["N2", "H2O", "N2", "N2", "H2O", "H2O"]
    assert len(set(seeds)) == 2


def test_equal_structures_are_displaced_differently(file, label_service, water):
    own = read_own(file([water, water]))
    *_, one, other = starting_data(own, EMT(), label_service, enlarge=Displacements(2, 0.1))
    assert np.abs(one.positions - other.positions).max() > 1e-3


def test_what_cannot_be_labelled_is_left_out(file, label_service):
    own = read_own(file([molecule("N2"), molecule("CH3Cl")]))  # EMT knows no chlorine
    data = starting_data(own, EMT(), label_service)
    assert [one.get_chemical_formula() for one in data] == ["N2"]
