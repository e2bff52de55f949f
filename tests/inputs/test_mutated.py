"""Extended XYZ that was changed at random: a clean error, or exactly what a strict reader of its text finds in it."""

import math
import re
import shlex
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from ase.data import atomic_numbers
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from sparring.inputs.reading import read_file

MOLECULE = """3
Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-76.5 charge=0 multiplicity=1 pbc="F F F"
O 0.0 0.0 0.119 0.0 0.0 1.25
H 0.0 0.763 -0.477 0.0 0.5 -0.625
H 0.0 -0.763 -0.477 0.0 -0.5 -0.625
"""
CRYSTAL = """2
Lattice="3.6 0.0 0.0 0.0 3.6 0.0 0.0 0.0 5.1" Properties=species:S:1:pos:R:3:forces:R:3:tags:I:1 energy=-7.25 \
stress="0.01 0.0 0.0 0.0 0.01 0.0 0.0 0.0 0.02" free_energy=-7.25 pbc="T T T"
Cu 0.0 0.0 0.0 0.125 0.0 0.0 1
Au 1.8 1.8 2.55 -0.125 0.0 0.0 2
"""
CHARGED = """2
Properties=species:S:1:pos:R:3:REF_forces:R:3:move_mask:L:1 REF_energy=-112.5 charge=-1 note="a \\"word\\", or two"
C 0.0 0.0 0.0 0.0 0.0 0.5 T
N 0.0 0.0 1.17 0.0 0.0 -0.5 F
"""
TEXTS = (MOLECULE, CRYSTAL, CHARGED, MOLECULE + CRYSTAL, CRYSTAL + "\n" + CHARGED + MOLECULE)
NUMBERS = (
    "0.25",
    "-3.75",
    "2.5e-1",
    "2",
    "-1.0E1",
    "+.5",
    "0.125",
    "4.0",
    "-0.75",
    "1e-3",
    "1e4",
    "123.456",
    "-0.0",
    "7e-5",
)
WORDS = (
    *("cu", "Pt", "True", "F", "2", "-2", "1.0"),
    *(
        "nan",
        "inf",
        "-inf",
        "1e400",
        "1e12",
        "-1e12",
        "1e30",
        "1e-30",
        "1e9",
        "0",
        "-1",
        "1.5",
        "-0.0",
        "1_0",
        "٣",
        "\uff11",
        "0x10",
        "1d3",
    ),
    *(
        "1+2j",
        "",
        "T",
        "F",
        "X",
        "Og",
        "D",
        "Cu1",
        "6",
        "118",
        "abc",
        "[1,2]",
        "--1",
        "1,5",
        "9" * 25,
        "******",
        "null",
        "None",
    ),
)
FRAGMENTS = (
    *(
        " REF_energy=-3.5 ",
        ' energy="1 2" ',
        " free_energy=nan ",
        " charge=1e9 ",
        " charge=0.5 ",
        " multiplicity=0 ",
        " spin=7 ",
    ),
    *(
        ' pbc="T T T" ',
        ' pbc="T F" ',
        ' Lattice="1e-6 0 0 0 1e-6 0 0 0 1e-6" ',
        ' Lattice="1 0 0 1 0 0 0 0 1" ',
        " cell=7 ",
    ),
    *(
        ' stress="1 2 3 4 5 6 7 8 9" ',
        ' x="_JSON {" ',
        ' x="_JSON ' + "[" * 60 + '" ',
        ' x="',
        " '",
        " {",
        " = ",
        "\\",
        '"',
    ),
    *(
        "\0",
        "\x1b",
        "\r",
        "\ufeff",
        "\u2028",
        "\u00a0",
        "\n",
        "\n\n",
        "\t",
        " 7",
        "é",
        ":R:9",
        ":R:99999999",
        ":S:1",
        "H 0 0 0\n",
    ),
)
FARTHEST, LARGEST_FORCE, LARGEST_ENERGY, SECONDS = 1e5, 1e8, 1e11, 10


