"""Stresses and virials in files: every name, form, unit and sign, and what is refused or left aside."""

from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.atoms.dataset import STRESS, Dataset
from sparring.atoms.inheritance import bare_copy, geometry_of, inherit
from sparring.atoms.reference import FORCES_MASK
from sparring.atoms.strain import from_voigt
from sparring.config import ConfigError, load
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.inputs.reading import read_atoms, read_file
from sparring.labels import ASECalculator, label, labelled_atoms
from sparring.runs.provenance import stamped
from sparring.systems.own.comparison import read_structures_of
from sparring.systems.own.structures import read_own
from sparring.units import GPA, HARTREE

VIRIALS = ["virial", "virials", "REF_virial", "REF_virials"]


@pytest.fixture
def copper():
    """A strained cell without any symmetry, and its stress by EMT."""
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + 0.02 * np.random.default_rng(0).normal(size=(3, 3))), scale_atoms=True
    )
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    return atoms


@pytest.fixture
def file(tmp_path):
    """A function that writes a frame with a label and further entries of the header."""

    def write(atoms, *, energy="energy", forces="forces", name="set.xyz", **more):
        one = atoms.copy()
        one.info[energy] = float(atoms.get_potential_energy())
        one.arrays[forces] = atoms.get_forces()
        one.info |= more
        write_structures(tmp_path / name, [one])
        return tmp_path / name

    return write


def matrix(stress):
    return stress[[0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(3, 3)


FORMS = {"six": lambda s: s, "nine": lambda s: matrix(s).ravel(), "matrix": matrix}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["stress", "REF_stress", *VIRIALS])
def test_every_name_and_form_is_read(copper, file, name, form):
    kind = "REF_" if name.startswith("REF_") else ""
    stress = copper.get_stress()
    value = -copper.get_volume() * stress if "virial" in name else stress
    path = file(copper, energy=f"{kind}energy", forces=f"{kind}forces", **{name: FORMS[form](value)})
    (atoms,) = read_atoms(path)
    np.testing.assert_allclose(atoms.info[STRESS], stress, rtol=1e-12)
    assert set(atoms.info) == {"REF_energy", STRESS}
    np.testing.assert_allclose(Dataset.from_atoms([atoms]).stress[0], matrix(stress), rtol=1e-12)


def test_the_stress_of_an_ase_file_is_that_of_the_calculator(copper, tmp_path):
    copper.get_stress()
    for name in ("set.traj", "set.xyz"):
        ase.io.write(tmp_path / name, copper)
        (atoms,) = read_atoms(tmp_path / name)
        np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), atol=1e-7)


def test_a_left_handed_cell_has_a_volume_that_is_positive(copper, file):
    mirrored = copper.copy()
    mirrored.set_cell(copper.cell.array[[1, 0, 2]])
    mirrored.calc = EMT()
    assert np.linalg.det(mirrored.cell.array) < 0
    path = file(mirrored, virial=-mirrored.get_volume() * mirrored.get_stress())
    (atoms,) = read_atoms(path)
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), rtol=1e-9, atol=1e-12)


def test_frames_may_be_without_a_stress(copper, tmp_path):
    frames = [copper.copy(), copper.copy()]
    for atoms in frames:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = copper.get_potential_energy(), copper.get_forces()
    frames[1].info["REF_virial"] = -copper.get_volume() * copper.get_stress()
    write_structures(tmp_path / "set.xyz", frames)
    without, with_stress = read_atoms(tmp_path / "set.xyz")
    assert STRESS not in without.info
    dataset = Dataset.from_atoms([without, with_stress])
    assert dataset.n_with_stress == 1
    np.testing.assert_allclose(dataset.stress[1], matrix(copper.get_stress()))
    assert dataset.stress[0].isnan().all()
    assert Dataset.from_atoms([without]).stress is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.arange(9.0).reshape(3, 3), r"frame 0 \(counting from 0\): stress is not symmetric .* by 4; correct it"),
        (
            np.array([0.1, 0.1, np.nan, 0, 0, 0]),
            r"frame 0 .*: stress is \[0.1, .* nan, .*which is not finite; remove it",
        ),
        (np.arange(5.0), r"frame 0 .*: stress must have six components \(xx, yy, zz, yz, xz, xy\) .* the shape \(5,\)"),
        (0.1, r"frame 0 .*: stress must have six components .* got the shape \(\)"),
    ],
)
def test_what_is_no_stress_is_refused(copper, file, value, message):
    with pytest.raises(ValueError, match=message):
        read_atoms(file(copper, stress=value))


