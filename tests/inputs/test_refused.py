"""Files that no structure can be made of are refused at once, in one line that names file and frame."""

import random
import time

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixBondLength, FixCartesian

from sparring.inputs.extxyz import read_structures, write_structures
from sparring.inputs.header import parse_header
from sparring.inputs.names import TABLE, table
from sparring.inputs.reading import read_atoms

HEADER = 'Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=1.0 pbc="F F F"'
PAIR = f"2\n{HEADER}\nCu 0 0 0 0 0 0\nAg 2.5 0 0 0 0 0\n"
PERIODIC = PAIR.replace('pbc="F F F"', 'pbc="T T T" Lattice="{}"')


@pytest.fixture
def file(tmp_path):
    def write(text):
        (tmp_path / "set.xyz").write_text(text)
        return tmp_path / "set.xyz"

    write.folder = tmp_path
    return write


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "REF_forces:R:3",
            "REF_forces:R:3:x:R:4000000000",
            "Properties give 'x' 4000000000 columns, allowed are 1 to 10",
        ),
        ("REF_forces:R:3", "REF_forces:R:3:x:R:0", "Properties give 'x' 0 columns"),
        ("REF_forces:R:3", "REF_forces:R:3:x:R:-3", "Properties must be a list of name:type:width"),
        ("REF_forces:R:3", "REF_forces:R:9999", "atom 0 has 7 columns, the header announces 10003"),
        ("REF_forces:R:3", "pos:R:3", "Properties announce 'pos' twice"),
        ("pos:R:3", "pos:L:3", "must announce pos:R:3, got pos:L:3"),
        ("pos:R:3", "pos:I:3", "must announce pos:R:3, got pos:I:3"),
        ("species:S:1", "species:R:1", "must announce species:S:1, got species:R:1"),
        (
            "REF_energy=1.0",
            "REF_energy=1.0 REF_energy=1e3",
            r"REF_energy stands twice, as '1\.0' and '1e3'; keep the right",
        ),
        ("REF_energy=1.0", "REF_energy=1.0 a=1 b=2 a=1", "a stands twice"),
        ("REF_energy=1.0", 'REF_energy=1.0 x="_JSON ' + "[" * 3000 + '"', "the JSON of x is nested 3000 levels deep"),
        ("REF_energy=1.0", 'REF_energy=1.0 x="_JSON {"', "the JSON of x is not valid"),
        ("REF_energy=1.0", 'name="REF_energy=1.0', "a quote ends in the middle of a word, after 'REF_energy=1.0 pbc='"),
        ("REF_energy=1.0", "name='REF_energy=1.0", "a quote is opened and never closed: 'REF_energy=1.0 pbc="),
        ("REF_energy=1.0", "REF_energy=1_000.5", r"REF_energy must be one finite number in eV, got '1_000\.5'"),
        ("REF_energy=1.0", "REF_energy=nan", "REF_energy must be one finite number in eV, got nan"),
        ("Ag 2.5", "Ag 2_5", "pos of atom 1 is no number: '2_5'; write it in plain digits"),
        ("Ag 2.5", "Ag ٢.٣", "pos of atom 1 is no number: '٢.٣'"),
        ("Ag 2.5", "Ag 1e7", r"atom 1 is at \[10000000.0, 0.0, 0.0\], farther than 100000 Å"),
        ("Ag 2.5", "Og 2.5", r"atom 1 is Og \(atomic number 118\); potentials support elements up to Es \(99\)"),
        ("Ag 2.5", "X 2.5", "atom 1 is the dummy X"),
        ("Ag 2.5", "47 2.5", "a number stands where a symbol belongs; write Ag if it is an atomic number"),
        ("Ag 2.5", "Ag 0.0", r"atoms 0 \(Cu\) and 1 \(Ag\) are in one place \(0 Å apart\)"),
        ("Ag 2.5 0 0 0", "Ag 2.5 0 0 1e12", r"the force on atom 1 is 1e\+12 eV/Å"),
        ("2\n", "-1\n", "must hold the number of atoms of the next frame, got '-1'"),
        ("2\n", "٢\n", "must hold the number of atoms"),
        ("2\n", "1000000000\n", "1000000000 atoms announced, 2 rows found"),
        ("Properties=species:S:1:pos:R:3:REF_forces:R:3", "", "without Properties in the comment line there are 4"),
        ("pbc=", 'lattice="9 0 0 0 9 0 0 0 9" pbc=', "'lattice' is written 'Lattice' in extended XYZ"),
        ("pbc=", 'cell="9 0 0 0 9 0 0 0 9" pbc=', "'cell' looks like a cell, which extended XYZ calls Lattice"),
        (
            "pbc=",
            'Lattice="9 0 0 0 9 0 0 0 9" pbc=TTF x=',
            'pbc must be T or F along each .* as in pbc="T T F", got .TTF',
        ),
        ("pbc=", "pbc=yes x=", "pbc must be T or F along each of three lattice vectors"),
        ("F F F", "T T", "pbc must be T or F along each of three lattice vectors"),
        ("REF_energy=1.0", "REF_energy=1.0 stress=none", "stress must be numbers, nine for a Lattice, got 'none'"),
        ("Properties=", "properties=", "without Properties in the comment line there are 4"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_in_one_line(file, old, new, message):
    path = file(PAIR.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        read_atoms(path)
    assert str(caught.value).startswith(f"{path}, frame 0 (counting from 0): ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lattice", "message"),
    [
        ("1e-6 0 0 0 1e-6 0 0 0 1e-6", "lattice vector 0 is 1e-06 Å long, allowed are 0.5 to 10000 Å"),
        ("1e-3 0 0 0 1e-3 0 0 0 1e-3", "lattice vector 0 is 0.001 Å long"),
        ("12 0 0 0 1e-3 0 0 0 12", "lattice vector 1 is 0.001 Å long"),
        ("1e7 0 0 0 12 0 0 0 12", r"lattice vector 0 is 1e\+07 Å long"),
        ("5 0 0 5 0 0 0 0 5", "lie in a plane or a line"),
        ("5 0 0 0 5 0 5 5 0", "lie in a plane or a line"),
        ("5 0 0 0 5 0 5 5 1e-9", "lie in a plane or a line"),
        ("9 0 0 0 9 0 0 0 0", "is periodic .pbc. along lattice vector 2, which is zero"),
        ("nan 0 0 0 9 0 0 0 9", "is not finite"),
        ("9 9 9", "Lattice must be nine numbers, got 3"),
        ("9 0 0 0 9 0 0 0 1_0", "Lattice must be numbers, nine for a Lattice, got .9 0 0 0 9 0 0 0 1_0."),
        ("2.5 0 0 0 9 0 0 0 9", r"atoms 0 \(Cu\) and 1 \(Ag\) are in one place"),
    ],
)
def test_a_lattice_that_is_none_is_refused_at_once(file, lattice, message):
    started = time.monotonic()
    with pytest.raises(ValueError, match=message):
        read_atoms(file(PERIODIC.format(lattice)))
    assert time.monotonic() - started < 5  # a hang, not a measurement


@pytest.mark.parametrize(
    "lattice", ["2.55 0 0 1.27 2.2 0 1.27 0.73 2.08", "500 0 0 0 3 0 0 0 3", "9 0 0 0 9 0 8.9 0 1.5"]
)
def test_lattices_of_real_crystals_are_fine(file, lattice):
    (atoms,) = read_structures(file(PERIODIC.format(lattice).replace("2.5 0 0", "1.3 0.7 0")))
    assert atoms.pbc.all()


def test_a_cell_that_does_not_repeat_may_be_anything(file):
    (atoms,) = read_atoms(file(PERIODIC.format("1e-3 0 0 0 1e9 0 0 0 0").replace("T T T", "F F F")))
    assert not atoms.pbc.any()


@pytest.mark.parametrize("pbc", ["T T T", "T T F", "F F T"])
def test_atoms_in_one_place_are_found_through_the_walls(file, pbc):
    crystal = bulk("Cu", cubic=True)
    crystal.pbc = [one == "T" for one in pbc.split()]
    crystal.positions[1] = crystal.positions[0] + crystal.cell.array[crystal.pbc].sum(axis=0) - 0.001
    crystal.positions += 0.0005
    with pytest.raises(ValueError, match=r"atoms 0 \(Cu\) and 1 \(Cu\) are in one place \(0\.0017 Å apart\)"):
        read_atoms(_written(file, crystal))


def _written(file, atoms):
    path = file("")
    write_structures(path, [atoms])
    return path


@pytest.mark.parametrize("word", ["0", "1", "yes", "true", "t"])
def test_a_truth_value_that_ase_takes_for_false_is_refused(file, word):
    text = f"2\nProperties=species:S:1:pos:R:3:move_mask:L:1\nCu 0 0 0 T\nAg 2.5 0 0 {word}\n"
    with pytest.raises(ValueError, match=f"move_mask of atom 1 must be T or F, got '{word}'; correct the column"):
        read_atoms(file(text))


# --- the header -----------------------------------------------------------------------------------------------------


def test_an_empty_value_does_not_swallow_what_follows():
    assert parse_header('a="" energy=-5.0').info == {"a": "", "energy": -5.0}


def test_a_word_that_only_python_takes_for_a_number_stays_a_word():
    info = parse_header("run=2024_01 half=½ id=٣ big=99999999999999999999").info
    assert info == {"run": "2024_01", "half": "½", "id": "٣", "big": 1e20}


def test_two_columns_that_name_different_elements_are_refused(file):
    text = "2\nProperties=species:S:1:pos:R:3:Z:I:1\nCu 0 0 0 29\nAg 2.5 0 0 29\n"
    with pytest.raises(ValueError, match="atom 1 is Ag by its species and number 29 by its Z; correct one"):
        read_atoms(file(text))


def test_a_key_of_the_header_may_be_called_as_a_column_is(file):
    atoms = Atoms("H", info={"Z": 1, "species": "hydrogen", "numbers": 7})
    assert read_structures(_written(file, atoms))[0].info == atoms.info
    atoms.arrays["Z"] = np.array([1])
    with pytest.raises(ValueError, match="'Z' would hide what the format itself means by it"):
        write_structures(file(""), [atoms])


def test_large_integers_come_back_exactly(file):
    atoms = Atoms("H", info={"seed": 2**62 + 1, "name": "1_0", "rows": [[1], [2, 3]]})
    assert read_structures(_written(file, atoms))[0].info == atoms.info


# --- what is written and read again ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraints",
    [
        [FixAtoms([1, 2])],
        [FixAtoms([0]), FixCartesian([1], (True, False, False))],
        [FixCartesian([0, 3], (False, True, True))],
        [FixAtoms([0, 1, 2, 3])],
        [],
    ],
)
def test_fixed_atoms_tags_and_moments_come_back_exactly(file, constraints):
    crystal = bulk("Cu", cubic=True)
    crystal.set_constraint(constraints)
    crystal.set_tags([0, 1, 2, 3])
    crystal.set_initial_magnetic_moments([1 / 3, -0.1, 0.0, 2e-300])
    crystal.set_initial_charges([0.1, 0.2, 0.3, -0.6])
    crystal.info.update(charge=-1, multiplicity=2, config_type="bulk")
    path = _written(file, crystal)
    (read,) = read_structures(path)
    assert [repr(one) for one in read.constraints] == [repr(one) for one in constraints]
    for name in ("tags", "initial_magmoms", "initial_charges", "positions"):
        assert read.arrays[name].tobytes() == crystal.arrays[name].tobytes()
    assert read.info == crystal.info
    before = path.read_bytes()
    assert _written(file, read).read_bytes() == before


