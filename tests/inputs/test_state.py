"""Charge and multiplicity mean one thing, under whatever name a file has them."""

import pytest

from sparring.inputs.reading import read_atoms, read_file
from sparring.labels.base import ElectronicState, electronic_state
from sparring.systems.own.structures import read_own

AMMONIUM = """N 0.0025 -0.0026 0.0128
H 0.5910 0.5782 0.5961
H 0.6150 -0.5700 -0.6030
H -0.6142 0.5764 -0.5881
H -0.6354 -0.5933 0.5640
"""
OXYGEN = "O 0 0 0\nO 0 0 1.21\n"


@pytest.fixture
def file(tmp_path):
    def write(rows, comment, properties="Properties=species:S:1:pos:R:3 "):
        n_atoms = rows.count("\n")
        (tmp_path / "set.xyz").write_text(f"{n_atoms}\n{properties}{comment}\n{rows}")
        return tmp_path / "set.xyz"

    return write


@pytest.mark.parametrize(
    "comment",
    [
        "charge=1",
        "charge=1 multiplicity=1",
        "charge=1.0 mult=1",
        "charge=1 spin=1",
        "total_charge=1 total_spin=1",
        "net_charge=+1 spin_multiplicity=1",
        "molecular_charge=1 molecular_multiplicity=1",
        "charge=1 total_charge=1 spin=1 multiplicity=1",
    ],
)
def test_ammonium_is_a_closed_shell_cation_under_every_name(file, comment):
    (atoms,) = read_atoms(file(AMMONIUM, comment))
    assert electronic_state(atoms) == ElectronicState(1, 1)
    assert set(atoms.info) <= {"charge", "multiplicity"}


@pytest.mark.parametrize("name", ["multiplicity", "mult", "spin", "total_spin", "spin_multiplicity"])
def test_the_ground_state_of_oxygen_is_a_triplet_under_every_name(file, name):
    assert electronic_state(read_atoms(file(OXYGEN, f"charge=0 {name}=3"))[0]) == ElectronicState(0, 3)


@pytest.mark.parametrize("name", ["spin", "total_spin"])
@pytest.mark.parametrize(("rows", "charge", "twice_spin"), [(OXYGEN, 0, 2), (OXYGEN, 0, 0), (OXYGEN, 1, 1)])
def test_a_spin_that_is_2s_is_an_error_that_tells_both_readings(file, name, rows, charge, twice_spin):
    with pytest.raises(
        ValueError,
        match=rf"frame 0 \(counting from 0\): {name}={twice_spin} read as multiplicity 2S\+1 \(OMol25, fairchem, "
        rf"MACE\) does not fit .*; if it is 2S \(PySCF\), write multiplicity={twice_spin + 1}",
    ):
        read_atoms(file(rows, f"charge={charge} {name}={twice_spin}"))


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ("charge=0 total_charge=1", "charge=0 and total_charge=1 disagree, and mean the same; keep charge"),
        ("multiplicity=1 spin=3", "multiplicity=1 and spin=3 disagree, and mean the same; keep multiplicity"),
        ("charge=0.5", "charge must be a whole number, got 0.5"),
        ("charge=T", "charge must be a whole number, got True"),
        ("charge=nan", "charge must be a whole number, got nan"),
        ("charge=1+", r"charge must be a whole number, got '1\+'"),
        ("charge=1_0", "charge must be a whole number, got '1_0'"),
        ("multiplicity=0", "cannot have multiplicity 0"),
        ("multiplicity=-1", "cannot have multiplicity -1"),
        ("multiplicity=2", "cannot have multiplicity 2"),
        ("charge=17", "has only 16 electrons to lose, got charge 17"),
    ],
)
def test_what_is_no_charge_or_multiplicity_is_an_error(file, comment, message):
    with pytest.raises(ValueError, match=rf"set\.xyz, frame 0 \(counting from 0\): .*{message}"):
        read_atoms(file(OXYGEN, comment))


@pytest.mark.parametrize(
    ("comment", "name", "proper"),
    [
        ("Charge=1", "Charge", "charge"),
        ("CHARGE=1", "CHARGE", "charge"),
        ("q=1", "q", "charge"),
        ("tot_charge=1", "tot_charge", "charge"),
        ("multi=3", "multi", "multiplicity"),
        ("Multiplicity=3", "Multiplicity", "multiplicity"),
        ("magmom=2.0", "magmom", "multiplicity"),
        ("nelect=16", "nelect", "multiplicity"),
        ("uhf=2", "uhf", "multiplicity"),
    ],
)
def test_what_looks_like_a_charge_or_multiplicity_is_ignored_and_said(file, comment, name, proper):
    reading = read_file(file(OXYGEN, comment))
    assert electronic_state(reading.structures[0]) == ElectronicState(0, 1)
    assert reading.notes[0].split(": ", 1)[1].startswith(f"{name} looks like a")
    assert f"write {proper}=... if it is one (1 of 1 frames)" in reading.notes[0]


def test_a_magnetic_moment_beside_a_multiplicity_needs_no_word(file):
    assert read_file(file(OXYGEN, "multiplicity=3 magmom=2.0")).notes == ()


@pytest.mark.parametrize("comment", ["1 1", "1 2", "-1 2", "0 3"])
def test_two_numbers_in_a_comment_are_not_guessed_to_be_charge_and_multiplicity(file, comment):
    charge, multiplicity = comment.split()
    with pytest.raises(
        ValueError,
        match=rf"the comment line '{comment}' may be .* write 'charge={charge} multiplicity={multiplicity}'",
    ):
        read_atoms(file(OXYGEN, comment, properties=""))


def test_two_numbers_that_say_what_is_assumed_anyway_are_only_mentioned(file):
    reading = read_file(file(OXYGEN, "0 1", properties=""))
    assert "the comment line '0 1' is not read" in reading.notes[0]
    assert reading.structures[0].info == {}


@pytest.mark.parametrize("comment", ["1", "7", "frame 12", "O2 from a book", "12 0.5"])
def test_other_comments_are_comments(file, comment):
    assert read_file(file(OXYGEN, comment, properties="")).notes == ()


def test_a_charge_in_words_is_mentioned(file):
    (note,) = read_file(file(OXYGEN, "oxygen, charge 1", properties="")).notes
    assert "charge: 1 in the comment line is not read; write it as key=value" in note


def test_a_configuration_that_says_another_charge_than_the_frames_is_mentioned(file, caplog):
    (atoms,) = read_own(file(AMMONIUM, "charge=1"), charge=-1)
    assert atoms.info["charge"] == 1
    assert "1 of 1 frames have another charge (1) than the configuration (-1); each frame's own is used" in caplog.text
