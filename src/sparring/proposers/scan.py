"""Bonds and angles of the seeds at values far from their own: where attacks on torsions leave holes.

Bond-length sampling makes potentials stable from a few labels on (arXiv:2509.10270); committees also see angles here.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from ase import Atoms

from sparring.atoms.internal_coordinates import InternalCoordinate, bonds_and_angles, values, with_value
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.proposers.base import predicted
from sparring.support.seeds import derive

__all__ = ["n_scanned", "scan"]


def scan(
    committee: Committee,
    seeds: Structures,
    *,
    seed: int,
    fractions: tuple[float, float] = (0.75, 1.35),
    n_values: int = 6,
    references: Sequence[Atoms] = (),
    max_memory: float | None = 4e9,
) -> Candidates:
    """One candidate for every group of equivalent bonds or angles and every value, from seeds drawn at random.

    The range of the fractions is divided into as many equal intervals as there are values, and the value of a candidate
    is drawn from one of them. Its bond or angle is one of the group, and its seed one of those with the same atoms in
    the same order; fragments on either side move rigidly (:mod:`sparring.atoms.internal_coordinates`). Angles beyond
    180° are left out.

    Args:
        committee: Committee that predicts.
        seeds: Geometries to change.
        seed: Seed of the random numbers.
        fractions: Smallest and largest value, as multiples of that in the seed.
        n_values: Number of values.
        references: Intact structures with the same atoms in the same order as seeds, for their bonds; by default the
            first seed with these atoms. The bonds of a periodic structure are always its own.
        max_memory: Bytes to take at a time; None for no limit.

    Raises:
        ValueError: If an argument is out of range, or there is no bond and no angle that can be changed.
    """
    low, high = fractions
    if not (0 < low < high < math.inf and n_values > 0):
        raise ValueError(f"need 0 < low < high and n_values > 0, got {low:g}, {high:g} and {n_values}")
    generator = np.random.default_rng(derive(seed, "scan"))
    frames, origins, positions = seeds.to_atoms(), list[int](), list[torch.Tensor]()
    of_molecule: dict[tuple[int, ...], list[int]] = {}
    for index, atoms in enumerate(frames):
        of_molecule.setdefault(tuple(atoms.numbers.tolist()), []).append(index)
    for numbers, indices in of_molecule.items():
        bonded = next((one for one in references if tuple(one.numbers.tolist()) == numbers), frames[indices[0]])
        if bonded.pbc.any():  # atoms of another seed may be in other cells
            indices = [indices[generator.integers(len(indices))]]
            bonded = frames[indices[0]]
        for group in _groups(bonded):
            draws = (np.arange(n_values) + generator.random(n_values)) / n_values
            for fraction in (low + (high - low) * draws).tolist():
                index = indices[generator.integers(len(indices))]
                coordinate = group[generator.integers(len(group))]
                if (moved := _at(frames[index], coordinate, fraction)) is not None:
                    origins.append(index)
                    positions.append(moved)
    if not origins:
        raise ValueError("the seeds have no bond and no angle that can be changed")
    changed = replace(seeds.take(origins), edges=None)
    changed = changed.with_free_positions(torch.cat(positions).to(changed.positions))
    return predicted(committee, changed, origin=np.array(origins), max_memory=max_memory)


def n_scanned(atoms: Atoms, n_values: int) -> int:
    """Largest number of candidates from seeds with these atoms."""
    return n_values * len(_groups(atoms))


def _groups(atoms: Atoms) -> list[list[InternalCoordinate]]:
    """Bonds and angles that can be changed, by group; a lone atom has none."""
    groups: dict[int, list[InternalCoordinate]] = {}
    for coordinate in bonds_and_angles(atoms) if len(atoms) > 1 else ():
        if coordinate.parts:
            groups.setdefault(coordinate.group, []).append(coordinate)
    return list(groups.values())


def _at(atoms: Atoms, coordinate: InternalCoordinate, fraction: float) -> torch.Tensor | None:
    """Positions in which a bond or an angle has a multiple of its value; None where that is no angle."""
    positions, cell = torch.as_tensor(atoms.positions), torch.as_tensor(atoms.cell.array)
    wanted = fraction * values(positions, [coordinate], cell)[0]
    if coordinate.kind == "angle" and float(wanted) > math.pi:
        return None
    return with_value(positions, coordinate, wanted, cell)