@pytest.mark.parametrize("value", [np.arange(9.0), np.full(6, np.inf), np.ones(3), "high"])
def test_a_data_set_refuses_them_too(copper, value):
    copper.info |= {"REF_energy": 1.0, STRESS: value}
    copper.arrays["REF_forces"] = np.zeros((4, 3))
    with pytest.raises(
        ValueError, match=r"structure 0 \(Cu4\): REF_stress (is not symmetric|is .*not finite|must have)"
    ):
        Dataset.from_atoms([copper])


def test_a_matrix_that_is_symmetric_to_its_digits_is_a_stress(copper, file):
    noisy = matrix(copper.get_stress()) + 5e-7 * np.arange(9).reshape(3, 3) / 9
    (atoms,) = read_atoms(file(copper, stress=noisy))
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), atol=1e-6)


@pytest.mark.parametrize("what", ["molecule", "slab", "wire"])
def test_only_cells_that_are_periodic_in_three_directions_have_a_stress(file, what):
    atoms = {"molecule": molecule("NH3", vacuum=3), "slab": fcc111("Cu", (1, 1, 3), vacuum=5)}.get(what, bulk("Cu"))
    atoms.pbc = {"molecule": False, "slab": (True, True, False), "wire": (False, False, True)}[what]
    atoms.calc = EMT()
    reading = read_file(file(atoms, stress=np.ones(6)))
    assert STRESS not in reading.structures[0].info
    (note,) = reading.notes
    assert (
        'stress is left aside: a stress is that of a cell that is periodic in all three directions (pbc="T T T")'
        in note
    )
    assert note.endswith("(1 of 1 frames)")


def test_a_data_set_has_no_stress_of_a_molecule():
    atoms = molecule("NH3")
    atoms.info |= {"REF_energy": 1.0, STRESS: np.ones(6)}
    dataset = Dataset.from_atoms([atoms])
    assert dataset.stress is None
    assert STRESS not in dataset.to_atoms()[0].info


def test_a_stress_without_an_energy_is_left_aside(copper, tmp_path):
    one = copper.copy()
    one.info["REF_stress"] = copper.get_stress()
    write_structures(tmp_path / "set.xyz", [one])
    reading = read_file(tmp_path / "set.xyz")
    assert reading.structures[0].info == {}
    assert "REF_stress without an energy is left aside" in reading.notes[0]


def test_a_stress_of_another_kind_than_the_energy_is_mentioned(copper, file):
    reading = read_file(file(copper, energy="REF_energy", forces="REF_forces", virial=np.ones(6)))
    assert STRESS not in reading.structures[0].info
    assert "virial is not taken for the stress of this label; `stress_key: virial` takes it" in reading.notes[0]
    (atoms,) = read_atoms(
        file(copper, energy="REF_energy", forces="REF_forces", virial=np.ones(6)), stress_key="virial"
    )
    np.testing.assert_allclose(atoms.info[STRESS], -1 / copper.get_volume())


@pytest.mark.parametrize("name", ["dft_stress", "dft_virial"])
def test_a_stress_of_another_name_is_mentioned_and_read_if_it_is_named(copper, file, name):
    value = copper.get_stress() * (-copper.get_volume() if "virial" in name else 1)
    path = file(copper, energy="dft_energy", forces="dft_forces", **{name: value, "stress_variance": 1.0})
    keys = {"energy_key": "dft_energy", "forces_key": "dft_forces"}
    reading = read_file(path, **keys)
    assert f"`stress_key: {name}` takes it" in reading.notes[0]
    (atoms,) = read_atoms(path, **keys, stress_key=name)
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), rtol=1e-12)
    assert atoms.info["stress_variance"] == 1.0
    (atoms,) = read_labelled(path, **keys, stress_key=name)
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), rtol=1e-12)


