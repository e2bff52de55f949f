"""Numbers, columns, quotes and files that pass as structures elsewhere are refused, with the remedy."""

import gzip
import os

import pytest

from sparring.inputs.reading import read_atoms

HEADER = 'Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.0 pbc="F F F"'
PAIR = f"2\n{HEADER}\nCu 0 0 0 0 0 0\nAg 2.5 0 0 0 0 0\n"


def with_column(announced, word):
    return PAIR.replace("REF_forces:R:3", f"REF_forces:R:3:{announced}").replace(" 0 0 0\n", f" 0 0 0 {word}\n")


@pytest.fixture
def file(tmp_path):
    def write(content):
        (tmp_path / "set.xyz").write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "set.xyz"

    return write


@pytest.mark.parametrize(
    ("announced", "word", "message"),
    [
        ("REF_forces_mask:I:1", "1", "Properties announce REF_forces_mask:I:1, wanted REF_forces_mask:L:1"),
        ("REF_forces_mask:L:3", "T F T", "wanted REF_forces_mask:L:1; correct the column"),
        ("REF_forces_mask:L:1", "2", "REF_forces_mask of atom 0 must be T or F, got '2'"),
        ("move_mask:L:2", "T F", "Properties give 'move_mask' 2 columns, allowed are 1 and 3"),
        ("initial_magmoms:S:1", "up", "wanted initial_magmoms:R:1"),
        ("initial_magmoms:R:1", "nan", "initial_magmoms of atom 0 is nan, allowed is -100 to 100; correct the column"),
        ("initial_charges:R:1", "1e9", "initial_charges of atom 0 is 1000000000.0, allowed is -100 to 100"),
        ("masses:R:1", "-1", "masses of atom 0 is -1.0, allowed is above 0"),
        ("momenta:R:3", "0 inf 0", r"momenta of atom 0 is \[0.0, inf, 0.0\], allowed is finite"),
        ("tags:R:1", "0.5", "wanted tags:I:1"),
        ("tags:I:1", "9" * 25, "tags of atom 0 is no whole number of up to 18 digits: '9+'; correct it"),
        ("x:R:1", "1d3", "x of atom 0 is no number: '1d3'; write it as in -1.5 or 2e-3"),
        ("numbers:I:1", "1", "Properties call a column 'numbers', which extended XYZ calls 'Z'; rename it"),
        ("symbols:S:1", "H", "which extended XYZ calls 'species'"),
        ("positions:R:3", "1 2 3", "which extended XYZ calls 'pos'"),
        (":R:1", "1", "a column without a name; give it one"),
    ],
)
def test_columns_that_mean_nothing_are_refused(file, announced, word, message):
    with pytest.raises(ValueError, match=rf"set\.xyz, frame 0 \(counting from 0\): .*{message}"):
        read_atoms(file(with_column(announced, word)))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("REF_energy=-1.0", "REF_energy=-1.0 free_energy=nan", "free_energy must be one finite number in eV, got nan"),
        ("REF_energy", "charge=-1000 REF_energy", "charge=-1000 adds 1000 electrons to 2 atoms, allowed are 4 an atom"),
        ("REF_energy", "charge=1e9 REF_energy", "has only 76 electrons to lose"),
        ("REF_energy", "multiplicity=0 REF_energy", "cannot have multiplicity 0"),
        ("REF_energy", "multiplicity=1.5 REF_energy", "multiplicity must be a whole number, got 1.5"),
        ('pbc="F F F"', 'pbc="F F F" x="abc', "a quote is opened and never closed: 'abc'; close it"),
        ('pbc="F F F"', "pbc={F F F", "a quote is opened and never closed"),
        (
            "REF_energy",
            'x="_JSON {\\"a\\": 1, \\"a\\": 2}" REF_energy',
            "the JSON of x is not valid .a key stands twice",
        ),
        ("REF_energy", 'x="_JSON \\"\\\\ud800\\"" REF_energy', "the JSON of x is not valid"),
        ("REF_energy", f"x={'a' * 1_000_001} REF_energy", "characters, allowed are 1,000,000; keep what is needed"),
        ("Cu", "C" * 1_000_001, "the row of atom 0 has 1,000,0.. characters, allowed are 1,000,000"),
        ("REF_forces:R:3", "x:R:3", "there is no 'REF_forces', only"),
        (
            "REF_forces:R:3 REF_energy",
            'x:S:3 forces="1 2 3 4 5 6" energy',
            "forces stands in the header with 6 numbers; forces belong into columns",
        ),
        ("2\n", "3\n", "3 atoms announced, 2 rows found"),
    ],
)
def test_headers_that_mean_nothing_are_refused(file, old, new, message):
    with pytest.raises(ValueError, match=rf"set\.xyz, frame 0 \(counting from 0\): .*{message}"):
        read_atoms(file(PAIR.replace(old, new, 1)))


