"""Molecules in periodic structures: a guest in a framework, an adsorbate, the molecules of a molecular crystal.

A molecule is a set of atoms that bonds connect, whose bonds do not lead to images of its own atoms. What extends
through the cell in this way is a framework: a crystal, a layer, or a chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float, Int

from sparring.atoms.bonds import find_bonds
from sparring.atoms.structures import Structures

__all__ = [
    "Fragment",
    "Guests",
    "Molecules",
    "closest_images",
    "fragments",
    "made_whole",
    "molecules_in",
    "require_host",
]

Molecules = tuple[tuple[int, ...], ...]
"""Atoms of each molecule."""


class Fragment(NamedTuple):
    """Atoms that bonds connect.

    Attributes:
        atoms: Indices of the atoms, the lowest one first, and then in the order in which bonds lead to them.
        shifts: Images of the atoms that are one connected body, in units of the cell.
        endless: Flag for a framework: bonds lead to images of its own atoms.
    """

    atoms: tuple[int, ...]
    shifts: Float[np.ndarray, "n_atoms 3"]
    endless: bool


def fragments(atoms: Atoms) -> tuple[Fragment, ...]:
    """All atoms of a structure, divided where there are no bonds, in the order of their first atoms."""
    beside: list[list[tuple[int, np.ndarray]]] = [[] for _ in atoms]
    for bond in find_bonds(atoms):
        beside[bond.first].append((bond.second, np.array(bond.shift)))
        beside[bond.second].append((bond.first, -np.array(bond.shift)))
    shifts, found = dict[int, np.ndarray](), list[Fragment]()
    for start in range(len(atoms)):
        if start in shifts:
            continue
        members, shifts[start] = [start], np.zeros(3)
        endless = False
        for atom in members:
            for other, step in beside[atom]:
                there = shifts[atom] + step
                if other not in shifts:
                    shifts[other] = there
                    members.append(other)
                endless = endless or bool((shifts[other] != there).any())
        found.append(Fragment(tuple(members), np.array([shifts[atom] for atom in members]), endless))
    return tuple(found)


def molecules_in(atoms: Atoms, named: Sequence[int] | None = None) -> Molecules:
    """Atoms of each molecule of a structure that is not bonded to a framework, in rising order.

    Args:
        atoms: The structure.
        named: Atoms that count as the only molecule instead, whatever their bonds are.

    Raises:
        ValueError: If there is no molecule, or a named atom does not exist.
    """
    formula = atoms.get_chemical_formula()
    if named is not None:
        wrong = [atom for atom in named if not 0 <= atom < len(atoms)]
        if not len(named) or wrong:
            got = f"got {wrong[0]}" if wrong else "got none"
            raise ValueError(f"the atoms of a guest in {formula} are some of 0 to {len(atoms) - 1}, {got}")
        return (tuple(sorted({int(atom) for atom in named})),)
    found = tuple(tuple(sorted(one.atoms)) for one in fragments(atoms) if not one.endless)
    if not found:
        raise ValueError(
            f"{formula} has no guest: all of its atoms are bonded to a framework that extends through the cell; name "
            "the atoms of the guest, counted from 0"
        )
    return found


def require_host(atoms: Atoms, molecules: Molecules) -> None:
    """Check that there are other atoms than those of guests.

    Raises:
        ValueError: If there are none.
    """
    if sum(map(len, molecules)) == len(atoms):
        raise ValueError(
            f"all atoms of {atoms.get_chemical_formula()} belong to molecules, and nothing extends through the cell "
            "that could be their host; name the atoms of the guest, counted from 0"
        )


def closest_images(atoms: Atoms, group: Sequence[int]) -> Int[np.ndarray, "n_group 3"]:
    """Images of some atoms that are one body, in units of the cell, that of the first one being where it is.

    Atoms are joined by the tree of their shortest distances, which for a molecule are its bonds.
    """
    rows = np.array(group)
    here = atoms.positions[rows]
    cell, whole = atoms.cell.complete().array, here.copy()
    vectors, lengths = find_mic((here[None] - here[:, None]).reshape(-1, 3), cell, pbc=atoms.pbc)
    vectors, lengths = vectors.reshape(len(rows), len(rows), 3), lengths.reshape(len(rows), len(rows)).copy()
    outside = np.arange(len(rows)) > 0
    nearest, distance = np.zeros(len(rows), dtype=int), lengths[0]
    for _ in range(len(rows) - 1):
        new = int(np.where(outside, distance, np.inf).argmin())
        whole[new] = whole[nearest[new]] + vectors[nearest[new], new]
        outside[new] = False
        closer = outside & (lengths[new] < distance)
        nearest[closer], distance[closer] = new, lengths[new][closer]
    return np.rint(np.linalg.solve(cell.T, (whole - here).T).T).astype(int)


def made_whole(atoms: Atoms, groups: Molecules) -> Atoms:
    """A structure without periodic boundaries in which some groups of atoms are in one piece each."""
    whole: Atoms = atoms.copy()
    for group in groups:
        rows = list(group)
        whole.positions[rows] += closest_images(atoms, rows) @ atoms.cell.complete().array
    whole.pbc = False
    return whole


@dataclass(frozen=True)
class Guests:
    """Molecules of structures that are known by their atomic numbers.

    They follow from the bonds of a reference structure, not from those of a seed, in which a guest that touches the
    framework would look bonded to it. Best made by :meth:`Guests.of`.

    Attributes:
        known: Atomic numbers of each structure, and the atoms of each of its molecules.
    """

    known: tuple[tuple[tuple[int, ...], Molecules], ...]

    @classmethod
    def of(cls, structures: Atoms | Sequence[Atoms], atoms: Sequence[int] | None = None) -> "Guests":
        """The molecules that are not bonded to a framework, or one that is named.

        Args:
            structures: A structure, or one of each composition, with the guest away from the walls.
            atoms: Atoms of the guest, counted from 0; None to find the molecules from the distances.

        Raises:
            ValueError: If there is no structure, or one has no such molecule or atom.
        """
        several = [structures] if isinstance(structures, Atoms) else list(structures)
        if not several:
            raise ValueError("got no structure; guests are those of at least one")
        known = {tuple(one.numbers.tolist()): molecules_in(one, atoms) for one in several}
        return cls(tuple(known.items()))

    def molecules(self, seeds: Structures) -> list[Molecules]:
        """The molecules of each seed, counted from the first atom of the seed.

        Raises:
            ValueError: If a seed is none of the structures.
        """
        numbers, known = seeds.atomic_numbers.tolist(), dict(self.known)
        found, start = [], 0
        for index, count in enumerate(seeds.counts.tolist()):
            of_seed = tuple(numbers[start : start + count])
            if of_seed not in known:
                formulas = ", ".join(Atoms(one).get_chemical_formula() for one in known)
                raise ValueError(
                    f"seed {index} ({Atoms(of_seed).get_chemical_formula()}) is no structure whose guest is known "
                    f"(those are {formulas}, with the atoms in one order); leave it out, or give that structure too"
                )
            found.append(known[of_seed])
            start += count
        return found
