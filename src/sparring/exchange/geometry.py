r"""Geometries that are the same but for a rigid motion, lattice translations and the order of their atoms.

Programs move molecules into the middle of a box, turn them into a standard orientation, sort atoms by element, and wrap
atoms back into the cell. Forces of the moved geometry y belong to that of x after

.. math:: F_i(x) = F_{\pi(i)}(y)\, R, \qquad x_i \approx y_{\pi(i)} R + t

with the proper rotation R and the order π that bring y onto x.
"""

import math
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import complete_cell, find_mic
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

from sparring.atoms.permutations import rotations
from sparring.atoms.strain import from_voigt, to_voigt

__all__ = ["Motion", "motion_onto"]

SHORT = 0.1
"""Distance from the centre, in Å, below which an atom does not tell how a molecule is turned."""
EXACT = 1e-5
"""Deviation in Å at which no better order of atoms is looked for."""
REACH = 20.0
"""Deviation within which atoms are paired before the rotation is refined, in tolerances."""


class Motion(NamedTuple):
    """Motion that brings a geometry onto another one of the same atoms.

    Attributes:
        deviation: Largest distance that is left between two atoms or lattice vectors, in Å; infinite if the atoms are
            not the same.
        order: Atom of the moved geometry for each atom of the other one; None for the same order.
        rotation: Rotation of row vectors; None for none.
    """

    deviation: float
    order: Int[np.ndarray, " n_atoms"] | None = None
    rotation: Float[np.ndarray, "3 3"] | None = None

    def vectors(self, vectors: Float[np.ndarray, "n_atoms 3"]) -> Float[np.ndarray, "n_atoms 3"]:
        """Vectors of the atoms, such as forces, in the frame and the order of the other geometry."""
        moved = vectors if self.order is None else vectors[self.order]
        return np.array(moved if self.rotation is None else moved @ self.rotation, dtype=float)

    def stress(self, stress: Float[np.ndarray, "6"]) -> Float[np.ndarray, "6"]:
        """A stress in the frame of the other geometry."""
        if self.rotation is None:
            return np.array(stress, dtype=float)
        return np.asarray(to_voigt(self.rotation.T @ from_voigt(stress) @ self.rotation))


DIFFERENT = Motion(math.inf)


def motion_onto(target: Atoms, moved: Atoms, tolerance: float) -> Motion:
    """The motion that brings a geometry onto another one, as far as it is the same.

    Atoms that are in the same order and place stay exactly as they are. Another order of atoms is found only if it
    brings them within the tolerance.

    Args:
        target: Geometry that the other one is brought onto. If it is not periodic, the other may be in a box.
        moved: Geometry that is moved.
        tolerance: Largest distance of atoms that are the same, in Å.
    """
    if not np.array_equal(np.sort(target.numbers), np.sort(moved.numbers)):
        return DIFFERENT
    if target.pbc.any():
        return _of_crystals(target, moved, tolerance)
    positions = _whole(moved) if moved.pbc.any() else moved.positions
    return _of_molecules(target, Atoms(moved.numbers, positions), tolerance)


# --- molecules --------------------------------------------------------------------------------------------------------


def _of_molecules(target: Atoms, moved: Atoms, tolerance: float) -> Motion:
    x, y = target.positions - target.positions.mean(0), moved.positions - moved.positions.mean(0)
    in_order = DIFFERENT
    if np.array_equal(target.numbers, moved.numbers):
        if (deviation := _farthest(x - y)) <= tolerance:
            return Motion(deviation)
        rotation = rotations(y.T @ x, reflect=False)
        in_order = Motion(_farthest(y @ rotation - x), None, rotation)
        if in_order.deviation <= tolerance:
            return in_order
    found = _reordered(x, target.numbers, y, moved.numbers, tolerance)
    return found if found.deviation <= tolerance else in_order


def _reordered(
    x: Float[np.ndarray, "n_atoms 3"],
    numbers: Int[np.ndarray, " n_atoms"],
    y: Float[np.ndarray, "n_atoms 3"],
    other_numbers: Int[np.ndarray, " n_atoms"],
    tolerance: float,
) -> Motion:
    """The best motion with another order of atoms: two atoms and the centre say how a molecule is turned."""
    radii, other_radii = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    alike = (numbers[None] == other_numbers[:, None]) & (np.abs(radii[None] - other_radii[:, None]) <= 2 * tolerance)
    if not alike.any(axis=1).all():
        return DIFFERENT
    best = DIFFERENT
    anchors = _anchors(y, other_radii, alike)
    for partners in _partners(x, y, anchors, alike, tolerance):
        rotation = rotations(y[anchors].T @ x[partners], reflect=False)
        order = _nearest(x, numbers, y @ rotation, other_numbers, REACH * tolerance)
        if order is None:
            continue
        rotation = rotations(y[order].T @ x, reflect=False)
        deviation = _farthest(y[order] @ rotation - x)
        if deviation < best.deviation:
            best = Motion(deviation, order, rotation)
        if deviation <= EXACT:
            break
    return best


