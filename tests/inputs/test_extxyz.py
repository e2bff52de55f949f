import logging
import os

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from sparring.atoms.reference import has_labels
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures

WATER = """3
Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-76.5 pbc="F F F"
O 0.0 0.0 0.1 0.0 0.0 1.0
H 0.0 0.7 -0.5 0.0 0.5 -0.5
H 0.0 -0.7 -0.5 0.0 -0.5 -0.5
"""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "set.extxyz"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def labelled(seed=0):
    generator = np.random.default_rng(seed)
    atoms = molecule("NH3")
    atoms.positions += generator.normal(scale=0.1, size=(4, 3))
    atoms.info["REF_energy"] = float(generator.normal()) * 1e3
    atoms.arrays["REF_forces"] = generator.normal(size=(4, 3)) * 1e-7
    return atoms


# --- what is written is what is read ---------------------------------------------------------------------------------


def test_numbers_come_back_bit_for_bit(tmp_path):
    written = [labelled(seed) for seed in range(20)]
    written[0].positions[0] = [1 / 3, -0.0, 5e-324]
    write_structures(tmp_path / "set.extxyz", written)
    for before, after in zip(written, read_labelled(tmp_path / "set.extxyz"), strict=True):
        assert before.positions.tobytes() == after.positions.tobytes()
        assert before.arrays["REF_forces"].tobytes() == after.arrays["REF_forces"].tobytes()
        assert before.info == after.info
        assert before.numbers.tolist() == after.numbers.tolist()


def test_writing_what_was_read_gives_the_same_file(tmp_path):
    first, second = tmp_path / "first.extxyz", tmp_path / "second.extxyz"
    write_structures(first, [labelled(seed) for seed in range(5)])
    write_structures(second, read_labelled(first))
    assert first.read_bytes() == second.read_bytes()


def test_ase_reads_the_same_numbers(tmp_path):
    atoms = labelled()
    write_structures(tmp_path / "set.extxyz", [atoms])
    read = ase.io.read(tmp_path / "set.extxyz")
    assert read.positions.tobytes() == atoms.positions.tobytes()
    assert read.info == atoms.info


def test_cell_and_periodicity_come_back(tmp_path):
    crystal = bulk("Cu", "fcc", a=np.pi).repeat((1, 2, 1))
    crystal.pbc = [True, False, True]
    write_structures(tmp_path / "set.extxyz", [crystal])
    (read,) = read_structures(tmp_path / "set.extxyz")
    assert read.cell.array.tobytes() == crystal.cell.array.tobytes()
    assert read.pbc.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "value",
    [
        0,
        -7,
        True,
        False,
        0.1 + 0.2,
        1.0,
        float("inf"),
        "normal_mode",
        "two words",
        "",
        "12",
        "1e5",
        "T",
        "_JSON [1]",
        'a "quoted" \\ back\\\\slash',
        "key=value, [list] {dict}",
        "line\nbreak",
        "Ångström…",
        None,
        ["a", "b c"],
        {"step": 3, "name": "x"},
        "00" * 32,
        "1234e567",
    ],
)
def test_whatever_is_known_of_a_structure_comes_back(tmp_path, value):
    atoms = Atoms("H", info={"known": value, "after": 1})
    write_structures(tmp_path / "set.extxyz", [atoms])
    (read,) = read_structures(tmp_path / "set.extxyz")
    assert read.info == {"known": value, "after": 1}
    assert type(read.info["known"]) is type(value)
    assert ase.io.read(tmp_path / "set.extxyz").info["after"] == 1


@pytest.mark.parametrize(
    "value",
    [np.array([1.5, 2.0]), np.array([1, 2]), np.array([0.1]), np.eye(2) / 3, np.array([True, False])],
    ids=["floats", "integers", "one", "matrix", "truth"],
)
def test_arrays_that_belong_to_a_structure_come_back(tmp_path, value):
    write_structures(tmp_path / "set.extxyz", [Atoms("H", info={"known": value})])
    found = read_structures(tmp_path / "set.extxyz")[0].info["known"]
    assert found.tolist() == value.tolist()
    assert found.dtype.kind == value.dtype.kind


