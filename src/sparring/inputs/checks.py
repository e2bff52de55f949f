"""Checks that values in a file can be a structure: columns, elements, coordinates, cells, sizes of labels.

Each check is cheap and comes before code that would be slow or fail with such a value: a neighbour search in a
cell of 1e-6 Å does not end, one in a cell of 1e7 Å beside 12 Å kills the process.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers as KNOWN_SYMBOLS
from ase.data import chemical_symbols
from ase.geometry import complete_cell

from sparring.support.suggestions import most_similar

__all__ = [
    "Column",
    "check_atoms",
    "check_cell",
    "check_labels",
    "check_rows",
    "columns_of",
    "require_finite_geometry",
]

MAX_COLUMNS = 10_000
HEAVIEST = 99
"""Largest atomic number that potentials support."""
SHORTEST_VECTOR = 0.5
LONGEST_VECTOR = 1e4
THINNEST_CELL = 0.1
FLATTEST_CELL = 1e-3
FARTHEST = 1e5
SAME_PLACE = 0.01
LARGEST_FORCE = 1e8
LARGEST_ENERGY = 1e11

_TRUTH = ("T", "F", "True", "False")
_GEOMETRY = {"species": ("S", 1), "Z": ("I", 1), "pos": ("R", 3), "move_mask": ("L", None)}
_ODD_NUMBER = re.compile(r"[^+\-.0-9eEa-zA-Z]")


class Column(NamedTuple):
    """A group of columns: the type R, I, S or L, and how many."""

    kind: str
    width: int


# --- the file's text ------------------------------------------------------------------------------------------------


def columns_of(properties: str) -> dict[str, Column]:
    """Columns in the header's Properties.

    Raises:
        ValueError: If it is no list of name:type:width, or species and positions are missing or of another type.
    """
    fields = properties.split(":")
    if len(fields) % 3 or not all(re.fullmatch("[0-9]{1,12}", width) for width in fields[2::3]):
        raise ValueError(f"Properties must be a list of name:type:width, got {properties[:120]!r}")
    columns: dict[str, Column] = {}
    for name, kind, width in zip(fields[::3], fields[1::3], map(int, fields[2::3]), strict=True):
        if name in columns:
            raise ValueError(f"Properties announce {name!r} twice; rename one of the two columns")
        if kind not in ("R", "I", "S", "L"):
            raise ValueError(f"Properties give {name!r} the type {kind!r}, allowed are R, I, S and L")
        if not 1 <= width <= MAX_COLUMNS:
            raise ValueError(f"Properties give {name!r} {width} columns, allowed are 1 to {MAX_COLUMNS:,}; correct it")
        wanted_kind, wanted_width = _GEOMETRY.get(name, (kind, width))
        if kind != wanted_kind or width != (wanted_width or width):
            raise ValueError(
                f"the header's Properties must announce {name}:{wanted_kind}:{wanted_width or 1}, "
                f"got {name}:{kind}:{width}"
            )
        columns[name] = Column(kind, width)
    if "pos" not in columns or not {"species", "Z"} & set(columns):
        raise ValueError(
            f"the header's Properties must announce species:S:1 (or Z:I:1) and pos:R:3, got {properties[:120]!r}"
        )
    return columns


def check_rows(rows: Sequence[str], columns: Mapping[str, Column], *, announced: bool, cut_off: str | None) -> None:
    """Check that every row has the words that its columns need.

    Args:
        rows: Lines of the frame's atoms.
        columns: Groups of columns, in order.
        announced: True if the header has Properties.
        cut_off: Advice if the last row may be incomplete because the file was cut off.

    Raises:
        ValueError: If a row is too short or too long, an element is unknown, or a number is not written as one.
    """
    n_columns = sum(column.width for column in columns.values())
    starts = np.cumsum([0, *(column.width for column in columns.values())]).tolist()
    places = {name: (start, column) for start, (name, column) in zip(starts, columns.items(), strict=False)}
    for index, row in enumerate(rows):
        values = row.split()
        if len(values) < n_columns and cut_off and index == len(rows) - 1:
            raise ValueError(f"the file is cut off in the row of atom {index}; {cut_off}")
        if len(values) != n_columns:
            raise ValueError(_wrong_length(index, len(values), n_columns, columns, announced))
        if "species" in places:
            _check_species(index, values[places["species"][0]])
        if "species" in places and "Z" in places:
            symbol, number = values[places["species"][0]], values[places["Z"][0]]
            if number != str(KNOWN_SYMBOLS[symbol.capitalize()]):
                raise ValueError(f"atom {index} is {symbol} by its species and number {number} by its Z; correct one")
        _check_words(index, row, values, places)


def _wrong_length(index: int, n_values: int, n_columns: int, columns: Mapping[str, Column], announced: bool) -> str:
    names = ", ".join(f"{name} ({column.width})" for name, column in list(columns.items())[:20])
    if announced:
        return (
            f"atom {index} has {n_values} columns, the header announces {n_columns}: {names}; complete the row, or "
            "correct the header's Properties or the number of atoms"
        )
    return (
        f"atom {index} has {n_values} columns; without Properties in the comment line there are {n_columns}: {names}; "
        "name the others, as in Properties=species:S:1:pos:R:3:forces:R:3"
    )


def _check_species(index: int, word: str) -> None:
    if word.capitalize() in KNOWN_SYMBOLS:
        return
    if word.isdecimal():
        number = int(word) if len(word) < 4 else 0
        symbol = chemical_symbols[number] if 0 < number < len(chemical_symbols) else "the symbol"
        raise ValueError(
            f"atom {index} is of an unknown element {word[:20]!r}: a number stands where a symbol belongs; write "
            f"{symbol} if it is an atomic number (or announce Z:I:1 instead of species:S:1), or the element itself"
        )
    near = most_similar(word, chemical_symbols[1:], cutoff=0.3)
    hint = f"; did you mean {near}?" if near else ""
    raise ValueError(f"atom {index} is of an unknown element {word[:20]!r}{hint}")


def _check_words(index: int, row: str, values: list[str], places: Mapping[str, tuple[int, Column]]) -> None:
    """Python takes 1_0 and digits of other scripts for numbers, ASE any word but T for false."""
    odd = "_" in row or not row.isascii()
    for name, (start, column) in places.items():
        words = values[start : start + column.width]
        if column.kind == "L" and not all(word in _TRUTH for word in words):
            raise ValueError(f"{name} of atom {index} must be T or F, got {' '.join(words)!r}; correct the column")
        if odd and column.kind in "RI":
            for word in words:
                if _ODD_NUMBER.search(word):
                    raise ValueError(f"{name} of atom {index} is no number: {word!r}; write it in plain digits")


# --- structures -----------------------------------------------------------------------------------------------------


def require_finite_geometry(atoms: Atoms, where: str, *, allow_dummy: bool) -> None:
    """Check that elements exist, coordinates and cell are finite, and periodic directions have a lattice vector.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    for index, number in enumerate(atoms.numbers):
        if number == 0 and not allow_dummy:
            raise ValueError(
                f"{where}: atom {index} is the dummy X (atomic number 0), which has no chemistry; remove it"
            )
        if not 0 <= number < len(chemical_symbols):
            raise ValueError(
                f"{where}: atom {index} has atomic number {number}, wanted 1 to {len(chemical_symbols) - 1}"
            )
    bad = np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{where}: atom {bad[0]} is at {atoms.positions[bad[0]].tolist()}, which is not finite; remove the frame"
        )
    if not np.isfinite(atoms.cell.array).all():
        raise ValueError(f"{where}: the cell (Lattice) is not finite: {atoms.cell.array.tolist()}; correct it")
    flat = [axis for axis in range(3) if atoms.pbc[axis] and not atoms.cell.array[axis].any()]
    if flat:
        raise ValueError(
            f"{where}: it is periodic (pbc) along lattice vector {flat[0]}, which is zero; "
            'give a Lattice or pbc="F F F"'
        )


