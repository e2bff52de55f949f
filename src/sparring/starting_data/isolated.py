"""Isolated atoms, as data sets for MACE have them: they give the elements their reference energies.

As in MACE, they are not trained on: forces on a single atom are zero for every potential, so it adds only an energy,
and it is further from all other structures in energy than these are from each other.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols, ground_state_magnetic_moments

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.electronic_state import total_charge

__all__ = [
    "atomic_energies",
    "hund_multiplicity",
    "is_isolated_atom",
    "reference_atoms",
    "split_isolated",
    "without_isolated",
]

logger = logging.getLogger(__name__)

NAME = "isolatedatom"
"""The `config_type` of isolated atoms, without regard to case, blanks, hyphens and underscores."""

FAR = 8.0
"""An atom whose nearest image is at least this far away, in Å, is isolated, though its box is periodic."""


def is_isolated_atom(atoms: Atoms) -> bool:
    """True if a structure is a single isolated atom; a crystal with one atom in its cell is not.

    Codes for periodic systems put the atom into a large box. The box is recognised by its size, or by
    `config_type=IsolatedAtom`.
    """
    if len(atoms) != 1 or atoms.numbers[0] == 0:
        return False
    name = str(atoms.info.get("config_type", "")).lower()
    if not atoms.pbc.any() or name.translate(str.maketrans("", "", " _-")) == NAME:
        return True
    return _nearest_image(atoms) >= FAR


def split_isolated(structures: Sequence[Atoms]) -> tuple[list[Atoms], list[Atoms]]:
    """The other structures, and the isolated atoms with a label; an energy without forces gets the forces of zero.

    By symmetry there is no force on an isolated atom.
    """
    others, isolated = [], []
    for atoms in structures:
        if not is_isolated_atom(atoms):
            others.append(atoms)
            continue
        if ENERGY in atoms.info and FORCES not in atoms.arrays:
            atoms = atoms.copy()
            atoms.arrays[FORCES] = np.zeros((1, 3))
        isolated.append(atoms)
    return others, isolated


def atomic_energies(isolated: Sequence[Atoms]) -> dict[int, float]:
    """The energy of each element in eV, by atomic number: that of its lowest neutral isolated atom."""
    lowest: dict[int, float] = {}
    for atoms in isolated:
        number, energy = int(atoms.numbers[0]), float(atoms.info[ENERGY])
        if total_charge(atoms) == 0:
            lowest[number] = min(lowest.get(number, energy), energy)
    return dict(sorted(lowest.items()))


def without_isolated(dataset: Dataset) -> Dataset:
    """The data set without isolated atoms, whose energies no committee of molecules or crystals is made for.

    If there is nothing else, it stays as it is.
    """
    kept = [index for index, atoms in enumerate(dataset.to_atoms()) if not is_isolated_atom(atoms)]
    if not kept or len(kept) == len(dataset):
        return dataset
    logger.warning("%d isolated atoms are left out of the errors", len(dataset) - len(kept))
    return dataset.take(kept)


def missing_elements(energies: Mapping[int, float], numbers: Iterable[int]) -> list[str]:
    """The elements among these atomic numbers that have no energy, as symbols."""
    return [chemical_symbols[number] for number in sorted(set(map(int, numbers)) - set(energies))]


def reference_atoms(energies: Mapping[int, float]) -> list[Atoms]:
    """The energies as structures, to be written to a file: the inverse of :func:`atomic_energies`."""
    structures = []
    for number, energy in energies.items():
        atoms = Atoms(numbers=[number], positions=np.zeros((1, 3)))
        atoms.info |= {ENERGY: energy, "config_type": "IsolatedAtom", "charge": 0}
        atoms.arrays[FORCES] = np.zeros((1, 3))
        structures.append(atoms)
    return structures


def hund_multiplicity(number: int) -> int:
    """The multiplicity of the ground state of a neutral isolated atom, from the moments that ASE tabulates.

    The lowest multiplicity that the number of electrons allows is wrong for many: oxygen's ground state is a triplet.
    """
    moment = ground_state_magnetic_moments[number] if number < len(ground_state_magnetic_moments) else 0.0
    return round(float(moment)) + 1


def _nearest_image(atoms: Atoms) -> float:
    """The length of the shortest lattice vector along periodic directions, in Å."""
    steps = [range(-1, 2) if periodic else range(1) for periodic in atoms.pbc]
    vectors = [np.array((i, j, k)) @ atoms.cell.array for i in steps[0] for j in steps[1] for k in steps[2]]
    lengths = np.linalg.norm(vectors, axis=1)
    return float(lengths[lengths > 0].min(initial=np.inf))