def test_magnetic_moments_may_be_vectors(file):
    atoms = Atoms("Fe2", [[0, 0, 0], [0, 0, 2]], magmoms=[[0, 0.1, 2.0], [0, 0, -2.0]])
    (read,) = read_structures(_written(file, atoms))
    assert read.get_initial_magnetic_moments().tolist() == [[0, 0.1, 2.0], [0, 0, -2.0]]


def test_a_constraint_that_would_be_lost_is_not_written(file):
    atoms = Atoms("H2", [[0, 0, 0], [0, 0, 1]], constraint=FixBondLength(0, 1))
    with pytest.raises(ValueError, match=r"the constraint FixBondLengths?, which cannot be kept when atoms move"):
        write_structures(file(""), [atoms])


# --- anything at all ------------------------------------------------------------------------------------------------

SOUND = (
    '3\nLattice="9.1 0 0 0 8.7 0 0.3 0 9.9" Properties=species:S:1:pos:R:3:REF_forces:R:3:move_mask:L:1:tags:I:1 '
    'REF_energy=-76.5 charge=0 spin=1 config_type="a b" x="_JSON [1, 2]" pbc="T T F"\n'
    "O 0.0 0.0 0.1 0.0 0.0 1.0 T 0\nH 0.0 0.7 -0.5 0.0 0.5 -0.5 F 1\nH 0.0 -0.7 -0.5 0.0 -0.5 -0.5 T 1\n"
)
PIECES = [
    "nan",
    "1e999",
    "-",
    "0",
    "\x00",
    "=",
    '"',
    "{",
    "T",
    " ",
    "\n",
    "é",
    "_",
    "1e-7",
    "99999",
    ":",
    "Og",
    "²",
    "\\",
]