def check_cell(atoms: Atoms, where: str) -> None:
    """Check that the periodic lattice vectors have plausible lengths and span a lattice.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    vectors = atoms.cell.array[atoms.pbc]
    lengths = np.linalg.norm(vectors, axis=1)
    for number, length in zip(np.flatnonzero(atoms.pbc), lengths, strict=True):
        if not SHORTEST_VECTOR <= length <= LONGEST_VECTOR:
            raise ValueError(
                f"{where}: lattice vector {number} is {length:.4g} Å long, allowed are {SHORTEST_VECTOR:g} to "
                f"{LONGEST_VECTOR:g} Å where it repeats; correct the Lattice (in Å), or set pbc=F along it"
            )
    # Distances between lattice planes: of a vector from the span of the others.
    for axis in range(len(vectors)) if len(vectors) > 1 else ():
        others = np.delete(vectors, axis, axis=0)
        inside = others.T @ np.linalg.lstsq(others.T, vectors[axis], rcond=None)[0]
        height = np.linalg.norm(vectors[axis] - inside)
        if height < max(THINNEST_CELL, FLATTEST_CELL * lengths[axis]):
            raise ValueError(
                f"{where}: the lattice vectors {vectors.tolist()} lie in a plane or a line (one is {height:.2g} Å out "
                "of it); correct the Lattice"
            )


def check_atoms(atoms: Atoms, where: str) -> None:
    """Check that potentials support the elements, coordinates are in Å, and no two atoms are at one position.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    heavy = np.flatnonzero(atoms.numbers > HEAVIEST)
    if len(heavy):
        raise ValueError(
            f"{where}: atom {heavy[0]} is {chemical_symbols[atoms.numbers[heavy[0]]]} (atomic number "
            f"{atoms.numbers[heavy[0]]}); potentials support elements up to {chemical_symbols[HEAVIEST]} ({HEAVIEST})"
        )
    far = np.flatnonzero(np.abs(atoms.positions).max(axis=1) > FARTHEST)
    if len(far):
        raise ValueError(
            f"{where}: atom {far[0]} is at {atoms.positions[far[0]].tolist()}, farther than {FARTHEST:g} Å from the "
            "origin; coordinates are in Å, correct them or remove the frame"
        )
    pair = _same_place(atoms)
    if pair is not None:
        i, j, distance = pair
        raise ValueError(
            f"{where}: atoms {i} ({atoms.symbols[i]}) and {j} ({atoms.symbols[j]}) are in one place "
            f"({distance:.2g} Å apart); remove one of them, or the frame"
        )


