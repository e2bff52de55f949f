import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.atoms.dataset import STRESS, Dataset
from sparring.atoms.strain import from_voigt
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.inputs.labels import take_label
from sparring.inputs.reading import read_atoms, read_file
from sparring.labels import ASECalculator, label, labelled_atoms
from sparring.runs.provenance import stamped


@pytest.fixture
def copper():
    """A strained crystal with the energy and the forces of EMT, and its stress."""
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=1)
    crystal.set_cell(crystal.cell.array @ [[1.03, 0.01, 0.0], [0.01, 0.99, 0.02], [0.0, 0.02, 1.0]], scale_atoms=True)
    crystal.calc = EMT()
    energy, forces, stress = crystal.get_potential_energy(), crystal.get_forces(), crystal.get_stress()
    crystal.calc = None
    crystal.info["REF_energy"], crystal.arrays["REF_forces"] = energy, forces
    return crystal, stress


def in_a_file(atoms, tmp_path, **options):
    write_structures(tmp_path / "set.extxyz", [atoms])
    return read_file(tmp_path / "set.extxyz", labels="required", **options)


FORMS = {
    "six components": lambda stress, volume: ("REF_stress", stress),
    "nine in a row": lambda stress, volume: ("REF_stress", from_voigt(stress).ravel()),
    "a matrix": lambda stress, volume: ("REF_stress", from_voigt(stress)),
    "as ASE writes it": lambda stress, volume: ("stress", from_voigt(stress)),
    "a virial": lambda stress, volume: ("virial", -volume * from_voigt(stress)),
    "virials of MACE": lambda stress, volume: ("REF_virials", -volume * from_voigt(stress)),
    "virials in a row": lambda stress, volume: ("virials", -volume * from_voigt(stress).ravel()),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_stress_is_read_under_every_name_and_in_every_shape(copper, form, tmp_path):
    atoms, stress = copper
    name, value = FORMS[form](stress, atoms.get_volume())
    atoms.info[name] = value
    (read,), notes = in_a_file(atoms, tmp_path)
    np.testing.assert_allclose(read.info[STRESS], stress, rtol=1e-10, atol=1e-14)
    assert set(read.info) & {"stress", "virial", "virials", "REF_virials"} == set()
    assert notes == ()
    np.testing.assert_allclose(Dataset.from_atoms([read]).stress[0], from_voigt(stress), rtol=1e-10, atol=1e-14)


def test_a_left_handed_cell_has_a_virial_of_the_same_sign(copper, tmp_path):
    atoms, stress = copper
    atoms.info["virial"] = -atoms.get_volume() * from_voigt(stress)
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    (read,), _ = in_a_file(atoms, tmp_path)
    np.testing.assert_allclose(read.info[STRESS], stress, rtol=1e-10)


def test_results_of_a_calculator_have_their_stress(copper):
    atoms, stress = copper
    results = {"energy": atoms.info.pop("REF_energy"), "forces": atoms.arrays.pop("REF_forces"), "stress": stress}
    atoms.calc = SinglePointCalculator(atoms, **results)
    take_label(atoms, "here")
    np.testing.assert_allclose(atoms.info[STRESS], stress)


@pytest.mark.parametrize("atoms", [molecule("NH3"), fcc111("Cu", (1, 1, 2), vacuum=5.0)])
def test_what_has_no_volume_has_no_stress_and_says_so(atoms, tmp_path):
    atoms.info.update(REF_energy=-1.0, REF_stress=np.zeros(6))
    atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
    (read,), (note,) = in_a_file(atoms, tmp_path)
    assert STRESS not in read.info
    assert "REF_stress left aside: only structures periodic along three vectors have a stress (1 of 1 frames)" in note


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"REF_stress": [1.0, 2.0]}, r"frame 0 .*: REF_stress must be six components .* or a 3 x 3 matrix, got"),
        ({"REF_stress": [1.0, np.nan, 1.0, 0.0, 0.0, 0.0]}, "REF_stress is not finite"),
        ({"virial": np.arange(9.0).reshape(3, 3)}, "virial is not symmetric"),
        ({"stress": np.eye(3), "virial": np.eye(3)}, "stress and virial differ.*remove the wrong one"),
    ],
)
def test_a_stress_that_is_none_is_an_error(copper, given, message, tmp_path):
    atoms, _ = copper
    atoms.info.update(given)
    with pytest.raises(ValueError, match=message):
        in_a_file(atoms, tmp_path)


def test_noise_of_a_relaxed_crystal_is_no_error(copper, tmp_path):
    atoms, _ = copper
    noise = 1e-6 * np.random.default_rng(0).normal(size=(3, 3))
    atoms.info.update(stress=noise, virial=-atoms.get_volume() * noise.T)
    (read,), _ = in_a_file(atoms, tmp_path)
    np.testing.assert_allclose(from_voigt(read.info[STRESS]), (noise + noise.T) / 2, atol=2e-6)


def test_labels_that_are_not_wanted_go_with_their_stress(copper, tmp_path):
    atoms, stress = copper
    atoms.info["virial"] = -atoms.get_volume() * from_voigt(stress)
    write_structures(tmp_path / "set.extxyz", [atoms])
    (read,) = read_atoms(tmp_path / "set.extxyz", labels="ignored")
    assert not {"virial", STRESS, "REF_energy"} & set(read.info)


def test_a_stress_that_is_computed_goes_with_the_label_through_a_file_into_the_data(copper, tmp_path):
    atoms, stress = copper
    pair_of_atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    report = label([atoms, pair_of_atoms], ASECalculator("emt"))
    rows = zip([atoms, pair_of_atoms], report.labels, report.keys, strict=True)
    write_structures(tmp_path / "labelled.extxyz", [labelled_atoms(*row) for row in rows])
    crystal, pair = read_structures(tmp_path / "labelled.extxyz")
    np.testing.assert_allclose(crystal.info[STRESS], stress, rtol=1e-8)
    assert STRESS not in pair.info
    data = Dataset.from_atoms([crystal, pair])
    np.testing.assert_allclose(data.stress[0], from_voigt(stress), rtol=1e-8)
    assert data.stress[1].isnan().all()
    assert data.take([1]).stress is None
    again = data.to_atoms()
    np.testing.assert_allclose(again[0].info[STRESS], stress, rtol=1e-8)
    assert STRESS not in again[1].info


@pytest.mark.parametrize("source", ["file", "attack"])
def test_the_data_of_a_run_keep_the_stress_of_a_label(copper, source):
    atoms, stress = copper
    atoms.info.update({STRESS: stress, "source": source})
    np.testing.assert_array_equal(stamped(atoms, generation=2).info[STRESS], stress)