def test_a_stress_key_that_no_frame_has_is_a_misprint(copper, file):
    with pytest.raises(ValueError, match=r"set\.xyz: no frame has the stress_key 'dft_stres'; correct it"):
        read_atoms(file(copper, dft_stress=np.ones(6)), stress_key="dft_stres")


def test_stresses_are_left_aside_if_that_is_asked_for(copper, file):
    path = file(copper, stress=np.ones(6))
    reading = read_file(path, stress_key=None)
    assert STRESS not in reading.structures[0].info
    assert "stress is left aside (stress_key: null)" in reading.notes[0]
    assert STRESS not in read_atoms(path, labels="relabel")[0].info


def test_a_virial_that_contradicts_the_stress_is_an_error(copper, file):
    stress = copper.get_stress()
    right = file(copper, stress=stress, virial=-copper.get_volume() * matrix(stress))
    np.testing.assert_allclose(read_atoms(right)[0].info[STRESS], stress)
    wrong = file(copper, stress=stress, virial=copper.get_volume() * matrix(stress))
    with pytest.raises(ValueError, match=r"stress and virial differ: .* minus the volume .*: `stress_key: stress`, or"):
        read_atoms(wrong)
    np.testing.assert_allclose(read_atoms(wrong, stress_key="stress")[0].info[STRESS], stress)


@pytest.mark.parametrize("more", [{"stress_unit": "GPa"}, {"stress_GPa": np.ones(6)}])
def test_a_unit_in_the_header_is_not_overlooked(copper, file, more):
    options = {"stress_key": "stress_GPa"} if "stress_GPa" in more else {}
    with pytest.raises(
        ValueError, match=r"'stress_unit=GPa'; a unit in a file is not|has a unit .* `stress_unit: GPa`"
    ):
        read_atoms(file(copper, **{"stress": np.ones(6), **more}), **options)


UNITS = {"GPa": GPA, "kbar": GPA / 10, "Hartree/Å³": HARTREE, "Hartree/Bohr^3": 183.631}


@pytest.mark.parametrize("sign", ["tension", "compression"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_configuration_converts_units_and_signs(copper, file, tmp_path, unit, sign):
    given = copper.get_stress() / UNITS[unit] * (1 if sign == "tension" else -1)
    if unit == "Hartree/Å³":
        path = file(copper, my_virial=-copper.get_volume() * given)
    else:
        path = file(copper, stress_of_code=given)
    key = "my_virial" if unit == "Hartree/Å³" else "stress_of_code"
    text = f"system: {{kind: own, file: {path}, stress_key: {key}, stress_unit: {unit}, stress_sign: {sign}}}\n"
    (tmp_path / "own.yaml").write_text(text + "labels: {labeller: {kind: ase, name: emt}}\n")
    (atoms,) = read_structures_of(load(tmp_path / "own.yaml").system)
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), rtol=1e-5)


@pytest.mark.parametrize(("key", "value"), [("stress_unit", "GP"), ("stress_unit", "eV/Å"), ("stress_sign", "minus")])
def test_a_unit_or_a_sign_that_is_none_is_refused(tmp_path, key, value):
    (tmp_path / "own.yaml").write_text(
        f"system:\n  kind: own\n  file: a.xyz\n  {key}: {value}\nlabels: {{labeller: {{kind: ase, name: emt}}}}\n"
    )
    with pytest.raises(ConfigError, match=rf"own\.yaml:4: system\.{key}: "):
        load(tmp_path / "own.yaml")