class TooSlow(BaseException):
    """A case that takes longer than it may; no reader catches it."""


@contextmanager
def at_most(seconds):
    def stop(*_):
        raise TooSlow

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@st.composite
def mutations(draw):
    """A file, changed in one to three places: bytes, words, lines, or fragments of the format."""
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.sampled_from((1, 1, 2, 3)))):
        kind = draw(
            st.sampled_from(
                (
                    "number",
                    "number",
                    "word",
                    "word",
                    "fragment",
                    "fragment",
                    "delete",
                    "character",
                    "line",
                    "swap",
                    "cut",
                )
            )
        )
        place = draw(st.integers(0, max(len(text) - 1, 0)))
        if kind == "number":
            start, end = draw(
                st.sampled_from([found.span() for found in re.finditer(r"-?[0-9]+\.[0-9]+", text)] or [(0, 0)])
            )
            text = text[:start] + draw(st.sampled_from(NUMBERS)) + text[end:]
        elif kind == "word":
            words = [found.span() for found in re.finditer(r"[^\s=\"]+", text)] or [(0, 0)]
            start, end = words[draw(st.integers(0, len(words) - 1))]
            text = text[:start] + draw(st.sampled_from(WORDS)) + text[end:]
        elif kind == "fragment":
            text = text[:place] + draw(st.sampled_from(FRAGMENTS)) + text[place:]
        elif kind == "delete":
            text = text[:place] + text[place + draw(st.integers(1, 12)) :]
        elif kind == "character":
            text = text[:place] + draw(st.characters(codec="utf-8")) + text[place + 1 :]
        elif kind == "cut":
            text = text[:place]
        else:
            lines = text.split("\n")
            one, other = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            if kind == "swap":
                lines[one], lines[other] = lines[other], lines[one]
            else:
                lines.insert(other, lines[one])
            text = "\n".join(lines)
    return text.encode()


# --- an independent reader --------------------------------------------------------------------------------------------


def number(word):
    assert re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word), word
    assert math.isfinite(float(word)), word
    return float(word)


def values_of(header):
    """Keys and texts of a comment line, read as words of a shell are."""
    lexer = shlex.shlex(re.sub(r"\s*=\s*", "=", header), posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.quotes = True, "", "\"'"
    pairs = [word.partition("=") for word in lexer]
    return {key: value for key, sign, value in pairs if sign}


def frames_in(content):
    """Every frame of a text with its header and rows, read in the plainest way."""
    lines = content.decode("utf-8-sig").split("\n")
    while lines:
        if not lines[0].strip():
            lines.pop(0)
            continue
        n_atoms = int(lines[0])
        assert str(n_atoms) == lines[0].strip().lstrip("0")
        yield values_of(lines[1]), [line.split() for line in lines[2 : 2 + n_atoms]], n_atoms
        lines = lines[2 + n_atoms :]


def check_frame(atoms, header, rows, n_atoms):
    """Assert that a structure is what its text says, and that it can be one."""
    assert len(rows) == n_atoms == len(atoms)
    fields = header.get("Properties", "species:S:1:pos:R:3").split(":")
    names, widths = fields[::3], [int(width) for width in fields[2::3]]
    starts = dict(zip(names, np.cumsum([0, *widths[:-1]]).tolist(), strict=True))
    assert all(len(row) == sum(widths) for row in rows)
    assert [row[starts["species"]].capitalize() for row in rows] == atoms.get_chemical_symbols()
    assert all(0 < atomic_numbers[symbol] < 100 for symbol in atoms.get_chemical_symbols())

    def columns(name):
        return np.array([[number(word) for word in row[starts[name] : starts[name] + 3]] for row in rows])

    np.testing.assert_array_equal(atoms.positions, columns("pos"))
    assert np.abs(atoms.positions).max() <= FARTHEST
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any())) + np.eye(n_atoms)
    assert distances.min() > 0.01
    cell = np.array([number(word) for word in header.get("Lattice", "0 " * 9).split()]).reshape(3, 3)
    np.testing.assert_array_equal(atoms.cell.array, cell)
    assert np.abs(cell).max() <= 1e10
    flags = header.get("pbc", "T T T" if "Lattice" in header else "F F F").split()
    assert atoms.pbc.tolist() == [flag in ("T", "True", "1", "true", "TRUE") for flag in (flags * 3)[:3]]
    assert all(0.5 <= np.linalg.norm(cell[axis]) <= 1e4 for axis in np.flatnonzero(atoms.pbc))
    energies = [header[name] for name in ("REF_energy", "free_energy", "energy", "total_energy") if name in header]
    if "REF_energy" in atoms.info:
        assert atoms.info["REF_energy"] == number(energies[0])
        assert abs(number(energies[0])) <= LARGEST_ENERGY
        assert not {"nan", "inf", "-inf", "1e400"} & {*energies}
    else:
        assert not energies
    forces = [name for name in ("REF_forces", "forces") if name in starts]
    if "REF_forces" in atoms.arrays and n_atoms > 1:
        np.testing.assert_array_equal(atoms.arrays["REF_forces"], columns(forces[0]))
        assert np.abs(atoms.arrays["REF_forces"]).max() <= LARGEST_FORCE
    elif n_atoms > 1:
        assert not forces
    if "REF_stress" in atoms.info:
        matrix = np.array([number(word) for word in header["stress"].split()])
        assert matrix.size in (6, 9)
        assert np.abs(atoms.info["REF_stress"]).max() <= min(np.abs(matrix).max() * 1.01, 1e4)
    check_electrons(atoms, header)