def test_numpys_scalars_come_back_as_plain_numbers(tmp_path):
    write_structures(
        tmp_path / "set.extxyz", [Atoms("H", info={"generation": np.int64(3), "energy_x": np.float64(0.1)})]
    )
    (read,) = read_structures(tmp_path / "set.extxyz")
    assert read.info == {"generation": 3, "energy_x": 0.1}
    assert {type(value) for value in read.info.values()} == {int, float}


def test_a_stress_comes_back_the_right_way_round(tmp_path):
    virial = np.arange(9.0).reshape(3, 3)
    write_structures(tmp_path / "set.extxyz", [Atoms("H", info={"virial": virial})])
    assert (read_structures(tmp_path / "set.extxyz")[0].info["virial"] == virial).all()


def test_columns_of_all_kinds_come_back(tmp_path):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], tags=[4, 5])
    atoms.arrays.update(word=np.array(["a", "bc"]), flag=np.array([True, False]), wide=np.eye(2) / 7)
    write_structures(tmp_path / "set.extxyz", [atoms])
    (read,) = read_structures(tmp_path / "set.extxyz")
    for name, array in atoms.arrays.items():
        assert read.arrays[name].tolist() == array.tolist()


def test_what_an_attached_calculator_knows_is_written_and_nothing_is_computed(tmp_path):
    done, stale, idle = (molecule("H2O") for _ in range(3))
    done.calc = SinglePointCalculator(done, energy=-76.5, forces=np.full((3, 3), 1 / 3))
    stale.calc = SinglePointCalculator(stale, energy=-76.5)
    stale.positions += 1
    idle.calc = EMT()
    write_structures(tmp_path / "set.extxyz", [done, stale, idle])
    read = read_structures(tmp_path / "set.extxyz")
    assert [has_labels(one) for one in read] == [True, False, False]
    assert read[0].get_potential_energy() == -76.5
    assert (read[0].get_forces() == 1 / 3).all()


def test_a_file_of_nothing_can_be_written_and_read_by_those_who_expect_it(tmp_path):
    write_structures(tmp_path / "set.extxyz", [])
    assert read_structures(tmp_path / "set.extxyz", allow_empty=True) == []
    assert read_labelled(tmp_path / "set.extxyz", allow_empty=True) == []


def test_dummy_atoms_come_back_only_where_they_are_expected(tmp_path):
    write_structures(tmp_path / "set.extxyz", [Atoms("X", [[0.5, 0, 0]])])
    assert read_structures(tmp_path / "set.extxyz", allow_dummy=True)[0].numbers.tolist() == [0]
    with pytest.raises(ValueError, match=r"frame 0 \(counting from 0\): atom 0 is the dummy X"):
        read_structures(tmp_path / "set.extxyz")


# --- all or nothing --------------------------------------------------------------------------------------------------


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "set.extxyz"
    write_structures(path, [labelled(0)])
    before = path.read_bytes()

    def full_disk(descriptor):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_structures(path, [labelled(1)])
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["set.extxyz"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda atoms: atoms.positions.fill(np.nan), "atom 0 is at .*not finite"),
        (lambda atoms: atoms.numbers.fill(-1), "atomic number -1, wanted 1 to 118"),
        (lambda atoms: atoms.info.update(pbc=1), "'pbc' would hide what the format itself means"),
        (lambda atoms: atoms.info.update(thing=object()), r"info\['thing'\] of type object cannot be written"),
        (lambda atoms: atoms.arrays.update(deep=np.zeros((2, 3, 3))), r"arrays\['deep'\] of shape \(2, 3, 3\)"),
        (lambda atoms: atoms.arrays.update(short=np.zeros(1)), r"arrays\['short'\] of shape \(1,\)"),
        (lambda atoms: atoms.arrays.update(word=np.array(["a b", "c"])), r"arrays\['word'\] has .* with blanks"),
        (lambda atoms: atoms.arrays.update({"a:b": np.zeros(2)}), r"arrays\['a:b'\] has a name .* colons"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, break_it, message):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]])
    break_it(atoms)
    with pytest.raises(ValueError, match=f"frame 1 .*{message}"):
        write_structures(tmp_path / "set.extxyz", [Atoms("H"), atoms])
    assert os.listdir(tmp_path) == []


def test_a_structure_without_atoms_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"frame 0 .*without atoms cannot be written"):
        write_structures(tmp_path / "set.extxyz", [Atoms()])