def test_what_a_run_writes_it_reads_back_to_the_last_digit(copper, tmp_path):
    copper.info |= {"REF_energy": float(copper.get_potential_energy()), STRESS: copper.get_stress()}
    copper.arrays["REF_forces"] = copper.get_forces()
    copper.calc = None
    dataset = Dataset.from_atoms([copper, Atoms("H", info={"REF_energy": -1.0})])
    write_structures(tmp_path / "dataset.extxyz", dataset.to_atoms())
    again = Dataset.from_atoms(read_labelled(tmp_path / "dataset.extxyz"))
    np.testing.assert_array_equal(again.stress, dataset.stress)


def test_results_of_a_calculator_are_read_with_their_stress(copper, tmp_path):
    one = copper.copy()
    one.calc = SinglePointCalculator(one, energy=1.0, forces=copper.get_forces(), stress=copper.get_stress())
    ase.io.write(tmp_path / "set.xyz", one)
    (atoms,) = read_labelled(tmp_path / "set.xyz")
    np.testing.assert_allclose(atoms.info[STRESS], copper.get_stress(), atol=1e-8)
    assert STRESS in read_own(tmp_path / "set.xyz")[0].info


def test_stresses_of_unknown_unit_are_left_out_beside_energies_in_another_one(copper, file, tmp_path, caplog):
    path = file(copper, stress=copper.get_stress())
    for more, unit in (("", None), (", stress_unit: eV/Å³", 1.0), (", stress_unit: Hartree/Å³", HARTREE)):
        (tmp_path / "own.yaml").write_text(
            f"system: {{kind: own, file: {path}, energy_unit: Hartree{more}}}\n"
            "labels: {labeller: {kind: ase, name: emt}}\n"
        )
        (atoms,) = read_structures_of(load(tmp_path / "own.yaml").system)
        if unit is None:
            assert STRESS not in atoms.info
            assert "the stresses of 1 frames are left out: name their unit (`stress_unit`)" in caplog.text
        else:
            np.testing.assert_allclose(atoms.info[STRESS], unit * copper.get_stress(), rtol=1e-9)


def test_a_stress_that_is_computed_goes_with_the_label_through_a_file_into_the_data(copper, tmp_path):
    pair = Atoms("Cu2", [[0, 0, 0], [0, 0, 2.5]])
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    part = copper.copy()
    part.set_array(FORCES_MASK, np.array([True, False, False, False]))
    frames = [copper, pair, slab, part]
    report = label(frames, ASECalculator("emt"))
    rows = zip(frames, report.labels, report.keys, strict=True)
    write_structures(tmp_path / "labelled.extxyz", [labelled_atoms(*row) for row in rows])
    crystal, *others = read_structures(tmp_path / "labelled.extxyz")
    np.testing.assert_allclose(crystal.info[STRESS], copper.get_stress(), rtol=1e-12)
    assert not any(STRESS in atoms.info for atoms in others)
    old = pair.copy()
    old.info[STRESS] = np.ones(6)
    assert STRESS not in labelled_atoms(old, report.labels[1], report.keys[1]).info
    assert STRESS not in labelled_atoms(slab, replace(report.labels[2], stress=np.ones(6)), report.keys[2]).info


def test_a_structure_that_is_moved_or_strained_has_lost_its_stress(copper):
    copper.info |= {"REF_energy": 1.0, STRESS: np.ones(6), "REF_virial": np.ones(6)}
    for child in (bare_copy(copper), inherit(geometry_of(copper), copper)):
        assert not {STRESS, "REF_virial"} & set(child.info)


def test_noise_of_a_relaxed_crystal_is_no_error(copper, file):
    noise = 1e-6 * np.random.default_rng(0).normal(size=(3, 3))
    (read,) = read_atoms(file(copper, stress=noise, virial=-copper.get_volume() * noise.T))
    np.testing.assert_allclose(from_voigt(read.info[STRESS]), (noise + noise.T) / 2, atol=2e-6)


@pytest.mark.parametrize("source", ["file", "attack"])
def test_the_data_of_a_run_keep_the_stress_of_a_label(copper, source):
    stress = copper.get_stress()
    copper.info |= {"REF_energy": 1.0, STRESS: stress, "source": source}
    np.testing.assert_array_equal(stamped(copper, generation=2).info[STRESS], stress)
