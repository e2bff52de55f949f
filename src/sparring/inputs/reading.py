"""The one place where structures come in from files that users have: any format, checked, with one name for each thing.

Extended XYZ is read strictly by :mod:`sparring.inputs.extxyz`, whatever else by ASE. Then every frame is checked, its
charge, multiplicity and label are put under the names that the program uses, and what it does not know stays.
"""

import logging
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import read as ase_read
from ase.io.formats import UnknownFileTypeError, filetype

from sparring.atoms.constraints import drop_other_constraints
from sparring.atoms.dataset import ENERGY, FORCES
from sparring.inputs.checks import check_atoms, check_cell, require_finite_geometry
from sparring.inputs.electronic_state import take_state
from sparring.inputs.extxyz import read_frames
from sparring.inputs.header import check_spelling
from sparring.inputs.labels import drop_labels, take_label
from sparring.inputs.outputs import is_cp2k, read_cp2k, state_of_output
from sparring.inputs.texts import content_of

__all__ = ["FORMATS", "Labels", "Reading", "read_atoms", "read_file"]

_logger = logging.getLogger(__name__)

Labels = Literal["required", "optional", "relabel", "ignored"]

FORMATS = {
    "traj": "ASE's trajectories (.traj)",
    "db": "ASE's databases (.db)",
    "json": "ASE's databases as JSON (.json)",
    "vasp": "VASP POSCAR, CONTCAR",
    "vasp-out": "VASP OUTCAR",
    "vasp-xml": "VASP vasprun.xml",
    "vasp-xdatcar": "VASP XDATCAR",
    "orca-output": "ORCA output",
    "cp2k": "CP2K output of one calculation",
    "cp2k-restart": "CP2K restart",
    "gaussian-out": "Gaussian output",
    "gaussian-in": "Gaussian input",
    "nwchem-out": "NWChem output",
    "espresso-in": "Quantum ESPRESSO input",
    "espresso-out": "Quantum ESPRESSO output",
    "aims": "FHI-aims geometry.in",
    "aims-output": "FHI-aims output",
    "castep-castep": "CASTEP output",
    "gpaw-out": "GPAW output",
    "turbomole": "TURBOMOLE coord",
    "gen": "DFTB+ gen",
    "cif": "CIF",
    "xsf": "XCrySDen",
    "proteindatabank": "PDB",
    "mol": "MDL mol",
    "sdf": "SDF",
}
"""What is read through ASE, by ASE's name of the format."""

_XYZ = (".xyz", ".extxyz", ".exyz")
_BY_ENDING = {
    ".vasp": "vasp",
    ".cif": "cif",
    ".traj": "traj",
    ".db": "db",
    ".gen": "gen",
    ".sdf": "sdf",
    ".mol": "mol",
    ".xsf": "xsf",
}
_MAGIC = {
    b"O   R   C   A": "orca-output",
    b"Entering Gaussian System": "gaussian-out",
    b"Program PWSCF": "espresso-out",
    b"Invoking FHI-aims": "aims-output",
    b"Northwest Computational Chemistry Package": "nwchem-out",
}
_COMPRESSED = (".gz", ".bz2", ".xz")
_CONVERT = "python -c \"import ase.io; ase.io.write('new.extxyz', ase.io.read({name!r}, ':'))\""


class Reading(NamedTuple):
    """What a file holds.

    Attributes:
        structures: The frames, in order.
        notes: Decisions, and whatever was ignored, a line for each kind, with the file's name.
    """

    structures: list[Atoms]
    notes: tuple[str, ...]


def read_atoms(
    path: str | Path,
    *,
    labels: Labels = "optional",
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    allow_dummy: bool = False,
    foreign_units: bool = False,
) -> list[Atoms]:
    """Read structures of any format; what was decided or ignored is logged. See :func:`read_file`."""
    reading = read_file(
        path,
        labels=labels,
        energy_key=energy_key,
        forces_key=forces_key,
        allow_dummy=allow_dummy,
        foreign_units=foreign_units,
    )
    for note in reading.notes:
        _logger.warning("%s", note)
    return reading.structures


def read_file(
    path: str | Path,
    *,
    labels: Labels = "optional",
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    allow_dummy: bool = False,
    foreign_units: bool = False,
) -> Reading:
    """Read structures of any format, with `charge`, `multiplicity`, `REF_energy` (eV) and `REF_forces` (eV/Å).

    Args:
        path: The file.
        labels: Labels of the file: `required` in every frame, `optional` (frames without any hint of one come without),
            `relabel` (left aside on purpose) or `ignored` (the geometries alone are wanted, and nothing is said).
        energy_key: The file's name of total energies; left as it is, the known names are looked for.
        forces_key: The file's name of forces.
        allow_dummy: Whether the dummy atom X of the toy wells is admitted.
        foreign_units: Whether the caller converts units, so that names which say another one are not refused.

    Raises:
        ValueError: If the format is not known, or a frame cannot be a structure, or it is not clear what its label,
            charge or multiplicity is. The message names file and frame, counting from 0, and what to do.
        OSError: If the file cannot be opened.
    """
    path = Path(path)
    said: Counter[str] = Counter()
    structures: list[Atoms] = []
    for index, (atoms, words) in enumerate(_frames(path, said, allow_dummy=allow_dummy)):
        where = f"{path}, frame {index} (counting from 0)"
        check_atoms(atoms, where)
        notes = [*drop_other_constraints(atoms), *take_state(atoms, where, words)]
        if labels in ("relabel", "ignored"):
            dropped = drop_labels(atoms)
            notes += dropped if labels == "relabel" else []
        else:
            notes += take_label(
                atoms,
                where,
                energy_key=energy_key,
                forces_key=forces_key,
                required=labels == "required",
                foreign_units=foreign_units,
            )
        said.update(dict.fromkeys(notes, 1))
        structures.append(atoms)
    n = len(structures)
    return Reading(structures, tuple(f"{path}: {note} ({count} of {n} frames)" for note, count in said.items()))


