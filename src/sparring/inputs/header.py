"""The comment line of an extended XYZ frame: key=value pairs, read as ASE reads them but without its good will.

ASE takes the last of two equal keys, `1_000.5` and digits of other scripts for numbers, and the rest of the line for
the value of an empty or an unclosed quote. Here a repeated key or an unclosed quote is an error, and a word that is not
written as a number of ASCII digits stays a word.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from sparring.inputs.rows import LONGEST_LINE

__all__ = ["Header", "check_spelling", "parse_header"]

MAX_DEPTH = 50
_CLOSING = {"'": "'", '"': '"', "{": "}", "[": "]"}
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE)
_TRUTH = {word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())}
_TRUTH |= {"T": True, "F": False}
_SPELLING = {"lattice": "Lattice", "properties": "Properties", "pbc": "pbc"}
_CELLS = ("cell", "box", "unit_cell", "lattice_vectors", "cell_vectors")


class Header(NamedTuple):
    """Contents of a comment line.

    Attributes:
        info: The value of every key; True for a word without a value, as in ASE.
        words: The words without a value.
    """

    info: dict[str, object]
    words: tuple[str, ...]


def parse_header(line: str) -> Header:
    """Read the key=value pairs of a comment line.

    Raises:
        ValueError: If the line is too long, a key is repeated, a quote is not closed, a matrix is not of nine numbers,
            or JSON is not valid or nested too deeply.
    """
    if len(line) > LONGEST_LINE:
        raise ValueError(f"it has {len(line):,} characters, allowed are {LONGEST_LINE:,}; keep what is needed")
    info: dict[str, object] = {}
    words: list[str] = []
    texts: dict[str, str] = {}
    for key, text in _pairs(line):
        if text is None:
            words.append(key)
            info.setdefault(key, True)
            continue
        if key in texts:
            raise ValueError(f"{key} stands twice, as {texts[key][:40]!r} and {text[:40]!r}; keep the right one")
        texts[key] = text
        info[key] = text if key.lower() == "uid" else _value(key, text)
    _check_pbc(info.get("pbc", True))
    return Header(info, tuple(words))


def _check_pbc(value: object) -> None:
    flags = np.atleast_1d(np.asarray(value))
    if flags.size not in (1, 3) or flags.dtype.kind not in "bi" or not np.isin(flags, (0, 1)).all():
        raise ValueError(f'pbc must be T or F along each of three lattice vectors, as in pbc="T T F", got {value!r}')


def check_spelling(info: Mapping[str, object]) -> None:
    """Check that cell, columns and periodicity have the names of the format.

    Raises:
        ValueError: If they do.
    """
    for key, value in info.items():
        proper = _SPELLING.get(key.lower(), key)
        if proper != key and value is not True:
            raise ValueError(f"{key!r} is written {proper!r} in extended XYZ; correct it")
        if key.lower() in _CELLS and "Lattice" not in info and np.size(value) == 9:  # type: ignore[arg-type]
            raise ValueError(
                f"{key!r} looks like a cell, which extended XYZ calls Lattice; rename it, or remove it if there is none"
            )


def _pairs(line: str) -> Iterator[tuple[str, str | None]]:
    """Each key with its text, or with None if it has none."""
    items: list[list[str]] = [[""]]
    closing, opened, escaped, quoted, ended, of_value = "", "", False, False, False, False
    for char in line.strip():
        last = items[-1]
        if ended and not char.isspace() and char != "=":
            raise ValueError(f"a quote ends in the middle of a word, after {last[-1][-40:]!r}; correct the quotes")
        ended = False
        if escaped:
            last[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        elif closing:
            closing, ended = ("", True) if char == closing else (closing, False)
            if closing:
                last[-1] += char
                opened += char
        elif char in _CLOSING:
            closing, opened, quoted, of_value = _CLOSING[char], "", True, len(last) > 1
        elif char.isspace():
            if last[-1] or quoted:
                items.append([""])
            quoted = False
        elif char == "=":
            if last == [""] and len(items) == 1:
                raise ValueError("there is '=' without a name before it")
            if last == [""]:  # blanks before the sign
                items.pop()
            items[-1].append("")
            quoted = False
        else:
            last[-1] += char
    # An apostrophe of a comment in words is no quote.
    if closing and (of_value or "=" in opened or any(key == "Properties" for key, *_ in items)):
        raise ValueError(f"a quote is opened and never closed: {opened[:40]!r}; close it, or remove it")
    for key, *parts in items:
        if key or parts:
            yield key, "=".join(parts) if parts else None


def _value(key: str, text: str) -> object:
    parts = re.findall(r"[^\s,]+", text)
    value: object = text
    if parts and all(_INTEGER.fullmatch(part) and abs(int(part)) < 2**63 for part in parts):
        value = np.array([int(part) for part in parts])
    elif parts and all(_NUMBER.fullmatch(part) for part in parts):
        value = np.array([float(part) for part in parts])
    if isinstance(value, np.ndarray):
        if key == "Lattice" or (key in ("virial", "stress") and value.size == 9):
            return _matrix(key, value)
        return value[0] if value.size == 1 else value
    if key in ("Lattice", "stress"):
        raise ValueError(f"{key} must be numbers, nine for a Lattice, got {text[:80]!r}")
    if parts and all(part in _TRUTH for part in parts):
        truths = [_TRUTH[part] for part in parts]
        return truths[0] if len(truths) == 1 else truths
    return _json(key, text) if text.startswith("_JSON ") else text


def _matrix(key: str, numbers: np.ndarray) -> np.ndarray:
    if numbers.size != 9:
        raise ValueError(f"{key} must be nine numbers, got {numbers.size}")
    return numbers.reshape((3, 3), order="F")


def _json(key: str, text: str) -> object:
    depth = deepest = 0
    for char in text:
        depth += (char in "[{") - (char in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ValueError(f"the JSON of {key} is nested {deepest} levels deep, allowed are {MAX_DEPTH}; remove it")
    try:
        value = json.loads(text.removeprefix("_JSON "), object_pairs_hook=_without_repeats)
        json.dumps(value, ensure_ascii=False).encode()  # raises for halves of surrogate pairs
    except ValueError as error:
        problem = str(error).partition("; use sys.")[0]
        raise ValueError(f"the JSON of {key} is not valid ({problem}); correct or remove it") from error
    try:
        array = np.array(value)
    except (ValueError, OverflowError):  # lists of unequal lengths
        return value
    return array if array.ndim and array.dtype.kind in "ifb" else value


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands twice")
    return values
