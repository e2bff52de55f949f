"""Structures from files of users, in any format, checked, with standard names.

Extended XYZ is read strictly by :mod:`sparring.inputs.extxyz`, other formats by ASE. Then every frame is checked, its
charge, multiplicity and label are put under the names that the program uses, and what it does not know stays.
"""

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from ase import Atoms

from sparring.atoms.constraints import drop_other_constraints
from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import known_results
from sparring.inputs.checks import check_atoms, check_cell, check_columns, require_finite_geometry
from sparring.inputs.electronic_state import take_state
from sparring.inputs.extxyz import parsed_frames
from sparring.inputs.formats import format_of, read_frames_by_ase
from sparring.inputs.frames import name_of_frame
from sparring.inputs.header import check_spelling
from sparring.inputs.labels import drop_labels, take_label
from sparring.inputs.skipping import SHOWN, Skipped, counted

__all__ = ["Labels", "Reading", "log_notes", "read_atoms", "read_file"]

_logger = logging.getLogger(__name__)

Labels = Literal["required", "optional", "relabel", "ignored"]


class Reading(NamedTuple):
    """Structures of a file, and notes.

    Attributes:
        structures: The frames, in order.
        notes: Decisions and ignored data, one line for each kind, with the name of the file.
        frames: Number of each structure's frame in the file, counting from 0.
        skipped: Frames that are wrong and were left out.
    """

    structures: list[Atoms]
    notes: tuple[str, ...]
    frames: tuple[int, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def read_atoms(
    path: str | Path,
    *,
    labels: Labels = "optional",
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str | None = STRESS,
    allow_dummy: bool = False,
    foreign_units: bool = False,
    skip_bad: bool = False,
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
        skip_bad=skip_bad,
    )
    log_notes(reading)
    return reading.structures


def log_notes(reading: Reading) -> None:
    """Log the notes of a file, and the frames that were left out."""
    for note in reading.notes:
        _logger.warning("%s", note)
    for one in reading.skipped[:SHOWN]:
        _logger.warning("left out: %s", one.reason)
    if reading.skipped:
        n_frames = len(reading.structures) + len(reading.skipped)
        _logger.warning("%s: %s and left out", reading.skipped[0].file, counted(reading.skipped, n_frames))


def read_file(
    path: str | Path,
    *,
    labels: Labels = "optional",
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str | None = STRESS,
    allow_dummy: bool = False,
    foreign_units: bool = False,
    skip_bad: bool = False,
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
        skip_bad: Flag to leave out frames that are wrong instead of stopping at the first.

    Raises:
        ValueError: If the format is not known, or a frame cannot be a structure, or it is not clear what its label,
            charge or multiplicity is. The message names file and frame, counting from 0, and what to do, and counts
            the frames that are wrong. With `skip_bad`, if no frame is left.
        OSError: If the file cannot be opened.
    """
    path = Path(path)
    notes_of_file: Counter[str] = Counter()
    reading: dict[int, Atoms] = {}
    skipped: list[Skipped] = []
    seen = stress_key in (None, STRESS) or labels in ("relabel", "ignored")
    for index, frame in enumerate(_frames(path, notes_of_file, allow_dummy=allow_dummy)):
        try:
            if isinstance(frame, ValueError):
                raise frame
            atoms, words = frame
            seen = seen or stress_key in atoms.info or stress_key in known_results(atoms)
            notes = _checked(atoms, words, name_of_frame(path, index))
            if labels in ("relabel", "ignored"):
                dropped = drop_labels(atoms)
                notes += dropped if labels == "relabel" else []
            else:
                notes += take_label(
                    atoms,
                    name_of_frame(path, index),
                    energy_key=energy_key,
                    forces_key=forces_key,
                    stress_key=stress_key,
                    required=labels == "required",
                    foreign_units=foreign_units,
                )
        except ValueError as error:
            skipped.append(Skipped(str(path), index, str(error)))
            continue
        notes_of_file.update(dict.fromkeys(notes, 1))
        reading[index] = atoms
    _require_right(path, skipped, len(reading) + len(skipped), skip_bad=skip_bad)
    if not seen:
        raise ValueError(f"{path}: no frame has the stress_key {stress_key!r}; correct it, or leave it out")
    n = len(reading)
    return Reading(
        list(reading.values()),
        tuple(f"{path}: {note} ({count} of {n} frames)" for note, count in notes_of_file.items()),
        tuple(reading),
        tuple(skipped),
    )


def _checked(atoms: Atoms, words: tuple[str, ...], where: str) -> list[str]:
    """Notes about a structure whose atoms, constraints, charge and multiplicity are in order."""
    check_atoms(atoms, where)
    return [*drop_other_constraints(atoms), *take_state(atoms, where, words)]


def _require_right(path: Path, skipped: list[Skipped], n_frames: int, *, skip_bad: bool) -> None:
    """Stop for the first wrong frame, or if all are wrong."""
    if not skipped or (skip_bad and len(skipped) < n_frames):
        return
    first = skipped[0].reason
    if n_frames == 1:
        raise ValueError(first)
    if len(skipped) == n_frames:
        raise ValueError(f"{first}; all {n_frames} frames of {path.name} are wrong")
    raise ValueError(
        f"{first}; {counted(skipped, n_frames)}: correct them, or read the file without them (`--skip-bad`, or "
        "`skip_bad: true` in the section system)"
    )


def _frames(
    path: Path, notes: Counter[str], *, allow_dummy: bool
) -> Iterator[tuple[Atoms, tuple[str, ...]] | ValueError]:
    """The frames of a file, each with the words of its comment line; for a frame that is damaged, its error."""
    kind = format_of(path)
    if kind == "extxyz":
        for index, frame in enumerate(parsed_frames(path, allow_dummy=allow_dummy)):
            if isinstance(frame, ValueError):
                yield frame
                continue
            atoms, header = frame
            try:
                check_spelling(header.info)
            except ValueError as error:
                yield ValueError(f"{name_of_frame(path, index)}: {error}")
                continue
            # Words without Properties are a comment, not keys.
            yield atoms, header.words
        return
    for index, atoms in enumerate(read_frames_by_ase(path, kind, notes)):
        where = name_of_frame(path, index)
        try:
            require_finite_geometry(atoms, where, allow_dummy=allow_dummy)
            check_cell(atoms, where)
            check_columns(atoms, where)
        except ValueError as error:
            yield error
            continue
        yield atoms, ()