def _frames(path: Path, said: Counter[str], *, allow_dummy: bool) -> list[tuple[Atoms, tuple[str, ...]]]:
    """The frames of a file, each with the words of its comment line."""
    kind = _format(path)
    if kind != "extxyz":
        frames = _through_ase(path, kind, said)
        for index, atoms in enumerate(frames):
            where = f"{path}, frame {index} (counting from 0)"
            require_finite_geometry(atoms, where, allow_dummy=allow_dummy)
            check_cell(atoms, where)
        return [(atoms, ()) for atoms in frames]
    result = []
    for index, (atoms, header) in enumerate(read_frames(path, allow_dummy=allow_dummy)):
        try:
            check_spelling(header.info)
        except ValueError as error:
            raise ValueError(f"{path}, frame {index} (counting from 0): {error}") from error
        # Words without Properties are a comment, not keys.
        result.append((atoms, header.words))
    return result


def _format(path: Path) -> str:
    """ASE's name of a file's format, or `extxyz` or `cp2k`.

    Raises:
        ValueError: If it is not known or not read.
    """
    name = path.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    path.open("rb").close()
    if name.endswith(_XYZ):
        for part, what in (("-frc-", "forces in Hartree/Bohr"), ("-vel-", "velocities")):
            if part in name:
                raise ValueError(
                    f"{path}: by its name this file of CP2K has {what} where positions belong; give the pos-1.xyz, and "
                    "labels in extended XYZ"
                )
        return "extxyz"
    ending = Path(name).suffix
    if path.is_dir() or ending == ".aselmdb":
        raise ValueError(f"{path}: this is not read; convert it to extended XYZ: {_CONVERT.format(name=path.name)}")
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    head = content_of(path)[:20_000]
    if is_cp2k(head.decode("utf-8", errors="replace")):
        return "cp2k"
    for magic, kind in _MAGIC.items():
        if magic in head:
            return kind
    try:
        kind = filetype(str(path), guess=False)
    except UnknownFileTypeError:
        kind = ""
    if kind in _MAGIC.values() and ending in (".out", ".log"):  # known by its ending only
        kind = ""
    if kind in ("xyz", "extxyz"):
        return "extxyz"
    if kind not in FORMATS:
        raise ValueError(
            f"{path}: {'the format ' + repr(kind) if kind else 'a file of this name'} is not read; convert it to "
            f"extended XYZ (.extxyz), with the right elements: {_CONVERT.format(name=path.name)}"
        )
    return kind


def _through_ase(path: Path, kind: str, said: Counter[str]) -> list[Atoms]:
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            is_output = kind.endswith(("out", "output", "cp2k"))
            text = content_of(path).decode("utf-8", errors="replace") if is_output else ""
            frames = read_cp2k(text) if kind == "cp2k" else _ase_frames(path, kind)
            state = state_of_output(text, kind)
            for atoms in frames:
                _refuse_disorder(atoms)
    # ASE's readers raise whatever a damaged or an unfinished file makes them stumble over.
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as {FORMATS[kind]} ({type(error).__name__}: {error}); see that it is complete, or "
            "convert it to extended XYZ"
        ) from error
    if not frames:
        raise ValueError(f"{path}: the file has no structures; {FORMATS[kind]} must hold at least one")
    said.update(
        {
            f"ASE warns: {' '.join(str(one.message).split())[:200]}": len(frames)
            for one in warned
            if one.category is UserWarning
        }
    )
    n_open = len(frames) - text.count("aborting loop because EDIFF is reached")
    if kind == "vasp-out" and n_open > 0:
        said["electronic steps did not reach EDIFF"] = n_open
    for atoms in frames:
        atoms.info = {**state, **_plain(atoms.info)}
        for name, values in list(atoms.arrays.items()):
            if values.dtype.kind not in "fiub" or values.ndim > 2:
                del atoms.arrays[name]
    return frames


def _ase_frames(path: Path, kind: str) -> list[Atoms]:
    if kind not in ("db", "json"):
        found = ase_read(path, index=":", format=kind)
        return found if isinstance(found, list) else [found]
    # Databases keep what was written beside a structure by itself; ase.io.read forgets it.
    with connect(str(path), type=kind) as database:
        rows = list(database.select())
    frames = []
    for row in rows:
        atoms = row.toatoms()
        atoms.info = {**atoms.info, **row.data, **row.key_value_pairs}
        frames.append(atoms)
    return frames


def _refuse_disorder(atoms: Atoms) -> None:
    """A CIF may share a place between atoms; ASE takes the first of them for all."""
    occupancy = atoms.info.get("occupancy")
    places = occupancy.values() if isinstance(occupancy, Mapping) else ()
    if any(len(place) > 1 or any(abs(share - 1.0) > 1e-6 for share in place.values()) for place in places):
        raise ValueError("places are occupied partly or by several elements; give an ordered structure")


def _plain(info: Mapping[object, object]) -> dict[str, object]:
    """What of `info` can be written to a file."""
    kept = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in info.items()}
    return {
        key: value
        for key, value in kept.items()
        if isinstance(value, (bool, int, float, str)) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")
    }
