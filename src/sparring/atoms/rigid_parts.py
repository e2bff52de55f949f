"""Bonds as a graph that knows periodic images, and the atoms that move as a rigid body when a bond or angle changes."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.atoms.bonds import Bond, BondGraph, find_bonds
from sparring.atoms.closeness import closest_pairs
from sparring.atoms.constraints import fixed_coordinates
from sparring.atoms.structures import Structures

__all__ = ["HERE", "ImageGraph", "Part", "Place", "Shift", "bonds_or_closest_pairs"]

NEAREST = 1.15
"""Pairs of a structure without bonds count up to this many times the distance of the closest one, scaled by radii."""

Shift = tuple[int, int, int]
Place = tuple[int, Shift]
"""An atom and the image of it, in units of the cell."""
HERE: Shift = (0, 0, 0)


class Part(NamedTuple):
    """Atoms that move as a rigid body when a coordinate changes.

    Attributes:
        atoms: Indices of the atoms.
        shifts: Images of these atoms that are one connected body with the coordinate, in units of the cell.
        share: Fraction of the change that they make; negative at the first atom, positive at the last.
    """

    atoms: tuple[int, ...]
    shifts: tuple[Shift, ...]
    share: float


class ImageGraph:
    """Bonds between atoms and images of atoms.

    Args:
        atoms: The structure.
        bonds: Its bonds.
    """

    def __init__(self, atoms: Atoms, bonds: Sequence[Bond]) -> None:
        fixed = fixed_coordinates(atoms)
        self.fixed = frozenset() if fixed is None else frozenset(np.flatnonzero(fixed.any(axis=1)).tolist())
        self.bonds = [(bond.first, (bond.second, _whole(bond.shift))) for bond in bonds]
        neighbours: list[list[Place]] = [[] for _ in atoms]
        for first, (second, shift) in self.bonds:
            neighbours[first].append((second, shift))
            neighbours[second].append((first, _minus(shift)))
        self.neighbours = [sorted(several) for several in neighbours]
        self.environments = _environments(atoms.numbers.tolist(), self.neighbours)

    def parts_of_bond(self, first: int, second: Place) -> tuple[tuple[Part, ...], str]:
        """Bodies that move when a bond changes; if there is none, the reason."""
        other, shift = second
        if first == other:
            return (), "it joins an atom with its own image"
        back = self._side(other, (first, _minus(shift)))
        sides = (None if back is None else _shifted(back, shift), self._side(first, second))
        bodies = (self._holding((first, HERE), but=other), self._holding(second, but=first))
        return self._parts(sides, bodies)

    def parts_of_angle(self, vertex: int, first: Place, last: Place) -> tuple[tuple[Part, ...], str]:
        """Bodies that move when an angle changes; if there is none, the reason."""
        if len({vertex, first[0], last[0]}) < 3:
            return (), "it has two images of an atom, because the cell is small"
        sides = self._side(vertex, first), self._side(vertex, last)
        return self._parts(sides, (self._holding(first, but=vertex), self._holding(last, but=vertex)))

    def _side(self, atom: int, neighbour: Place) -> dict[int, Shift] | None:
        """Atoms beyond a bond, with their images; None if they are connected otherwise too, or repeat without end."""
        start, shift = neighbour
        reached, border = {start: shift}, [start]
        while border:
            here = border.pop()
            for other, step in self.neighbours[here]:
                there = _plus(reached[here], step)
                if (here, other, there) == (start, atom, HERE):
                    continue  # back through the bond
                if other == atom or reached.get(other, there) != there:
                    return None
                if other not in reached:
                    reached[other] = there
                    border.append(other)
        return reached

    def _holding(self, place: Place, but: int) -> dict[int, Shift]:
        """An atom and the free fragments that only it holds, other than that of one neighbour."""
        atom, shift = place
        body = {atom: shift}
        for other, step in self.neighbours[atom]:
            side = None if other == but else self._side(atom, (other, step))
            if side is not None and not self.fixed & side.keys():
                body |= _shifted(side, shift)
        return body

    def _parts(
        self, sides: Sequence[dict[int, Shift] | None], bodies: Sequence[dict[int, Shift]]
    ) -> tuple[tuple[Part, ...], str]:
        """The smaller of two fragments, the second of equal ones; where neither can move, both ends with theirs."""
        free = [(sign, side) for sign, side in zip((1.0, -1.0), reversed(sides), strict=True) if self._is_free(side)]
        if free:
            sign, side = min(free, key=lambda one: len(one[1] or {}))
            return (_part(side or {}, sign),), ""
        loose = [(sign, body) for sign, body in zip((-1.0, 1.0), bodies, strict=True) if self._is_free(body)]
        if not loose:
            return (), "its atoms are fixed"
        return tuple(_part(body, sign / len(loose)) for sign, body in loose), ""

    def _is_free(self, body: dict[int, Shift] | None) -> bool:
        return body is not None and not self.fixed & body.keys()


def bonds_or_closest_pairs(atoms: Atoms, pairs: Sequence[Sequence[int]] | None = None) -> tuple[Bond, ...]:
    """The bonds of a structure: those given, else those found from distances, else its closest pairs.

    Raises:
        ValueError: If pairs are given for a periodic structure, or are not of different atoms.
    """
    if pairs is not None:
        if atoms.pbc.any():
            raise ValueError("bonds can be given for molecules only; leave them out for a periodic structure")
        chosen = BondGraph.of(len(atoms), pairs).bonds
        return tuple(Bond(i, j, (0.0, 0.0, 0.0), float(atoms.get_distance(i, j))) for i, j in chosen)
    bonds = find_bonds(atoms)
    if bonds or not atoms.numbers.any():  # the particle of a toy well has none
        return bonds
    closest = float(closest_pairs(Structures.from_atoms([atoms], ignore_constraints=True)).scaled[0])
    return find_bonds(atoms, NEAREST * closest) if math.isfinite(closest) else ()


def _environments(atomic_numbers: Sequence[int], neighbours: Sequence[Sequence[Place]]) -> list[int]:
    """Numbers that are equal for atoms with the same element and, as far as bonds lead, the same environment."""
    colours: list[int] = list(atomic_numbers)
    while True:
        seen = [(colours[i], *sorted(colours[j] for j, _ in others)) for i, others in enumerate(neighbours)]
        numbered = dict(zip(sorted(set(seen)), itertools.count(), strict=False))
        if len(numbered) == len(set(colours)):
            return [numbered[one] for one in seen]
        colours = [numbered[one] for one in seen]


def _part(body: dict[int, Shift], share: float) -> Part:
    atoms = sorted(body)
    return Part(tuple(atoms), tuple(body[atom] for atom in atoms), share)


def _shifted(body: dict[int, Shift], shift: Shift) -> dict[int, Shift]:
    return {atom: _plus(image, shift) for atom, image in body.items()}


def _whole(shift: Sequence[float]) -> Shift:
    i, j, k = (round(one) for one in shift)
    return i, j, k


def _plus(one: Shift, other: Shift) -> Shift:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]


def _minus(shift: Shift) -> Shift:
    return -shift[0], -shift[1], -shift[2]
