"""Bonds from distances, and the bond graph: rings, and the atoms that turn about a bond."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from ase import Atoms
from ase.data import covalent_radii

from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures

__all__ = ["BONDED", "Bond", "BondGraph", "find_bonds"]

BONDED = 1.25
"""Atoms are bonded that are closer than this many times the sum of their covalent radii (those that ASE has, of Cordero
et al. 2008, doi:10.1039/B801115J)."""


class Bond(NamedTuple):
    """Two atoms of a structure, in units of the cell the image of the second one, and their distance in Å."""

    first: int
    second: int
    shift: tuple[float, float, float]
    length: float


def find_bonds(atoms: Atoms, factor: float = BONDED) -> tuple[Bond, ...]:
    """All bonds of a structure, each once.

    Args:
        atoms: The structure.
        factor: Largest distance of bonded atoms, as a multiple of the sum of their covalent radii.
    """
    radii = torch.as_tensor(covalent_radii[atoms.numbers])
    structures = with_edges(Structures.from_atoms([atoms], ignore_constraints=True), 2 * factor * float(radii.max()))
    assert structures.edges is not None
    source, target, shifts = structures.edges
    length = distances(structures)
    rows = torch.nonzero(length < factor * (radii[source] + radii[target])).flatten().tolist()
    found = []
    for row in rows:
        first, second = int(target[row]), int(source[row])
        i, j, k = shifts[row].tolist()
        if (first, 0.0, 0.0, 0.0) < (second, i, j, k):  # the other direction is the same bond
            found.append(Bond(first, second, (i, j, k), float(length[row])))
    return tuple(found)


@dataclass(frozen=True)
class BondGraph:
    """The bonds of a molecule as a graph.

    Attributes:
        n_atoms: Number of atoms.
        bonds: Pairs of atoms, the lower one first, in rising order.
    """

    n_atoms: int
    bonds: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, n_atoms: int, pairs: Iterable[Sequence[int]]) -> "BondGraph":
        """The graph of these pairs, in any order.

        Raises:
            ValueError: If an item is not a pair of different atoms of the molecule.
        """
        bonds = set()
        for pair in pairs:
            if len(pair) != 2 or pair[0] == pair[1] or not all(0 <= atom < n_atoms for atom in pair):
                raise ValueError(f"a bond is a pair of different atoms from 0 to {n_atoms - 1}, got {tuple(pair)}")
            bonds.add((int(min(pair)), int(max(pair))))
        return cls(n_atoms, tuple(sorted(bonds)))

    @cached_property
    def neighbours(self) -> tuple[tuple[int, ...], ...]:
        """Bonded atoms of each atom, in rising order."""
        of_atom: list[list[int]] = [[] for _ in range(self.n_atoms)]
        for first, second in self.bonds:
            of_atom[first].append(second)
            of_atom[second].append(first)
        return tuple(tuple(sorted(others)) for others in of_atom)

    def bonded(self, first: int, second: int) -> bool:
        """True if there is a bond between two atoms."""
        return second in self.neighbours[first]

    def beyond(self, first: int, second: int) -> frozenset[int]:
        """The atoms on the second one's side of a bond: those that it is connected to other than through the bond."""
        reached = {second}
        border = [second]
        while border:
            atom = border.pop()
            for other in self.neighbours[atom]:
                if other not in reached and {atom, other} != {first, second}:
                    reached.add(other)
                    border.append(other)
        return frozenset(reached)

    def in_ring(self, first: int, second: int) -> bool:
        """True if a bond is part of a ring: its atoms stay connected without it."""
        return first in self.beyond(first, second)