@pytest.mark.parametrize(
    ("lattice", "periodic", "message"),
    [
        ("1e30 0 0 0 1e30 0 0 0 1e30", "F F F", r"lattice vector 0 is 1e\+30 Å long, which is no length"),
        ("1e-6 0 0 0 9 0 0 0 9", "F T T", "lattice vector 0 is 1e-06 Å long, which is no length"),
        ("0.6 0 0 0 9 0 0 0 9", "T T T", "a lattice vector of 0.6 Å puts Ag onto its own image"),
    ],
)
def test_cells_that_no_atoms_fit_into_are_refused(file, lattice, periodic, message):
    cell = f'Lattice="{lattice}" pbc="{periodic}"'
    with pytest.raises(ValueError, match=message):
        read_atoms(file(PAIR.replace('pbc="F F F"', cell).replace("2.5 0 0", "1.3 4.5 2")))


def test_a_stress_that_no_matter_has_is_refused(file):
    cell = 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T T" REF_stress="1e12 0 0 0 1 0 0 0 1"'
    with pytest.raises(ValueError, match=r"REF_stress has a component of 1e\+12 eV/Å³, which no matter has"):
        read_atoms(file(PAIR.replace('pbc="F F F"', cell)))


def test_an_asymmetric_stress_in_the_header_is_seen_although_ase_takes_one_half(file):
    cell = 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T T" stress="0.1 0.05 0 0 0.1 0 0 0 0.1"'
    text = PAIR.replace('pbc="F F F"', cell).replace("REF_energy", "energy").replace("REF_forces", "forces")
    with pytest.raises(ValueError, match=r"stress is not symmetric .*correct it, remove it, or label it again"):
        read_atoms(file(text))


def test_a_lone_atom_has_no_force(file):
    with pytest.raises(ValueError, match=r"a lone atom has no force, REF_forces is \[9\.0, 0\.0, 0\.0\] eV/Å"):
        read_atoms(file(f"1\n{HEADER}\nCu 0 0 0 9 0 0\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PAIR.replace("Cu", "C\0u"), r"set\.xyz: this is no text file \(byte \d+ is zero\), .*; give the text file"),
        (PAIR.replace("Cu", "Cu\x1b[31m"), r"set\.xyz: there is a control character, '\\x1b', in line 3; remove it"),
        (PAIR.replace("\n", "\r"), r"set\.xyz: the carriage return '\\r' ends no line .*: tr '\\r' '\\n' < set\.xyz"),
        (PAIR.encode("utf-16"), r"set\.xyz: this is UTF-16 text; convert it: iconv -f UTF-16"),
        (PAIR.encode("utf-32"), r"set\.xyz: this is UTF-32 text; convert it: iconv -f UTF-32"),
        (b"", r"set\.xyz: the file has no structures"),
    ],
)
def test_a_file_that_is_no_plain_text_is_refused(file, content, message):
    with pytest.raises(ValueError, match=message):
        read_atoms(file(content))


@pytest.mark.parametrize("ends", ["\r\n", "\r\r\n"])
def test_line_ends_of_other_systems_are_read(file, ends):
    (atoms,) = read_atoms(file(b"\xef\xbb\xbf" + PAIR.replace("\n", ends).encode()))
    assert atoms.get_chemical_formula() == "AgCu"
    (atoms,) = read_atoms(file(PAIR.replace("\n", ends, 2)))
    assert atoms.info["REF_energy"] == -1.0


def test_what_is_no_ordinary_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.xyz")
    (tmp_path / "zero.xyz").symlink_to("/dev/zero")
    (tmp_path / "folder.xyz").mkdir()
    (tmp_path / "loop.xyz").symlink_to(tmp_path / "loop.xyz")
    for name in ("pipe", "zero"):
        with pytest.raises(
            ValueError, match=rf"{name}\.xyz: this is no ordinary file but a pipe or a device; write its"
        ):
            read_atoms(tmp_path / f"{name}.xyz")
    with pytest.raises(ValueError, match=r"folder\.xyz: a folder is not read"):
        read_atoms(tmp_path / "folder.xyz")
    with pytest.raises(OSError, match=r"loop\.xyz"):
        read_atoms(tmp_path / "loop.xyz")


def test_a_file_that_grows_without_end_when_it_is_decompressed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("sparring.inputs.texts.SMALL", 100_000)
    (tmp_path / "bomb.xyz.gz").write_bytes(gzip.compress(b" " * 5_000_000))
    with pytest.raises(
        ValueError, match=r"bomb\.xyz\.gz: the file grows from 0\.00\d+ MB to more than .* MB when it is"
    ):
        read_atoms(tmp_path / "bomb.xyz.gz")
    (tmp_path / "bomb.cif.gz").write_bytes(gzip.compress(b" " * 5_000_000))
    with pytest.raises(ValueError, match=r"bomb\.cif\.gz: .*the file grows from"):
        read_atoms(tmp_path / "bomb.cif.gz")


def test_a_file_that_is_too_large_is_refused_before_it_is_read(file, monkeypatch):
    monkeypatch.setattr("sparring.inputs.texts.LARGEST_FILE", 100)
    with pytest.raises(ValueError, match=r"set\.xyz: the file has .* GiB are read; part it"):
        read_atoms(file(PAIR))
