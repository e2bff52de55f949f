"""Displacements of structures: uniform ones, and those of free coordinates in general."""

import math

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float

from sparring.atoms.constraints import fixed_coordinates
from sparring.atoms.inheritance import bare_copy

__all__ = ["displace", "free_coordinates", "uniform_displacements"]


def uniform_displacements(atoms: Atoms, n_structures: int, *, amplitude: float, seed: int) -> list[Atoms]:
    """Move every free coordinate by U(-amplitude, amplitude), in Å: the baseline without any knowledge of the molecule.

    Raises:
        ValueError: If the amplitude is not a positive length.
    """
    if not 0 < amplitude < math.inf:
        raise ValueError(f"the amplitude of displacements must be a positive length, got {amplitude} Å")
    generator = np.random.default_rng(seed)
    drawn = [displace(atoms, generator.uniform(-amplitude, amplitude, (len(atoms), 3))) for _ in range(n_structures)]
    for one in drawn:
        one.info.update(source="displacement", parent=-1)
    return drawn


def displace(atoms: Atoms, displacement: Float[np.ndarray, "n_atoms 3"]) -> Atoms:
    """The structure with its free coordinates displaced, without a label."""
    moved = bare_copy(atoms)
    moved.positions = np.where(free_coordinates(atoms), moved.positions + displacement, moved.positions)
    return moved


def free_coordinates(atoms: Atoms) -> Bool[np.ndarray, "n_atoms 3"]:
    """Mask of the coordinates that are not fixed."""
    fixed = fixed_coordinates(atoms)
    return np.ones((len(atoms), 3), dtype=bool) if fixed is None else ~fixed