def _mutated(generator):
    text = SOUND
    for _ in range(generator.randint(1, 3)):
        start = generator.randrange(len(text))
        end = start + generator.choice([0, 1, 1, 2, 5, 30])
        text = text[:start] + generator.choice([*PIECES, text[start:end] * 2, ""]) + text[end:]
    return text


def test_whatever_a_file_says_it_is_read_soundly_or_refused_by_name(file):
    generator = random.Random(0)
    outcomes = set()
    for number in range(300):
        frames, refusal = _outcome(file(_mutated(generator)))
        assert refusal == "" or refusal.startswith(f"{file.folder / 'set.xyz'}")
        assert "\n" not in refusal
        outcomes.add("refused" if refusal else "read")
        for atoms in frames:
            assert np.isfinite(atoms.positions).all()
            assert ((atoms.numbers > 0) & (atoms.numbers < 100)).all()
            assert np.isfinite(atoms.info.get("REF_energy", 0.0))
            assert np.isfinite(atoms.arrays.get("REF_forces", np.zeros(3))).all()
            if number < 30:
                assert read_structures(_written(file, atoms))[0].positions.tobytes() == atoms.positions.tobytes()
    assert outcomes == {"read", "refused"}


def _outcome(path):
    try:
        return read_atoms(path), ""
    except ValueError as error:
        return [], str(error)


# --- the documentation ----------------------------------------------------------------------------------------------


def test_the_documentation_shows_the_table_that_the_program_reads_by():
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs" / "inputs.md").read_text(encoding="utf-8")
    assert table() in page
    assert all(name in page for row in TABLE for name in row.names)
