"""Structures from files of users, in any format, checked, with standard names.

Extended XYZ is read strictly by :mod:`sparring.inputs.extxyz`, other formats by ASE. Then every frame is checked, its
charge, multiplicity and label are put under the names that the program uses, and what it does not know stays.
"""

import logging
from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

from ase import Atoms

from sparring.atoms.constraints import drop_other_constraints
from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import known_results
from sparring.inputs.checks import check_atoms, check_cell, require_finite_geometry
from sparring.inputs.electronic_state import take_state
from sparring.inputs.extxyz import read_frames
from sparring.inputs.formats import format_of, read_frames_by_ase
from sparring.inputs.header import check_spelling
from sparring.inputs.labels import drop_labels, take_label

__all__ = ["Labels", "Reading", "read_atoms", "read_file"]

_logger = logging.getLogger(__name__)

Labels = Literal["required", "optional", "relabel", "ignored"]


class Reading(NamedTuple):
    """Structures of a file, and notes.

    Attributes:
        structures: The frames, in order.
        notes: Decisions and ignored data, one line for each kind, with the name of the file.
    """

    structures: list[Atoms]
    notes: tuple[str, ...]


def read_atoms(
    path: str | Path,
    *,
    labels: Labels = "optional",
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str | None = STRESS,
    allow_dummy: bool = False,
    foreign_units: bool = False,
) -> list[Atoms]:
    """Read structures of any format; what was decided or ignored is logged. See :func:`read_file`."""
    reading = read_file(
        path,
        labels=labels,
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
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
    stress_key: str | None = STRESS,
    allow_dummy: bool = False,
    foreign_units: bool = False,
) -> Reading:
    """Read structures of any format, with `charge` and `multiplicity`, and labels by the names of Sparring in eV and Å.

    Args:
        path: The file.
        labels: Treatment of labels: `required` in every frame, `optional` (frames may have none), `relabel` (dropped,
            with a note) or `ignored` (dropped without a note).
        energy_key: The file's name of total energies; left as it is, the known names are looked for.
        forces_key: The file's name of forces.
        stress_key: The file's name of stresses, or of virials; left as it is, known names are looked for; None to leave
            stresses aside.
        allow_dummy: Flag to allow the dummy atom X of the toy wells.
        foreign_units: Flag for a caller that converts units, so that names with another unit are not refused.

    Raises:
        ValueError: If the format is not known, or a frame cannot be a structure, or it is not clear what its label,
            charge or multiplicity is. The message names file and frame, counting from 0, and what to do.
        OSError: If the file cannot be opened.
    """
    path = Path(path)
    notes_of_file: Counter[str] = Counter()
    structures: list[Atoms] = []
    seen = stress_key in (None, STRESS) or labels in ("relabel", "ignored")
    for index, (atoms, words) in enumerate(_frames(path, notes_of_file, allow_dummy=allow_dummy)):
        where = f"{path}, frame {index} (counting from 0)"
        check_atoms(atoms, where)
        seen = seen or stress_key in atoms.info or stress_key in known_results(atoms)
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
                stress_key=stress_key,
                required=labels == "required",
                foreign_units=foreign_units,
            )
        notes_of_file.update(dict.fromkeys(notes, 1))
        structures.append(atoms)
    if not seen:
        raise ValueError(f"{path}: no frame has the stress_key {stress_key!r}; correct it, or leave it out")
    n = len(structures)
    return Reading(
        structures, tuple(f"{path}: {note} ({count} of {n} frames)" for note, count in notes_of_file.items())
    )


def _frames(path: Path, notes: Counter[str], *, allow_dummy: bool) -> list[tuple[Atoms, tuple[str, ...]]]:
    """The frames of a file, each with the words of its comment line."""
    kind = format_of(path)
    if kind != "extxyz":
        frames = read_frames_by_ase(path, kind, notes)
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
