"""Checks of the text of a frame: columns that the header announces, and the words of every row."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from ase.data import atomic_numbers as KNOWN_SYMBOLS
from ase.data import chemical_symbols

from sparring.support.suggestions import most_similar

__all__ = ["Column", "check_rows", "columns_of", "wrong_word"]

MAX_COLUMNS = 10_000
LONGEST_LINE = 1_000_000
"""Largest number of characters of a line."""

_TRUTH = ("T", "F", "True", "False")
_GEOMETRY = {"species": ("S", 1), "Z": ("I", 1), "pos": ("R", 3), "move_mask": ("L", None)}
_REPEATED = {"numbers": "Z", "symbols": "species", "positions": "pos"}
"""Names that ASE would let override an element or a position, and those of the format."""
_KNOWN = {
    "REF_forces_mask": ("L", (1,)),
    "initial_magmoms": ("RI", (1, 3)),
    "initial_charges": ("RI", (1,)),
    "masses": ("RI", (1,)),
    "momenta": ("RI", (3,)),
    "tags": ("I", (1,)),
    "REF_hessian_direction": ("RI", (3,)),
    "REF_hessian_product": ("RI", (3,)),
}
"""Types and widths of columns with a meaning, whose values would be misread otherwise."""
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_ODD_NUMBER = re.compile(r"[^+\-.0-9eEa-zA-Z]")


class Column(NamedTuple):
    """A group of columns: the type R, I, S or L, and how many."""

    kind: str
    width: int


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
        if not name.strip():
            raise ValueError("Properties announce a column without a name; give it one, or remove it")
        if name in _REPEATED:
            raise ValueError(
                f"Properties call a column {name!r}, which extended XYZ calls {_REPEATED[name]!r}; rename it"
            )
        if kind not in ("R", "I", "S", "L"):
            raise ValueError(f"Properties give {name!r} the type {kind!r}, allowed are R, I, S and L")
        if not 1 <= width <= MAX_COLUMNS:
            raise ValueError(f"Properties give {name!r} {width} columns, allowed are 1 to {MAX_COLUMNS:,}; correct it")
        if name == "move_mask" and width not in (1, 3):
            raise ValueError(f"Properties give 'move_mask' {width} columns, allowed are 1 and 3; correct it")
        wanted_kind, wanted_width = _GEOMETRY.get(name, (kind, width))
        if kind != wanted_kind or width != (wanted_width or width):
            raise ValueError(
                f"the header's Properties must announce {name}:{wanted_kind}:{wanted_width or 1}, "
                f"got {name}:{kind}:{width}"
            )
        kinds, widths = _KNOWN.get(name, (kind, (width,)))
        if kind not in kinds or width not in widths:
            raise ValueError(
                f"Properties announce {name}:{kind}:{width}, wanted {name}:{kinds[0]}:{widths[0]}; correct the column, "
                "or call it otherwise if it is something else"
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
        if len(row) > LONGEST_LINE:
            raise ValueError(f"the row of atom {index} has {len(row):,} characters, allowed are {LONGEST_LINE:,}")
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


def wrong_word(rows: Sequence[str], columns: Mapping[str, Column]) -> str | None:
    """Message about the first word that is not of the type of its column, None if there is none."""
    for index, row in enumerate(rows):
        words = iter(row.split())
        for name, column in columns.items():
            for _ in range(column.width):
                word = next(words, "")
                if column.kind == "I" and not _INTEGER.fullmatch(word):
                    return f"{name} of atom {index} is no whole number of up to 18 digits: {word[:40]!r}; correct it"
                if column.kind == "R" and not _NUMBER.fullmatch(word):
                    return f"{name} of atom {index} is no number: {word[:40]!r}; write it as in -1.5 or 2e-3"
    return None


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
    hint = f"; did you mean {near}?" if near else "; write its symbol, as in Cu"
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
