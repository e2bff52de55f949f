"""Structures in extended XYZ files: checked when read, exact and atomic when written.

ASE reads this format with much good will: a file cut off in its last frame is refused whole, yet an atomic number of
-1, infinite coordinates, an energy that is NaN, surplus columns and everything behind a blank line pass without a word.
So frames are cut out and checked here, one by one, and ASE only parses them. ASE also writes eight decimals; a run that
resumes must find the very numbers that it left, so the writer here gives every float all its digits.

Files of a run are read here. Files of users, whose names for energies, forces and charges differ, come in through
:func:`sparring.inputs.reading.read_atoms`.
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.extxyz import key_val_str_to_dict, read_xyz

from sparring.atoms.constraints import constraints_of, fixed_coordinates
from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import known_results, with_label
from sparring.inputs.checks import check_cell, check_columns, require_finite_geometry
from sparring.inputs.frames import Frame, frames_of, name_of_frame
from sparring.inputs.header import Header, parse_header
from sparring.inputs.rows import check_rows, columns_of, wrong_word
from sparring.support.files import write_text

__all__ = [
    "frame_text",
    "parsed_frames",
    "read_frames",
    "read_labelled",
    "read_structures",
    "structures_text",
    "write_structures",
]

_PARSE_ERRORS = (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, OSError)
_COLUMN_TYPES = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S"}
_RESERVED_KEYS = ("Lattice", "Properties", "pbc")
_RESERVED_COLUMNS = ("species", "symbols", "pos", "positions", "Z", "numbers", "move_mask")
_PLAIN = "species:S:1:pos:R:3"


# --- reading --------------------------------------------------------------------------------------------------------


def read_structures(path: str | Path, *, allow_dummy: bool = False, allow_empty: bool = False) -> list[Atoms]:
    """Read all structures of an (extended) XYZ file.

    Energies and forces under ASE's own names (`energy`, `forces`) come as a `SinglePointCalculator`, as ASE has it;
    all others stay in `info` and `arrays`, single values as plain Python numbers. A column `move_mask` comes as
    constraints. `allow_dummy` admits the dummy atom X (atomic number 0) of the toy wells, `allow_empty` a file without
    any structure.

    Raises:
        ValueError: If the file is empty or cut off, or a frame has a header or a row that cannot be parsed, an unknown
            element, an atomic number that is not positive, or coordinates or a cell that are not finite or not
            plausible. The message names file and frame, counting from 0.
        OSError: If the file cannot be opened.
    """
    return [atoms for atoms, _ in read_frames(path, allow_dummy=allow_dummy, allow_empty=allow_empty)]


def read_frames(
    path: str | Path, *, allow_dummy: bool = False, allow_empty: bool = False
) -> list[tuple[Atoms, Header]]:
    """Read all structures of an (extended) XYZ file, each with its comment line; see :func:`read_structures`."""
    found = []
    for frame in parsed_frames(path, allow_dummy=allow_dummy, allow_empty=allow_empty):
        if isinstance(frame, ValueError):
            raise frame
        found.append(frame)
    return found


def parsed_frames(
    path: str | Path, *, allow_dummy: bool = False, allow_empty: bool = False
) -> Iterator[tuple[Atoms, Header] | ValueError]:
    """Structures of an (extended) XYZ file with their comment lines; for a frame that is damaged, its error.

    Raises:
        ValueError: If the file is no text, or has no frames.
        OSError: If it cannot be opened.
    """
    empty = True
    for frame in frames_of(Path(path)):
        empty = False
        try:
            yield frame if isinstance(frame, ValueError) else _parsed(frame, allow_dummy=allow_dummy)
        except ValueError as error:
            yield error
    if empty and not allow_empty:
        raise ValueError(f"{path}: the file has no structures; it must be an extended XYZ file with at least one")


def read_labelled(
    path: str | Path,
    *,
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str = STRESS,
    allow_dummy: bool = False,
    allow_empty: bool = False,
) -> list[Atoms]:
    """Read labelled structures; labels are named `REF_energy` (eV), `REF_forces` (eV/Å) and `REF_stress` (eV/Å³).

    With the names left as they are, labels under ASE's own (`energy`, `forces`) are found too.

    Raises:
        ValueError: As `read_structures`, and if a frame has no energy or forces under these names, or ones that are not
            finite or of wrong shape.
        OSError: If the file cannot be opened.
    """
    structures = read_structures(path, allow_dummy=allow_dummy, allow_empty=allow_empty)
    return [
        with_label(atoms, energy_key, forces_key, name_of_frame(Path(path), index), stress_key)
        for index, atoms in enumerate(structures)
    ]


def _parsed(frame: Frame, *, allow_dummy: bool) -> tuple[Atoms, Header]:
    try:
        header = parse_header(frame.header)
        properties = header.info.get("Properties", _PLAIN)
        columns = columns_of(properties if isinstance(properties, str) else "")
    except ValueError as error:
        frame.refuse(f"the header cannot be parsed: {error}")
    try:
        check_rows(frame.rows, columns, announced="Properties" in header.info, cut_off=frame.cut_off)
    except ValueError as error:
        frame.refuse(str(error))
    text = "\n".join([str(frame.n_atoms), frame.header, *frame.rows, ""])
    atoms: Atoms
    try:
        (atoms,) = read_xyz(io.StringIO(text), index=slice(None), properties_parser=lambda _: dict(header.info))
    except _PARSE_ERRORS as error:
        wrong = wrong_word(frame.rows, columns)
        frame.refuse(wrong or f"cannot be read: {error}; see that its rows are what the header's Properties announce")
    require_finite_geometry(atoms, frame.where, allow_dummy=allow_dummy)
    check_cell(atoms, frame.where)
    check_columns(atoms, frame.where)
    if atoms.calc is not None and "stress" in header.info:  # ASE keeps one half of the matrix, whatever the other is
        atoms.calc.results["stress"] = header.info["stress"]
    if "move_mask" in columns:
        fixed = fixed_coordinates(atoms, frame.where)
        atoms.set_constraint([] if fixed is None else constraints_of(fixed))
    for key, value in atoms.info.items():
        if isinstance(value, np.generic):
            atoms.info[key] = value.item()
    in_order = ("numbers", "positions", *(name for name in columns if name in atoms.arrays), *atoms.arrays)
    wider = {np.dtype(object): str, np.dtype(np.int32): np.int64}
    atoms.arrays = {
        name: atoms.arrays[name].astype(wider.get(atoms.arrays[name].dtype, atoms.arrays[name].dtype), copy=False)
        for name in in_order
    }
    return atoms, header


# --- writing --------------------------------------------------------------------------------------------------------


def write_structures(path: str | Path, structures: Sequence[Atoms]) -> None:
    """Write structures to an extended XYZ file that reads back to the very same numbers.

    Cell, pbc, `info` and `arrays` are kept, the constraints FixAtoms and FixCartesian (as the column `move_mask`), and
    what an attached calculator already knows of energy and forces. The file appears at once and complete, or not at
    all.

    Raises:
        ValueError: If a structure could not be read back, or something that it carries cannot be written.
    """
    write_text(Path(path), structures_text(path, structures))


def structures_text(path: str | Path, structures: Sequence[Atoms]) -> str:
    """The text of a file of structures; messages begin with its path."""
    return "".join(frame_text(atoms, name_of_frame(Path(path), index)) for index, atoms in enumerate(structures))


def frame_text(atoms: Atoms, where: str) -> str:
    """The lines of one frame; messages begin with `where`."""
    if not len(atoms):
        raise ValueError(f"{where}: a structure without atoms cannot be written; leave it out")
    require_finite_geometry(atoms, where, allow_dummy=True)
    known = known_results(atoms)
    info = atoms.info | {name: float(known[name]) for name in _energies(known)}
    arrays = {key: value for key, value in atoms.arrays.items() if key not in ("numbers", "positions")}
    arrays |= {"forces": known["forces"]} if "forces" in known else {}
    for name in (*info, *arrays):
        if (name in _RESERVED_KEYS and name in info) or (name in _RESERVED_COLUMNS and name in arrays):
            raise ValueError(f"{where}: {name!r} would hide what the format itself means by it; rename it")
    fixed = fixed_coordinates(atoms, where)
    if fixed is not None:  # one column where atoms are fixed as a whole, as ASE has it
        whole = bool((fixed == fixed[:, :1]).all())
        arrays["move_mask"] = np.logical_not(fixed[:, 0] if whole else fixed)
    groups = [("species", np.array(atoms.get_chemical_symbols())), ("pos", atoms.positions), *arrays.items()]
    properties, columns = zip(*(_column_group(name, array, len(atoms), where) for name, array in groups), strict=True)
    lattice = " ".join(map(repr, atoms.cell.array.ravel().tolist()))
    header = [
        *([f'Lattice="{lattice}"'] if atoms.cell.array.any() else []),
        f"Properties={':'.join(properties)}",
        *(_pair(key, value, where) for key, value in info.items()),
        f'pbc="{" ".join(map(_word, atoms.pbc.tolist()))}"',
    ]
    rows = [" ".join(word for words in row for word in words) for row in zip(*columns, strict=True)]
    return "\n".join([str(len(atoms)), " ".join(header), *rows, ""])


def _energies(known: Mapping[str, object]) -> list[str]:
    """Energy in the results of a calculator, and the free energy if it differs."""
    names = [name for name in ("energy", "free_energy") if name in known]
    return names[:1] if len({known[name] for name in names}) < 2 else names


def _column_group(name: str, values: np.ndarray, n_atoms: int, where: str) -> tuple[str, list[list[str]]]:
    """Entry of a per-atom array in the header, and its text for every atom."""
    array = np.asarray(values)
    if array.ndim not in (1, 2) or len(array) != n_atoms or not array.size or array.dtype.kind not in _COLUMN_TYPES:
        raise ValueError(
            f"{where}: arrays[{name!r}] of shape {array.shape} and type {array.dtype} cannot be columns of a file; it "
            f"must be one or more numbers, truth values or words for each of {n_atoms} atoms"
        )
    words = [[_word(value) for value in row] for row in array.reshape(n_atoms, -1).tolist()]
    if any(word.split() != [word] for word in (name.replace(":", " "), *(word for row in words for word in row))):
        raise ValueError(
            f"{where}: arrays[{name!r}] has a name or a word with blanks or colons, or an empty one, which "
            "would tear the columns apart"
        )
    return f"{name}:{_COLUMN_TYPES[array.dtype.kind]}:{len(words[0])}", words


def _word(value: object) -> str:
    return ("T" if value else "F") if isinstance(value, bool) else str(value)


def _pair(key: str, value: object, where: str) -> str:
    """One `key=value` of the header, as ASE's parser reads it back; what has no plain form goes as JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if key in ("virial", "stress") and isinstance(value, np.ndarray) and value.shape == (3, 3):
        value = value.ravel(order="F")
    if isinstance(value, np.ndarray) and value.ndim == 1 and len(value) > 1 and value.dtype.kind in "fiu":
        return f'{_quoted(key)}="{" ".join(map(repr, value.tolist()))}"'
    if isinstance(value, (bool, int, float)):
        return f"{_quoted(key)}={_word(value)}"
    if isinstance(value, str) and value.isprintable():
        pair = f"{_quoted(key)}={_quoted(value)}"
        if all(_is_text(read.get(key), value) for read in (key_val_str_to_dict(pair), parse_header(pair).info)):
            return pair
    try:
        encoded = json.dumps(value, default=lambda inner: inner.tolist())  # also arrays and numbers of numpy in a dict
    except (TypeError, AttributeError) as error:
        raise ValueError(
            f"{where}: info[{key!r}] of type {type(value).__name__} cannot be written; remove it"
        ) from error
    return f"{_quoted(key)}={_quoted('_JSON ' + encoded)}"


def _is_text(read_back: object, value: str) -> bool:
    return isinstance(read_back, str) and read_back == value


def _quoted(text: str) -> str:
    if re.fullmatch(r"[^\s\"'{}\[\]=\\,]+", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
