"""File formats of structures: recognition by name and content, and reading of all but extended XYZ through ASE."""

import shlex
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.db import connect
from ase.io import read as ase_read
from ase.io.formats import UnknownFileTypeError, filetype

from sparring.inputs.outputs import is_cp2k, read_cp2k, require_converged, state_of_output
from sparring.inputs.texts import content_of, require_file

__all__ = ["FORMATS", "format_of", "read_frames_by_ase"]

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
"""Formats that are read through ASE, by ASE's name."""

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
_CONVERT = "python -c \"import ase.io, sys; ase.io.write('new.extxyz', ase.io.read(sys.argv[1], ':'))\" {name}"


def format_of(path: Path) -> str:
    """ASE's name of a file's format, or `extxyz` or `cp2k`.

    Raises:
        ValueError: If it is not known or not read.
    """
    name = path.name.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    if not path.is_dir():
        require_file(path)
        path.open("rb").close()
    if name.endswith(_XYZ) and not path.is_dir():
        for part, what in (("-frc-", "forces in Hartree/Bohr"), ("-vel-", "velocities")):
            if part in name:
                raise ValueError(
                    f"{path}: by its name this file of CP2K has {what} where positions belong; give the pos-1.xyz, and "
                    "labels in extended XYZ"
                )
        return "extxyz"
    ending = Path(name).suffix
    if path.is_dir() or ending == ".aselmdb":
        what = "a folder" if path.is_dir() else "this"
        raise ValueError(
            f"{path}: {what} is not read; convert it to extended XYZ: {_CONVERT.format(name=shlex.quote(path.name))}"
        )
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
            f"extended XYZ (.extxyz), with the right elements: {_CONVERT.format(name=shlex.quote(path.name))}"
        )
    return kind


def read_frames_by_ase(path: Path, kind: str, notes: Counter[str]) -> list[Atoms]:
    """The frames of a file in one of `FORMATS`, with charge and multiplicity of an output; `notes` are counted.

    Raises:
        ValueError: If the file is damaged or has no structures.
    """
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            is_output = kind.endswith(("out", "output", "cp2k", "castep"))
            content = content_of(path)  # refuses what grows without end when ASE decompresses it
            text = content.decode("utf-8", errors="replace") if is_output else ""
            require_converged(text, kind)
            frames = read_cp2k(text) if kind == "cp2k" else _ase_frames(path, kind)
            state = state_of_output(text, kind)
            for atoms in frames:
                _refuse_disorder(atoms)
    # ASE's readers raise errors of any kind for damaged or unfinished files.
    except Exception as error:
        raise ValueError(
            f"{path}: cannot be read as {FORMATS[kind]} ({type(error).__name__}: {error}); see that it is complete, or "
            "convert it to extended XYZ"
        ) from error
    if not frames:
        raise ValueError(f"{path}: the file has no structures; {FORMATS[kind]} must hold at least one")
    notes.update(
        {
            f"ASE warns: {' '.join(str(one.message).split())[:200]}": len(frames)
            for one in warned
            if one.category is UserWarning
        }
    )
    n_open = len(frames) - text.count("aborting loop because EDIFF is reached")
    if kind == "vasp-out" and n_open > 0:
        notes["electronic steps did not reach EDIFF"] = n_open
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
    """Entries of `info` that can be written to a file."""
    kept = {str(key): value.item() if isinstance(value, np.generic) else value for key, value in info.items()}
    return {
        key: value
        for key, value in kept.items()
        if isinstance(value, (bool, int, float, str)) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiub")
    }
