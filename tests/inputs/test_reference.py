"""Which energy and which forces of a file are its label, and what is refused because that is not clear."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from sparring.atoms.reference import has_labels
from sparring.inputs.reading import read_atoms, read_file
from sparring.systems.own.structures import read_own

HEADER = 'Properties=species:S:1:pos:R:3:forces:R:3 energy=-156.9 pbc="F F F"'
WATER = f"""3
{HEADER}
O 0.0 0.0 0.1 0.0 0.0 1.0
H 0.0 0.7 -0.5 0.0 0.5 -0.5
H 0.0 -0.7 -0.5 0.0 -0.5 -0.5
"""
ATOM = "1\nProperties=species:S:1:pos:R:3 {} config_type=IsolatedAtom\nH 0 0 0\n"


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "set.xyz").write_text(text)
        return tmp_path / "set.xyz"

    return write


def with_names(energy="energy", forces="forces", more=""):
    return WATER.replace("energy=", f"{more} {energy}=").replace("forces:R", f"{forces}:R")


# --- what is read ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "forces"),
    [("energy", "forces"), ("REF_energy", "REF_forces"), ("total_energy", "forces"), ("free_energy", "forces")],
)
def test_names_of_ase_mace_and_nequip_are_labels(file, energy, forces):
    (atoms,) = read_atoms(file(with_names(energy, forces)))
    assert atoms.info == {"REF_energy": -156.9}
    assert set(atoms.arrays) == {"numbers", "positions", "REF_forces"}
    assert atoms.arrays["REF_forces"][0].tolist() == [0, 0, 1]
    assert has_labels(atoms)


def test_the_force_consistent_free_energy_is_the_label_and_that_is_said(file):
    reading = read_file(file(with_names(more="free_energy=-157.4") * 2 + WATER))
    assert [one.info["REF_energy"] for one in reading.structures] == [-157.4, -157.4, -156.9]
    (note,) = reading.notes
    assert note.startswith(str(file(WATER)))
    assert "energy and free_energy differ; free_energy, the force-consistent one, is taken as the label" in note
    assert note.endswith("(2 of 3 frames)")


def test_equal_energies_need_no_word(file):
    assert read_file(file(with_names(more="free_energy=-156.9"))).notes == ()


def test_an_energy_that_is_named_is_taken_and_the_other_is_mentioned(file):
    reading = read_file(file(with_names(more="free_energy=-157.4")), energy_key="energy", forces_key="forces")
    assert reading.structures[0].info["REF_energy"] == -156.9
    assert "energy is taken as the label, and free_energy differs from it" in reading.notes[0]
    assert read_file(file(with_names("REF_energy", "REF_forces", "free_energy=-157.4"))).notes


def test_two_total_energies_that_differ_are_not_guessed_between(file):
    with pytest.raises(ValueError, match=r"energy=-156\.9 and total_energy=-1\.0 differ; name .* `energy_key: energy`"):
        read_atoms(file(with_names(more="total_energy=-1")))


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_free_energy_that_is_not_finite_is_an_error(file, value):
    with pytest.raises(ValueError, match=f"frame 0 .*free_energy must be one finite number in eV, got {value}"):
        read_atoms(file(with_names(more=f"free_energy={value}")))


def test_a_file_without_any_hint_of_a_label_is_unlabelled(file):
    (atoms,) = read_atoms(file("2\nhydrogen, from a book, step 3\nH 0 0 0\nH 0 0 0.74\n"))
    assert "REF_energy" not in atoms.info


def test_predictions_of_a_committee_are_no_labels(file):
    rows = "H 0 0 0 0 0 1\nH 0 0 0.74 0 0 1\n"
    text = f"2\nProperties=species:S:1:pos:R:3:committee_forces:R:3 committee_energy=-3.0 energy_variance=0.1\n{rows}"
    assert "REF_energy" not in read_atoms(file(text))[0].info


def test_an_energy_alone_is_kept_without_forces(file):
    text = "Properties=species:S:1:pos:R:3 energy=-31.0\nH 0 0 0\nH 0 0 0.74\n"
    (atoms,) = read_atoms(file(f"2\n{text}"))
    assert atoms.info == {"REF_energy": -31.0}
    assert set(atoms.arrays) == {"numbers", "positions"}


def test_a_lone_atom_without_forces_has_none(file):
    water, atom = read_atoms(file(WATER + ATOM.format("energy=-13.6")))
    assert water.arrays["REF_forces"].any()
    assert atom.arrays["REF_forces"].tolist() == [[0, 0, 0]]
    assert atom.info == {"config_type": "IsolatedAtom", "REF_energy": -13.6}


def test_what_is_not_known_stays(file):
    text = with_names(more="config_type=water run=7").replace("energy=", "my_set=3 energy=")
    (atoms,) = read_atoms(file(text))
    assert atoms.info == {"config_type": "water", "run": 7, "my_set": 3, "REF_energy": -156.9}


# --- labels that are not seen ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("energy", "forces"),
    [
        ("energy", "force"),
        ("TotEnergy", "forces"),
        ("Energy", "forces"),
        ("dft_energy", "dft_forces"),
        ("E", "F"),
        ("REF_energy", "REF_Forces"),
        ("energies_pbe", "forces"),
        ("REF_energy", "forces"),
        ("energy", "REF_forces"),
        ("TOTEN", "TOTAL-FORCE"),
        ("potential_energy", "atomic_forces"),
        ("E_dft", "frc"),
    ],
)
def test_labels_under_other_names_are_an_error_with_the_two_lines_to_write(file, energy, forces):
    path = file(with_names(energy, forces))
    with pytest.raises(ValueError, match=r"set\.xyz, frame 0 \(counting from 0\): there is no '") as caught:
        read_own(path)
    message = str(caught.value)
    assert f"`energy_key: {energy}`, `forces_key: {forces}`" in message
    assert "or `relabel: true` to label all frames anew" in message
    assert "\n" not in message
    (atoms,) = read_own(path, energy_key=energy, forces_key=forces)
    assert atoms.info["REF_energy"] == -156.9
    assert set(atoms.arrays) == {"numbers", "positions", "REF_forces"}


@pytest.mark.parametrize("energy", ["Energy", "E", "dft_energy", "etot", "E0"])
def test_energies_alone_under_other_names_are_not_overlooked(file, energy):
    with pytest.raises(
        ValueError, match=f"there is no 'REF_energy' and 'REF_forces', only {energy}; .*_key: {energy}`"
    ):
        read_own(file(f"2\nProperties=species:S:1:pos:R:3 {energy}=-31.0\nH 0 0 0\nH 0 0 0.74\n"))


def test_columns_of_unknown_vectors_beside_an_energy_may_be_its_forces(file):
    path = file(with_names("REF_energy", "other"))
    with pytest.raises(ValueError, match=r"`energy_key: REF_energy`, `forces_key: other` .*, rename other if it is no"):
        read_own(path)
    assert read_own(path, forces_key="other")[0].arrays["REF_forces"].any()
    assert "REF_forces" not in read_own(file(with_names("REF_energy", "velocities")))[0].arrays


@pytest.mark.parametrize("name", ["gradient", "dft_grad", "dE/dx", "dEdR"])
def test_a_gradient_is_not_taken_for_forces(file, name):
    path = file(with_names(forces=name))
    with pytest.raises(ValueError, match=f"{name} is a gradient: give forces, which are -dE/dx"):
        read_own(path)
    with pytest.raises(ValueError, match=f"forces_key '{name}' is a gradient by its name; .* change the sign"):
        read_own(path, energy_key="energy", forces_key=name)


def test_forces_in_three_groups_of_columns_are_not_overlooked(file):
    with pytest.raises(ValueError, match="fx is one column: announce forces as one group of three"):
        read_own(file(WATER.replace("forces:R:3", "fx:R:1:fy:R:1:fz:R:1")))


def test_forces_without_an_energy_are_no_label(file):
    with pytest.raises(ValueError, match=r"there is no 'REF_energy', only set, forces"):
        read_own(file(with_names("set")))


def test_relabelling_on_purpose_takes_the_labels_off_and_says_so(file, caplog):
    (atoms,) = read_own(file(with_names("TotEnergy", "force")), relabel=True)
    assert set(atoms.info) == {"source", "parent", "charge"}
    assert set(atoms.arrays) == {"numbers", "positions"}
    assert "TotEnergy, force of the file are left aside, the frame is labelled anew (relabel: true)" in caplog.text


def test_files_that_must_have_labels_say_so(file):
    with pytest.raises(ValueError, match=r"there is no 'REF_energy', only the geometry; .* or label the structures"):
        read_atoms(file("1\n\nH 0 0 0\n"), labels="required")


def test_geometries_alone_are_read_whatever_the_labels_are_called(file):
    (atoms,) = read_atoms(file(with_names("TotEnergy", "force")), labels="ignored")
    assert isinstance(atoms, Atoms)
    assert set(atoms.arrays) == {"numbers", "positions"}


# --- units ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("energy=-156.9", "energy=-156.9 kcal/mol", "the header has 'kcal/mol'; a unit in a file is not converted"),
        ("energy=-156.9", "energy=-5.0 Ha", "the header has 'Ha'"),
        (
            "energy=-156.9",
            'energy="-5.0 Ha"',
            r"energy carries a unit, '-5.0 Ha'; .* energy=-136\.05\d+ if that is",
        ),
        ("energy=-156.9", 'energy="-5.0 Ry"', r"energy carries a unit, .*energy=-68\.02\d+"),
        ("energy=-156.9", "energy=-5.0 energy_unit=Ha", "the header has 'energy_unit=Ha'"),
        ("energy=-156.9", "energy=-5.0 units=hartree,bohr", "the header has 'units=hartree,bohr'"),
        ("energy=-156.9", "energy_hartree=-5.0", "convert to eV and eV/Å first, the unit seems to be hartree"),
        ("energy=-156.9", "energy_kcal_mol=-5.0", "the unit seems to be kcal"),
    ],
)
def test_a_unit_in_the_header_is_not_overlooked(file, old, new, message):
    with pytest.raises(ValueError, match=message):
        read_atoms(file(WATER.replace(old, new)))


@pytest.mark.parametrize("more", ["energy_unit=eV", "units=eV,Å", "length_unit=angstrom"])
def test_units_that_are_ours_may_be_said(file, more):
    assert read_atoms(file(with_names(more=more)))[0].info["REF_energy"] == -156.9


@pytest.mark.parametrize("key", ["energy_hartree", "E_kcal", "e_au"])
def test_a_key_that_names_another_unit_is_refused_when_it_is_asked_for(file, key):
    with pytest.raises(ValueError, match=f"energy_key '{key}' has the unit .* by its name.*convert them"):
        read_atoms(file(with_names(key)), energy_key=key, forces_key="forces")
    (atoms,) = read_atoms(file(with_names(key)), energy_key=key, forces_key="forces", foreign_units=True)
    assert atoms.info["REF_energy"] == -156.9  # for whoever converts it


@pytest.mark.parametrize("value", ["1_000.5", "٣", "12,5 eV", "1.0d3", "low"])
def test_what_only_looks_like_a_number_is_no_energy(file, value):
    with pytest.raises(ValueError, match=r"energy (must be one finite number in eV, got|carries a unit)"):
        read_atoms(file(WATER.replace("energy=-156.9", f'energy="{value}"')))


def test_numbers_that_no_method_gives_are_refused(file):
    with pytest.raises(ValueError, match=r"the force on atom 0 is 1e\+12 eV/Å, which no method gives"):
        read_atoms(file(WATER.replace("0.0 0.0 1.0", "0.0 0.0 1e12")))
    with pytest.raises(ValueError, match=r"the energy of -1e\+15 eV is no energy of a structure"):
        read_atoms(file(WATER.replace("energy=-156.9", "energy=-1e15")))


def test_a_run_can_train_on_what_comes_in(file):
    from sparring import Dataset

    frames = read_own(file(WATER + ATOM.format("energy=-13.6")))
    dataset = Dataset.from_atoms(frames)
    assert dataset.energy.tolist() == [-156.9, -13.6]
    assert np.isfinite(molecule("H2O").positions).all()
