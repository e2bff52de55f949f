"""Displacements along curves: a methyl group that turns keeps its bonds, where straight lines would stretch them.

Harmonic theory is about small displacements. Along a soft mode atoms go far, and straight lines lengthen each bond that
turns by about (perpendicular displacement)²/2r, at a cost of electronvolts. In internal coordinates the same mode
changes no bond. So bonds and angles are given the lengths that they have to first order.
"""

from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float, Int
from scipy.optimize import least_squares
from scipy.sparse import coo_array, csr_array, eye_array, vstack

from sparring.atoms.bonds import find_bonds

__all__ = ["along_curves"]

# A bond that is longer than to first order by more than this, in Å, shows that lines are not straight enough.
TOLERANCE = 0.05
# The weight of angles against bonds, and of staying near the straight line, which decides about all that is neither.
ANGLES, LINE = 0.5, 0.01


def along_curves(
    atoms: Atoms, displacements: Float[np.ndarray, "n_structures n_atoms 3"], free: Bool[np.ndarray, "n_atoms 3"]
) -> Float[np.ndarray, "n_structures n_atoms 3"]:
    r"""Displacements that change bonds and angles as harmonic theory does, to first order, however far atoms go.

    .. math:: d_{ij} = \lvert r_{ij} \rvert + \hat r_{ij} \cdot (\delta_j - \delta_i)

    holds for bonded atoms, and for those with a common neighbour, as nearly as a geometry near the straight line can
    have it (least squares; cf. Bakken and Helgaker 2002, doi:10.1063/1.1515483, on steps in redundant internal
    coordinates). A displacement that lengthens no bond by more than 0.05 Å beyond that is returned as it is.

    Args:
        atoms: Geometry that is displaced, with its bonds.
        displacements: Cartesian displacements of each atom along straight lines, in Å.
        free: Coordinates that may change.
    """
    pairs = _pairs(atoms)
    return np.array([_along_curve(straight, pairs, free) for straight in displacements]).reshape(displacements.shape)


class _Pairs(NamedTuple):
    """Bonded atoms, and the ends of angles: the vector from the first to the second, in Å, and whether it is a bond."""

    first: Int[np.ndarray, " n_pairs"]
    second: Int[np.ndarray, " n_pairs"]
    vectors: Float[np.ndarray, "n_pairs 3"]
    bonded: Bool[np.ndarray, " n_pairs"]

    def after(self, displacement: Float[np.ndarray, "n_atoms 3"]) -> Float[np.ndarray, "n_pairs 3"]:
        """The vectors after all atoms have moved."""
        return np.asarray(self.vectors + displacement[self.second] - displacement[self.first])


def _along_curve(
    straight: Float[np.ndarray, "n_atoms 3"], pairs: _Pairs, free: Bool[np.ndarray, "n_atoms 3"]
) -> Float[np.ndarray, "n_atoms 3"]:
    lengths = np.linalg.norm(pairs.vectors, axis=1)
    linear = (pairs.vectors / lengths[:, None] * pairs.after(straight)).sum(axis=1)
    excess = np.linalg.norm(pairs.after(straight), axis=1) - linear
    if excess[pairs.bonded].max(initial=0.0) <= TOLERANCE:
        return straight
    target = np.maximum(linear, lengths / 2)
    weight = np.where(pairs.bonded, 1.0, ANGLES)
    columns = np.flatnonzero(free)

    def moved(y: Float[np.ndarray, " n_free"]) -> Float[np.ndarray, "n_atoms 3"]:
        displacement = np.zeros_like(straight)
        displacement[free] = y
        return displacement

    def residuals(y: Float[np.ndarray, " n_free"]) -> Float[np.ndarray, " n_residuals"]:
        differences = weight * (np.linalg.norm(pairs.after(moved(y)), axis=1) - target)
        return np.concatenate([differences, LINE * (y - straight[free])])

    def jacobian(y: Float[np.ndarray, " n_free"]) -> csr_array:
        vectors = pairs.after(moved(y))
        slopes = (weight[:, None] * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).ravel()
        rows = np.repeat(np.arange(len(vectors)), 3)
        first, second = ((3 * atom[:, None] + np.arange(3)).ravel() for atom in (pairs.first, pairs.second))
        places = (np.tile(rows, 2), np.concatenate([first, second]))
        distances = coo_array((np.concatenate([-slopes, slopes]), places), shape=(len(vectors), straight.size))
        derivatives: csr_array = vstack([distances.tocsr()[:, columns], LINE * eye_array(len(columns))], format="csr")
        return derivatives

    return moved(least_squares(residuals, straight[free], jac=jacobian, tr_solver="lsmr", max_nfev=100).x)


def _pairs(atoms: Atoms) -> _Pairs:
    """All bonds of a structure, and the two ends of each of its angles."""
    neighbours: list[list[tuple[int, np.ndarray]]] = [[] for _ in atoms]
    pairs = []
    for bond in find_bonds(atoms):
        vector = atoms.positions[bond.second] + np.array(bond.shift) @ atoms.cell.array - atoms.positions[bond.first]
        neighbours[bond.first].append((bond.second, vector))
        neighbours[bond.second].append((bond.first, -vector))
        pairs.append((bond.first, bond.second, vector, True))
    for ends in neighbours:
        for index, (first, vector) in enumerate(ends):
            pairs += [(first, second, other - vector, False) for second, other in ends[:index]]
    pairs = [pair for pair in pairs if pair[0] != pair[1]]
    return _Pairs(
        first=np.array([pair[0] for pair in pairs], dtype=int),
        second=np.array([pair[1] for pair in pairs], dtype=int),
        vectors=np.array([pair[2] for pair in pairs]).reshape(-1, 3),
        bonded=np.array([pair[3] for pair in pairs], dtype=bool),
    )