# --- what others write -----------------------------------------------------------------------------------------------


def test_a_labelled_file_is_read(file):
    (atoms,) = read_labelled(file(WATER))
    assert atoms.info == {"REF_energy": -76.5}
    assert atoms.arrays["REF_forces"][1].tolist() == [0.0, 0.5, -0.5]
    assert atoms.calc is None
    assert has_labels(atoms)


def test_ases_own_names_are_understood(file):
    text = WATER.replace("REF_", "")
    (atoms,) = read_structures(file(text))
    assert has_labels(atoms)
    for options in ({}, {"energy_key": "energy", "forces_key": "forces"}):
        (atoms,) = read_labelled(file(text), **options)
        assert atoms.info == {"REF_energy": -76.5}
        assert atoms.arrays["REF_forces"].shape == (3, 3)
        assert atoms.calc is None


def test_a_file_that_ase_wrote_with_results_is_labelled(tmp_path):
    atoms = molecule("H2O")
    atoms.calc = EMT()
    energy = atoms.get_potential_energy()
    ase.io.write(tmp_path / "set.extxyz", atoms)
    assert read_labelled(tmp_path / "set.extxyz")[0].info["REF_energy"] == pytest.approx(energy)


def test_other_names_are_made_the_common_ones(file):
    text = WATER.replace("REF_energy", "dft_energy").replace("REF_forces", "dft_gradient")
    (atoms,) = read_labelled(file(text), energy_key="dft_energy", forces_key="dft_gradient")
    assert atoms.info == {"REF_energy": -76.5}
    assert set(atoms.arrays) == {"numbers", "positions", "REF_forces"}


def test_the_energy_of_one_method_is_not_mixed_with_the_forces_of_another(file):
    with pytest.raises(ValueError, match="there is no 'REF_forces', only REF_energy, forces"):
        read_labelled(file(WATER.replace("REF_forces", "forces")))


def test_a_plain_xyz_file_is_read(file):
    (atoms,) = read_structures(file("2\nhydrogen, from a book\nH 0 0 0\nh 0 0 0.74\n"))
    assert atoms.get_chemical_formula() == "H2"
    assert not has_labels(atoms)


def test_blank_lines_and_foreign_line_ends_do_not_hide_frames(file):
    assert len(read_structures(file(WATER + "\n\n" + WATER + "\n"))) == 2
    assert len(read_structures(file((WATER + WATER).replace("\n", "\r\n")))) == 2


