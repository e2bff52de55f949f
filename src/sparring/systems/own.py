"""A system of one's own: structures from a file, labelled or not, enlarged if wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.constraints import fixed_coordinates
from sparring.dataset import ENERGY, FORCES
from sparring.extxyz import read_structures
from sparring.labelled import has_labels, with_label
from sparring.randomness import derive
from sparring.sampling import LabelMany, bare_copy, normal_mode_sample, uniform_displacements

__all__ = ["Displacements", "NormalModes", "Snapshots", "assume_state", "read_own", "starting_data"]


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
    charge: int = 0,
    multiplicity: int | None = None,
) -> list[Atoms]:
    """The structures of a file; those that carry both keys, or ASE's own energy and forces, come labelled.

    Args:
        file: Extended XYZ.
        energy_key: What the file calls total energies, in eV.
        forces_key: What the file calls forces, in eV/Å.
        charge: Of structures that do not say theirs.
        multiplicity: Likewise; None for the lowest one that the number of electrons allows.

    Raises:
        ValueError: As :func:`sparring.extxyz.read_structures`, and if a frame has one of the two keys only.
        OSError: If the file cannot be opened.
    """
    result = []
    for index, atoms in enumerate(read_structures(file)):
        fixed_coordinates(atoms, f"{file}, frame {index} (counting from 0)")  # raises if others would be lost
        if has_labels(atoms) or energy_key in atoms.info or forces_key in atoms.arrays:
            own = with_label(atoms, energy_key, forces_key, f"{file}, frame {index} (counting from 0)")
        else:
            own = bare_copy(atoms)
        own.info.update(source="file", parent=-1)
        result.append(own)
    return assume_state(result, charge=charge, multiplicity=multiplicity)


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
