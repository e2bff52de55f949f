"""A system of one's own: structures from a file, labelled or not, enlarged if wanted."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.atoms.dataset import ENERGY, FORCES, STRESS
from sparring.atoms.reference import has_labels
from sparring.inputs.reading import log_notes, read_file
from sparring.labels.base import Bounds, LabelError, electronic_state
from sparring.labels.service import Failed
from sparring.starting_data.displacements import uniform_displacements
from sparring.starting_data.isolated import hund_multiplicity, is_isolated_atom, split_isolated
from sparring.starting_data.normal_modes import LabelMany
from sparring.starting_data.relaxation import RelaxationError
from sparring.starting_data.sampling import normal_mode_sample
from sparring.starting_data.screening import screen
from sparring.support.seeds import derive

__all__ = [
    "Displacements",
    "NormalModes",
    "Snapshots",
    "assume_state",
    "is_labelled",
    "numbered",
    "read_own",
    "starting_data",
]

_logger = logging.getLogger(__name__)


class NormalModes(NamedTuple):
    """Thermal displacements along the normal modes of each structure, relaxed first."""

    n_structures: int
    temperatures: tuple[float, float]


class Displacements(NamedTuple):
    """Uniform displacements of every coordinate."""

    n_structures: int
    amplitude: float


class Snapshots(NamedTuple):
    """Snapshots of a trajectory from each structure; `take` gets the structure and a seed."""

    take: Callable[[Atoms, int], list[Atoms]]


def read_own(
    file: Path,
    *,
    energy_key: str = ENERGY,
    forces_key: str = FORCES,
    stress_key: str | None = STRESS,
    relabel: bool = False,
    charge: int = 0,
    multiplicity: int | None = None,
    foreign_units: bool = False,
    skip_bad: bool = False,
) -> list[Atoms]:
    """The structures of a file, labelled where the file has labels.

    A frame with an energy and no forces gets its energy only. One that has neither, and nothing that looks like them,
    comes without a label.

    Args:
        file: Extended XYZ, or another format that :func:`sparring.inputs.reading.read_atoms` reads.
        energy_key: The file's name of total energies, in eV; left as it is, known names are looked for.
        forces_key: The file's name of forces, in eV/Å.
        stress_key: The file's name of stresses, in eV/Å³, or of virials, in eV; None to leave them aside.
        relabel: True to leave labels of the file aside and compute them anew.
        charge: Charge of structures that do not have their own.
        multiplicity: Multiplicity of these; None for the lowest one that the number of electrons allows.
        foreign_units: True if the caller converts units, so that names with another unit are not refused.
        skip_bad: True to leave out frames that are wrong, which are logged.

    Raises:
        ValueError: As :func:`sparring.inputs.reading.read_file`, above all if something looks like a label whose name
            is not known, and if a charge or a multiplicity does not fit the electrons of a frame.
        OSError: If the file cannot be opened.
    """
    labels: Literal["relabel", "optional"] = "relabel" if relabel else "optional"
    reading = read_file(
        file,
        labels=labels,
        energy_key=energy_key,
        forces_key=forces_key,
        stress_key=stress_key,
        foreign_units=foreign_units,
        skip_bad=skip_bad,
    )
    log_notes(reading)
    structures = reading.structures
    for atoms, frame in zip(structures, reading.frames, strict=True):
        atoms.info.pop("frame", None)
        if reading.skipped:
            atoms.info["frame"] = frame
        atoms.info.update(source="file", parent=-1)
    for name, assumed in (("charge", charge), ("multiplicity", multiplicity)):
        others = [one.info[name] for one in structures if name in one.info and one.info[name] != assumed]
        if others and assumed:
            _logger.warning(
                "%s: %d of %d frames have another %s (%s) than the configuration (%d); each frame's own is used",
                *(file, len(others), len(structures), name, ", ".join(map(str, sorted(set(others)))), assumed),
            )
    structures = assume_state(structures, charge=charge, multiplicity=multiplicity)
    for frame, atoms in zip(reading.frames, structures, strict=True):
        try:
            electronic_state(atoms)
        except ValueError as error:
            raise ValueError(f"{file}, frame {frame} (counting from 0): {error}") from error
    return structures


def assume_state(structures: list[Atoms], *, charge: int, multiplicity: int | None) -> list[Atoms]:
    """The structures with a charge and a multiplicity; those that have their own keep it."""
    assumed = {"charge": charge} | ({} if multiplicity is None else {"multiplicity": multiplicity})
    result = [atoms.copy() for atoms in structures]
    for atoms in result:
        # What is assumed of molecules is wrong for the isolated atoms beside them.
        atom = {"charge": 0, "multiplicity": hund_multiplicity(int(atoms.numbers[0]))}
        charged = bool(atoms.info.get("charge"))
        isolated = is_isolated_atom(atoms) and not charged
        atoms.info = (atom if isolated else assumed) | atoms.info
    return result


def starting_data(
    structures: list[Atoms],
    calculator: BaseCalculator,
    label_many: LabelMany,
    *,
    enlarge: NormalModes | Displacements | Snapshots | None = None,
    seed: int = 0,
    bounds: Bounds | None = None,
    failed: Failed | None = None,
    file: str = "the file",
) -> list[Atoms]:
    """Labelled structures to begin with: what the file has, labelled where it is not, and what it is enlarged by.

    Structures that cannot be labelled, and those whose label is out of bounds, are left out. Isolated atoms come
    last; like crystals with one atom in their cell, they are enlarged by nothing.

    Args:
        structures: Structures as :func:`read_own` gives them.
        calculator: Labeller for relaxations.
        label_many: Labeller of many structures at once.
        enlarge: Structures to add; their number, if there is one, is shared out over those of the file.
        seed: Seed of the displacements and of the dynamics.
        bounds: Limits of the file's labels; `Bounds()` if left out.
        failed: Function to call with each structure of the file that is left out, and the reason.
        file: Name of the file, for messages.

    Raises:
        ValueError: If frames of one geometry contradict each other, or nothing can be enlarged.
        RelaxationError: If normal modes are wanted and no structure relaxes.
    """
    failed = failed or _ignore
    kept = screen(numbered(structures), bounds or Bounds(), failed, file=file)
    molecules, isolated = split_isolated(kept)
    data = _labelled(molecules, label_many)
    several = [atoms for atoms in molecules if len(atoms) > 1]
    if enlarge is not None and not several and molecules:
        raise ValueError(f"{file}: no structure has more than one atom, so nothing can be enlarged; set enlarge: null")
    errors: list[Exception] = []
    for place, atoms in enumerate(several):
        n_structures = 0 if enlarge is None or isinstance(enlarge, Snapshots) else enlarge.n_structures
        share = _share(n_structures, len(several), place)
        try:
            data += _enlarged(atoms, share, calculator, label_many, enlarge, seed)
        except (RelaxationError, LabelError, ValueError) as error:
            errors.append(error)
            if len(errors) == len(several):
                raise errors[0] from error
            reason = error.reason if isinstance(error, LabelError) else "not_converged"
            where = f"{file}, frame {atoms.info['frame']} (counting from 0)"
            failed(atoms, LabelError(reason, f"{where} is not enlarged: {error}"))
    return [*data, *_labelled(isolated, label_many)]


def _ignore(atoms: Atoms, error: LabelError) -> None:
    """Do nothing about a structure without a label."""


def numbered(structures: Sequence[Atoms]) -> list[Atoms]:
    """Copies that know the number of their frame in the file, counting from 0, for later messages."""
    result = []
    for index, atoms in enumerate(structures):
        one: Atoms = atoms.copy()
        one.calc = atoms.calc
        one.info.setdefault("frame", index)
        result.append(one)
    return result


def is_labelled(atoms: Atoms) -> bool:
    """True if there is an energy to learn, with forces or without."""
    return ENERGY in atoms.info or has_labels(atoms)


def _labelled(structures: Sequence[Atoms], label_many: LabelMany) -> list[Atoms]:
    known = [atoms for atoms in structures if is_labelled(atoms)]
    unknown = [atoms for atoms in structures if not is_labelled(atoms)]
    return [*known, *(label_many(unknown) if unknown else [])]


def _enlarged(
    atoms: Atoms,
    share: int,
    calculator: BaseCalculator,
    label_many: LabelMany,
    enlarge: NormalModes | Displacements | Snapshots | None,
    seed: int,
) -> list[Atoms]:
    """Structures that one structure of the file is enlarged by."""
    index = int(atoms.info["frame"])
    if isinstance(enlarge, Snapshots):
        return list(label_many(enlarge.take(atoms, derive(seed, "snapshots", index))))
    if isinstance(enlarge, NormalModes) and share:
        sample = normal_mode_sample(
            atoms,
            calculator,
            label_many,
            n_structures=share,
            temperatures=enlarge.temperatures,
            seed=derive(seed, "normal_modes", index) % 2**32,
        )
        return [sample.minimum, *sample.structures]
    if isinstance(enlarge, Displacements) and share:
        drawn = uniform_displacements(
            atoms, share, amplitude=enlarge.amplitude, seed=derive(seed, "displacements", index)
        )
        return list(label_many(drawn))
    return []


def _share(n: int, n_parts: int, index: int) -> int:
    return n // n_parts + (index < n % n_parts)
