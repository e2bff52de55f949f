"""Labels that come back: extended XYZ files, and outputs of programs that ASE reads, in one folder."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from sparring.atoms.reference import ENERGY, FORCES, STRESS
from sparring.exchange.convergence import has_converged
from sparring.inputs.formats import format_of
from sparring.inputs.reading import read_file
from sparring.inputs.texts import content_of
from sparring.labels.offline import AnswerError

__all__ = ["ASKED", "KEY", "TO_LABEL", "Answer", "Names", "Reading", "read_answers"]

KEY = "key"
"""Name in `info` of the key of a label, in files that go out."""
TO_LABEL, ASKED = "to_label.extxyz", "asked.extxyz"
"""Files of a folder that are not answers: structures without a label, and all that were ever asked for."""

_XYZ = re.compile(r"\.(xyz|extxyz|exyz)(\.(gz|bz2|xz))?$", re.IGNORECASE)
_OUTPUT = re.compile(r"(^OUTCAR.*|^vasprun.*\.xml|\.(out|log|pwo|castep|traj|db))(\.(gz|bz2|xz))?$", re.IGNORECASE)
_MOLECULAR = ("orca-output", "gaussian-out", "nwchem-out", "aims-output")
_PERIODIC = ("vasp-out", "vasp-xml", "cp2k", "espresso-out", "castep-castep", "gpaw-out")
_OUTPUTS = (*_MOLECULAR, *_PERIODIC, "traj", "db")
_HASH = re.compile(r"[0-9a-f]{12,64}")
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of labels in extended XYZ files.

    Attributes:
        energy_key: Name of the energy in eV; left as it is, known names are looked for.
        forces_key: Name of the forces in eV/Å.
        stress_key: Name of the stress in eV/Å³ or of the virial in eV; None to leave them aside.
    """

    energy_key: str = ENERGY
    forces_key: str = FORCES
    stress_key: str | None = STRESS


class Answer(NamedTuple):
    """One frame that came back.

    Attributes:
        where: File and frame, for messages.
        key: Key of the label that it is for, from its header or the name of its file or folder; None if it has none.
        atoms: Geometry, with its label in ``REF_energy``, ``REF_forces`` and ``REF_stress``; None if an output that has
            not converged does not show it.
        problem: Reason why there is no label; empty if there is one.
    """

    where: str
    key: str | None
    atoms: Atoms | None
    problem: str = ""


class Reading(NamedTuple):
    """Frames that came back, and notes about files that are left aside."""

    answers: tuple[Answer, ...]
    notes: tuple[str, ...]


def read_answers(places: Sequence[Path], keys: Collection[str], names: Names | None = None) -> Reading:
    """Read all labels in files and folders, in the order of their names.

    In folders, at any depth, these are extended XYZ files whose header has columns, and outputs of programs by their
    usual names (``OUTCAR``, ``vasprun.xml``, ``.out``, ``.log``, ``.pwo``, ``.castep``, ``.traj``, ``.db``); an output
    that is not complete is left aside with a note.

    Args:
        places: Files and folders.
        keys: Keys of the labels that are known by them.
        names: Names of labels in extended XYZ files.

    Raises:
        AnswerError: If an extended XYZ file, or a file that is named by itself, cannot be read, or a frame has an
            energy and no forces.
    """
    answers: list[Answer] = []
    notes: list[str] = []
    for place in places:
        if not place.is_dir():
            answers += _read(place, place.name, keys, names or Names(), notes, strict=True)
            continue
        for file in _files(place):
            answers += _read(file, str(file.relative_to(place)), keys, names or Names(), notes, strict=False)
    return Reading(tuple(answers), tuple(notes))


def _files(folder: Path) -> list[Path]:
    """Files that may have labels; vasprun.xml, which has more digits, before the OUTCAR beside it."""
    files = [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and (_XYZ.search(path.name) or _OUTPUT.search(path.name))
        and path not in (folder / TO_LABEL, folder / ASKED)
        and not path.name.startswith(".")
    ]
    return sorted(files, key=lambda path: (path.parent, not path.name.startswith("vasprun"), path.name))


def _read(
    file: Path, name: str, keys: Collection[str], names: Names, notes: list[str], *, strict: bool
) -> Iterator[Answer]:
    if _XYZ.search(file.name):
        if strict or "Properties=" in _header(file):
            yield from _read_xyz(file, names)
        return
    try:
        kind = format_of(file)
    except ValueError as error:
        if strict:
            raise AnswerError(str(error)) from error
        return
    if kind not in _OUTPUTS:
        if strict:
            raise AnswerError(f"{file}: this format has no labels; give an output of the calculation, or extended XYZ")
        return
    yield from _read_output(file, kind, _key_in(name, keys), notes, strict=strict)


def _header(file: Path) -> str:
    lines = content_of(file)[:100_000].decode("utf-8", errors="replace").split("\n", 2)
    return lines[1] if len(lines) > 1 else ""


def _read_xyz(file: Path, names: Names) -> Iterator[Answer]:
    try:
        reading = read_file(
            file,
            labels="optional",
            energy_key=names.energy_key,
            forces_key=names.forces_key,
            stress_key=names.stress_key,
            allow_dummy=True,
        )
    except ValueError as error:
        raise AnswerError(str(error).replace("in section system", "in section labels.labeller")) from error
    for index, atoms in enumerate(reading.structures):
        where, key = f"{file}, frame {index} (counting from 0)", atoms.info.get(KEY)
        if not atoms.info.get("converged", True):
            yield Answer(where, key, atoms, "it is marked as not converged (converged=F)")
        elif ENERGY in atoms.info:
            yield Answer(where, key, _with_forces(atoms, where))


def _read_output(file: Path, kind: str, key: str | None, notes: list[str], *, strict: bool) -> Iterator[Answer]:
    text = "" if kind in ("traj", "db") else content_of(file).decode("utf-8", errors="replace")
    converged = has_converged(text, kind)
    problem = "" if converged else "its self-consistent cycle has not converged"
    try:
        structures = read_file(file, labels="optional").structures
    except ValueError as error:
        if not converged and key is not None:
            yield Answer(str(file), key, None, problem)
        elif not converged:
            notes.append(
                f"{file}: left aside: {problem}, and no key in its name or that of its folder says whose it is"
            )
        elif strict:
            raise AnswerError(str(error)) from error
        else:
            notes.append(f"left aside, its calculation may not have ended: {error}")
        return
    for index, atoms in enumerate(structures):
        where = f"{file}, frame {index} (counting from 0)" if len(structures) > 1 else str(file)
        own = str(atoms.info[KEY]) if KEY in atoms.info else key
        if problem:
            yield Answer(where, own, atoms, problem)
        elif ENERGY in atoms.info:
            yield Answer(where, own, _with_forces(atoms, where))
        else:
            notes.append(f"{where}: left aside, it has no energy")


def _with_forces(atoms: Atoms, where: str) -> Atoms:
    if FORCES not in atoms.arrays:
        raise AnswerError(
            f"{where}: it has an energy and no forces, and a label needs both; compute the forces, too (ORCA: EnGrad; "
            "CP2K: ENERGY_FORCE; Gaussian: Force; Quantum ESPRESSO: tprnfor), or remove it"
        )
    return atoms


def _key_in(name: str, keys: Collection[str]) -> str | None:
    """The only key that the name of a file or folder begins, with at least 12 digits; None if there is none."""
    found = {key for part in _HASH.findall(name) for key in keys if key.startswith(part)}
    return found.pop() if len(found) == 1 else None