def check_electrons(atoms, header):
    """Assert that charge and multiplicity are whole numbers that fit the electrons."""
    for name in ("charge", "multiplicity"):
        if name in header:
            assert atoms.info[name] == number(header[name]) == int(atoms.info[name])
    n_electrons = int(atoms.numbers.sum()) - atoms.info.get("charge", 0)
    assert 0 <= n_electrons <= atoms.numbers.sum() + 4 * len(atoms)
    unpaired = atoms.info.get("multiplicity", 1 + n_electrons % 2) - 1
    assert 0 <= unpaired <= n_electrons
    assert (n_electrons - unpaired) % 2 == 0


def read(path):
    """The structures, or None for a clean error."""
    with at_most(SECONDS):
        try:
            return read_file(path).structures
        except ValueError as error:
            message = str(error)
            assert message.startswith(str(path)), message
            assert "\n" not in message.rstrip(), message
            assert re.search(r"; |\bmust\b|\bwanted\b|\ballowed\b|set atoms\.info", message), f"no remedy: {message}"
            return None


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated") / "set.xyz"


@pytest.mark.parametrize("text", TEXTS)
def test_the_independent_reader_finds_in_a_sound_file_what_sparring_finds(path, text):
    path.write_text(text)
    structures = read(path)
    for atoms, frame in zip(structures, frames_in(text.encode()), strict=True):
        check_frame(atoms, *frame)


counts = {"read": 0, "refused": 0}


@seed(24)
@settings(
    max_examples=800,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(content=mutations())
def test_a_changed_file_is_refused_in_one_line_or_read_as_it_is_written(path, content):
    path.write_bytes(content)
    structures = read(path)
    counts["refused" if structures is None else "read"] += 1
    if structures is not None:
        for atoms, frame in zip(structures, frames_in(content), strict=True):
            check_frame(atoms, *frame)


@pytest.mark.parametrize("text", [MOLECULE, CRYSTAL, CHARGED])
def test_a_file_cut_off_at_any_byte_is_refused_or_has_only_its_last_number_shortened(path, text):
    for end in range(len(text)):
        path.write_bytes(text.encode()[:end])
        structures = read(path)
        if structures is not None:
            ((header, rows, n_atoms),) = frames_in(text.encode()[:end])
            check_frame(structures[0], header, rows, n_atoms)
            assert end > text.rindex(" ")
