"""A system of one's own: structures from a file, labelled or not, enlarged if wanted."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.atoms.reading import read_atoms
from sparring.dataset import ENERGY, FORCES
from sparring.labelled import has_labels
from sparring.randomness import derive
from sparring.sampling import LabelMany, normal_mode_sample, uniform_displacements

__all__ = ["Displacements", "NormalModes", "Snapshots", "assume_state", "read_own", "starting_data"]

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
    relabel: bool = False,
    charge: int = 0,
    multiplicity: int | None = None,
) -> list[Atoms]:
    """The structures of a file, labelled where the file has labels.

    A frame with an energy and no forces gets its energy only. One that has neither, and nothing that looks like them,
    comes without a label.

    Args:
        file: Extended XYZ, or whatever :func:`sparring.atoms.reading.read_atoms` reads.
        energy_key: The file's name of total energies, in eV; left as it is, known names are looked for.
        forces_key: The file's name of forces, in eV/Å.
        relabel: Whether labels of the file are left aside, to be computed anew.
        charge: Charge of structures that do not say theirs.
        multiplicity: Multiplicity of these; None for the lowest one that the number of electrons allows.

    Raises:
        ValueError: As :func:`sparring.atoms.reading.read_file`, above all if something looks like a label whose name is
            not known.
        OSError: If the file cannot be opened.
    """
    labels: Literal["relabel", "optional"] = "relabel" if relabel else "optional"
    structures = read_atoms(file, labels=labels, energy_key=energy_key, forces_key=forces_key)
    for atoms in structures:
        atoms.info.update(source="file", parent=-1)
    for name, assumed in (("charge", charge), ("multiplicity", multiplicity)):
        others = [one.info[name] for one in structures if name in one.info and one.info[name] != assumed]
        if others and assumed:
            _logger.warning(
                "%s: %d of %d frames say another %s (%s) than the configuration (%d); each frame's own is used",
                *(file, len(others), len(structures), name, ", ".join(map(str, sorted(set(others)))), assumed),
            )
    return assume_state(structures, charge=charge, multiplicity=multiplicity)


def assume_state(structures: list[Atoms], *, charge: int, multiplicity: int | None) -> list[Atoms]:
    """The structures with a charge and a multiplicity; those that say theirs keep it."""
    assumed = {"charge": charge} | ({} if multiplicity is None else {"multiplicity": multiplicity})
    result = [atoms.copy() for atoms in structures]
    for atoms in result:
        atoms.info = assumed | atoms.info
    return result


def starting_data(
    structures: list[Atoms],
    calculator: BaseCalculator,
    label_many: LabelMany,
    *,
    enlarge: NormalModes | Displacements | Snapshots | None = None,
    seed: int = 0,
) -> list[Atoms]:
    """Labelled structures to begin with: what the file has, labelled where it is not, and what it is enlarged by.

    Structures that cannot be labelled are left out.

    Args:
        structures: From :func:`read_own`.
        calculator: The labeller, for relaxations.
        label_many: The labeller, for many structures at once.
        enlarge: What to add; its number of structures, if it has one, is shared out over those of the file.
        seed: Of the displacements and of the dynamics.
    """
    known = [atoms for atoms in structures if has_labels(atoms)]
    unknown = [atoms for atoms in structures if not has_labels(atoms)]
    data = [*known, *label_many(unknown)]
    for index, atoms in enumerate(structures):
        if isinstance(enlarge, Snapshots):
            data += label_many(enlarge.take(atoms, derive(seed, "snapshots", index)))
            continue
        share = _share(enlarge.n_structures, len(structures), index) if enlarge else 0
        if isinstance(enlarge, NormalModes) and share:
            sample = normal_mode_sample(
                atoms,
                calculator,
                label_many,
                n_structures=share,
                temperatures=enlarge.temperatures,
                seed=derive(seed, "normal_modes", index) % 2**32,
            )
            data += [sample.minimum, *sample.structures]
        if isinstance(enlarge, Displacements) and share:
            drawn = uniform_displacements(
                atoms, share, amplitude=enlarge.amplitude, seed=derive(seed, "displacements", index)
            )
            data += label_many(drawn)
    return data


def _share(n: int, n_parts: int, index: int) -> int:
    return n // n_parts + (index < n % n_parts)