def test_a_file_without_a_last_line_break_is_read_with_a_warning(file, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(read_structures(file(WATER.rstrip("\n")))) == 1
    assert "may be incomplete" in caplog.text


def test_molecules_of_different_size_and_charge_share_a_file(file):
    hydrogen = "1\nProperties=species:S:1:pos:R:3 charge=1 multiplicity=1\nH 0 0 0\n"
    water, proton = read_structures(file(WATER + hydrogen))
    assert (len(water), len(proton)) == (3, 1)
    assert proton.info == {"charge": 1, "multiplicity": 1}


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_an_empty_file_is_an_error(file, text):
    with pytest.raises(ValueError, match=r"set\.extxyz: the file has no structures"):
        read_structures(file(text))


def test_a_file_that_is_no_text_is_an_error(file):
    with pytest.raises(ValueError, match=r"set\.extxyz: this is no text file \(byte 0 "):
        read_structures(file(b"\xff\xfe\x00\x01"))


def test_a_missing_file_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_structures(tmp_path / "nowhere.extxyz")


@pytest.mark.parametrize("n_lines", [1, 2, 3, 4])
def test_a_truncated_last_frame_is_named_and_the_complete_ones_are_counted(file, n_lines):
    text = WATER * 2 + "".join(WATER.splitlines(keepends=True)[:n_lines])
    rows = max(n_lines - 2, 0)
    with pytest.raises(
        ValueError,
        match=rf"frame 2 \(counting from 0\): the file is cut off here: 3 atoms announced, {rows} rows found; "
        "complete frames before it: 2; to use those, delete the lines from 11 on",
    ):
        read_structures(file(text))


def test_a_row_cut_off_in_the_middle_is_named(file):
    with pytest.raises(ValueError, match=r"frame 1 .*cut off in the row of atom 2; complete frames before it: 1"):
        read_structures(file(WATER + WATER[:-11]))


def test_a_row_that_is_too_short_says_what_was_announced(file):
    with pytest.raises(ValueError, match=r"frame 0 .*atom 2 has 5 columns, the header announces 7: species \(1\), pos"):
        read_structures(file(WATER[:-11] + "\n"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("3\n", "three\n", "line 1 must hold the number of atoms .*got 'three'"),
        ("3\n", "0\n", "line 1 must hold the number of atoms .*got '0'"),
        ("3\n", "-3\n", "line 1 must hold the number of atoms .*got '-3'"),
        ("3\n", "2\n", "frame 1 .*line 5 must hold the number of atoms"),
        ("O 0.0", "O inf", r"atom 0 is at \[inf, 0.0, 0.1\], which is not finite"),
        ("H 0.0 0.7", "H 0.0 nan", "atom 1 is at .*not finite"),
        ("H 0.0 0.7", "H 0.0 zero", "pos of atom 1 is no number: 'zero'; write it as in"),
        ("O 0.0", "Ox 0.0", "atom 0 is of an unknown element 'Ox'; did you mean O"),
        ("O 0.0", "8 0.0", "atom 0 is of an unknown element '8'"),
        ("O 0.0", "O 0.0 0.0", "atom 0 has 8 columns, the header announces 7"),
        ("species:S:1:pos:R:3", "species:S:1", r"must announce species:S:1 \(or Z:I:1\) and pos:R:3"),
        ("pos:R:3", "pos:R", "the header cannot be parsed"),
        (
            "pos:R:3",
            "pos:Q:3",
            "the header cannot be parsed: Properties give 'pos' the type 'Q', allowed are R, I, S and L",
        ),
        ("Properties=species", "=5 Properties=species", "the header cannot be parsed"),
        ('pbc="F F F"', 'Lattice="1 2 3"', "the header cannot be parsed"),
        ('pbc="F F F"', 'Lattice="inf 0 0 0 1 0 0 0 1"', r"the cell \(Lattice\) is not finite"),
        ('pbc="F F F"', 'pbc="F T F"', "is periodic .pbc. along lattice vector 1, which is zero"),
    ],
)
def test_what_is_wrong_with_a_frame_is_said(file, old, new, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_structures(file(WATER.replace(old, new, 1)))
    assert str(caught.value).startswith(str(file(WATER)))


@pytest.mark.parametrize("number", [-1, 0, 119])
def test_atomic_numbers_that_no_element_has_are_an_error(file, number):
    text = WATER.replace("species:S:1", "Z:I:1").replace("O 0.0", f"{number} 0.0").replace("H 0.0", "1 0.0")
    with pytest.raises(ValueError, match=rf"frame 0 .*atom 0 .*atomic number {number}"):
        read_structures(file(text))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("REF_energy=-76.5", "", "there is no 'REF_energy', only REF_forces; name it with energy_key"),
        ("REF_energy=-76.5", "REF_energy=nan", "REF_energy must be one finite number in eV, got nan"),
        ("REF_energy=-76.5", "REF_energy=-inf", "REF_energy must be one finite number in eV, got -inf"),
        ("REF_energy=-76.5", 'REF_energy="1 2"', "REF_energy must be one finite number in eV, got array"),
        ("REF_energy=-76.5", "REF_energy", "REF_energy must be one finite number in eV, got True"),
        ("REF_energy=-76.5", "REF_energy=low", "REF_energy must be one finite number in eV, got 'low'"),
        (
            "REF_forces:R:3",
            "DFT_force:R:3",
            "there is no 'REF_forces', only DFT_force, REF_energy; name it with forces_k",
        ),
        ("REF_forces:R:3", "REF_forces:R:2:rest:R:1", r"three numbers for each of 3 atoms, got the shape \(3, 2\)"),
        ("REF_forces:R:3", "REF_forces:S:3", r"got the shape \(3, 3\) of <U4"),
        ("0.5 -0.5", "nan -0.5", r"REF_forces of atom 1 is \[0.0, nan, -0.5\], which is not finite"),
    ],
)
def test_what_is_wrong_with_a_label_is_said(file, old, new, message):
    with pytest.raises(ValueError, match=rf"frame 1 \(counting from 0\): .*{message}"):
        read_labelled(file(WATER + WATER.replace(old, new, 1)))