def check_labels(energy: float | None, forces: np.ndarray | None, where: str) -> None:
    """Check that energy (eV) and forces (eV/Å) are of a plausible size.

    Raises:
        ValueError: If not; the message begins with `where`.
    """
    if energy is not None and abs(energy) > LARGEST_ENERGY:
        raise ValueError(f"{where}: the energy of {energy:.4g} eV is no energy of a structure; label the frame again")
    if forces is None or not len(forces):
        return
    lengths = np.linalg.norm(forces, axis=1)
    if lengths.max() > LARGEST_FORCE:
        raise ValueError(
            f"{where}: the force on atom {lengths.argmax()} is {lengths.max():.4g} eV/Å, which no method gives; "
            "label the frame again or remove it"
        )


def _same_place(atoms: Atoms) -> tuple[int, int, float] | None:
    """Two atoms at one position, also across the faces of the cell."""
    if len(atoms) < 2:
        return None
    from scipy.spatial import cKDTree

    periodic = atoms.pbc
    cell = complete_cell(np.where(periodic[:, None], atoms.cell.array, 0.0)) if periodic.any() else np.eye(3)
    inverse = np.linalg.inv(cell)
    fractions, owner = atoms.positions @ inverse, np.arange(len(atoms))
    fractions = np.where(periodic, fractions % 1.0, fractions)
    for axis in np.flatnonzero(periodic):  # atoms next to a face are repeated beyond it
        near = fractions[:, axis] < SAME_PLACE * np.linalg.norm(inverse[:, axis])
        fractions = np.concatenate([fractions, fractions[near] + np.eye(3)[axis]])
        owner = np.concatenate([owner, owner[near]])
    everywhere = fractions @ cell
    for i, j in sorted(cKDTree(everywhere).query_pairs(SAME_PLACE)):
        if owner[i] != owner[j]:
            return (
                int(min(owner[i], owner[j])),
                int(max(owner[i], owner[j])),
                float(np.linalg.norm(everywhere[i] - everywhere[j])),
            )
    return None