def _anchors(y: np.ndarray, radii: np.ndarray, alike: np.ndarray) -> list[int]:
    """One or two atoms that have few counterparts, not in line with the centre."""
    few = alike.sum(axis=1)
    far = np.flatnonzero(radii > SHORT)
    if not len(far):
        return [0]
    first = min(far, key=lambda i: (few[i], -radii[i]))
    sideways = np.linalg.norm(np.cross(y, y[first] / radii[first]), axis=1)
    beside = np.flatnonzero(sideways > SHORT)
    second = [min(beside, key=lambda i: (few[i], -sideways[i]))] if len(beside) else []
    return [int(first), *map(int, second)]


def _partners(x: np.ndarray, y: np.ndarray, anchors: list[int], alike: np.ndarray, tolerance: float) -> list[list[int]]:
    """Atoms of the target that the anchors may be."""
    candidates = [np.flatnonzero(alike[anchor]).tolist() for anchor in anchors]
    if len(anchors) == 1:
        return [[one] for one in candidates[0]]
    apart = np.linalg.norm(y[anchors[0]] - y[anchors[1]])
    return [
        [one, other]
        for one in candidates[0]
        for other in candidates[1]
        if one != other and abs(np.linalg.norm(x[one] - x[other]) - apart) <= 2 * tolerance
    ]


def _nearest(
    x: np.ndarray, numbers: np.ndarray, y: np.ndarray, other_numbers: np.ndarray, reach: float
) -> Int[np.ndarray, " n_atoms"] | None:
    """The atom of y of the same element nearest to each of x; None if there is none within reach, or not one each."""
    distances = np.where(numbers[:, None] == other_numbers[None], cdist(x, y), np.inf)
    order = distances.argmin(axis=1)
    if len(set(order.tolist())) < len(order) or distances.min(axis=1).max() > reach:
        return None
    return np.asarray(order)


def _whole(atoms: Atoms) -> Float[np.ndarray, "n_atoms 3"]:
    """Positions of a molecule in a box that is not cut by its faces: each atom next to the nearest one before it."""
    positions = atoms.positions.copy()
    done, left = [0], list(range(1, len(atoms)))
    while left:
        between = positions[left][:, None] - positions[done][None]
        vectors, lengths = find_mic(between.reshape(-1, 3), atoms.cell, atoms.pbc)
        place, neighbor = np.unravel_index(int(np.argmin(lengths)), (len(left), len(done)))
        vector = vectors.reshape(len(left), len(done), 3)[place, neighbor]
        atom = left.pop(int(place))
        positions[atom] = positions[done[int(neighbor)]] + vector
        done.append(atom)
    return np.asarray(positions)


# --- crystals, slabs and chains ---------------------------------------------------------------------------------------


def _of_crystals(target: Atoms, moved: Atoms, tolerance: float) -> Motion:
    periodic = target.pbc
    if (periodic & ~moved.pbc).any():
        return DIFFERENT
    cell, other = target.cell.array[periodic], moved.cell.array[periodic]
    rotation, strain = None, _farthest(cell - other)
    if strain > tolerance and periodic.all():
        rotation = rotations(other.T @ cell, reflect=False)
        strain = _farthest(other @ rotation - cell)
    if strain > tolerance:
        return Motion(strain)
    frame = complete_cell(np.where(periodic[:, None], target.cell.array, 0.0))
    places = moved.positions if rotation is None else moved.positions @ rotation
    x, y = (positions @ np.linalg.inv(frame) for positions in (target.positions, places))
    in_order = DIFFERENT
    if np.array_equal(target.numbers, moved.numbers):
        in_order = Motion(max(strain, _apart(y - x, frame, periodic)), None, rotation)
        if in_order.deviation <= tolerance:
            return in_order
    number = min(set(target.numbers.tolist()), key=target.numbers.tolist().count)
    first = int(np.flatnonzero(moved.numbers == number)[0])
    for partner in np.flatnonzero(target.numbers == number):
        shift = y[first] - x[partner]
        between = _wrapped(y[None] - x[:, None] - shift, periodic) @ frame
        lengths = np.linalg.norm(between, axis=2)
        lengths = np.where(target.numbers[:, None] == moved.numbers[None], lengths, np.inf)
        order = lengths.argmin(axis=1)
        if len(set(order.tolist())) == len(order) and lengths.min(axis=1).max() <= REACH * tolerance:
            deviation = max(strain, _apart(y[order] - x, frame, periodic))
            if deviation <= tolerance:
                return Motion(deviation, np.asarray(order), rotation)
    return in_order


def _apart(differences: np.ndarray, frame: np.ndarray, periodic: np.ndarray) -> float:
    """Largest distance of atoms after the best translation, from differences of fractional coordinates."""
    relative = _wrapped(differences - differences[0], periodic)
    return _farthest((relative - relative.mean(axis=0)) @ frame)


def _wrapped(fractions: np.ndarray, periodic: np.ndarray) -> np.ndarray:
    return np.where(periodic, fractions - np.round(fractions), fractions)


def _farthest(vectors: np.ndarray) -> float:
    return float(np.linalg.norm(vectors, axis=-1).max(initial=0.0))
