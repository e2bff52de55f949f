r"""Distances between crystals, slabs and chains, in Å, for any choice of periodic images, origin and axes.

Two crystals of the same atoms have cells A and B (lattice vectors as rows). The deformation :math:`F = A^{-1} P B`
leads from one to the other, where the integer matrix P of determinant 1 gives B's lattice other lattice vectors. Polar
decomposition parts it into a stretch and a rotation, :math:`F = S R`; :math:`s_1, s_2, s_3` are the eigenvalues of S.

.. math:: d^2 = \frac{1}{n} \sum_i \lVert (f_i - g_i - t)\, M \rVert^2 + \frac{\ell^2}{k} \sum_j \ln^2 s_j,
    \qquad M = A\,\frac{1 + S}{2}

=================  =====================================================================================================
:math:`f_i, g_i`   fractional coordinates of an atom in both, each difference taken to its nearest image
:math:`t`          the translation that brings them closest
:math:`M`          the mean cell, rotation removed
:math:`\ell`       distance to the nearest neighbour, mean over atoms and both crystals
:math:`k`          number of directions along which the structures repeat
=================  =====================================================================================================

The first term is the mean square displacement of atoms in the mean cell; the second is, for a small strain, the mean
square change of the vectors to nearest neighbours that the strain makes. Neither grows with the size of the cell, so
that supercells of two crystals are as far apart as the crystals. The least d over all P and, where like atoms may be
exchanged, over their assignment counts. Without alignment neither t nor R is removed: M is the plain mean, and the
strain is :math:`\tfrac12 (\lVert F - 1 \rVert + \lVert F^{-1} - 1 \rVert)`, to second order the same where nothing is
turned.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

__all__ = ["Crystal", "crystal_distance", "least_distance"]

MAX_STRAIN = 0.25
"""Largest strain between cells at which other lattice vectors are considered."""
N_PROMISING = 8
"""Number of translations and choices of lattice vectors that the search for the best permutation keeps."""
N_LOOKED_AT = 4
"""Number of atoms of each element whose nearest images rank them."""


class Crystal(NamedTuple):
    """A periodic structure in reduced lattice vectors.

    Attributes:
        cell: Lattice vectors as rows, right-handed, in Å; unit vectors where the structure does not repeat.
        fractional: Coordinates in units of the cell.
        pbc: Lattice vectors along which it is periodic.
        spacing: Mean distance of an atom to its nearest neighbour, images included, in Å.
    """

    cell: Float[np.ndarray, "3 3"]
    fractional: Float[np.ndarray, "n_atoms 3"]
    pbc: Bool[np.ndarray, "3"]
    spacing: float

    @classmethod
    def of(
        cls, positions: Float[np.ndarray, "n_atoms 3"], cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
    ) -> "Crystal":
        """Reduce the lattice vectors of a structure (Minkowski) and measure its atoms by them."""
        reduced = _completed(np.array(minkowski_reduce(cell, pbc)[0]), pbc)
        fractional = np.linalg.solve(reduced.T, positions.T).T
        between = _to_nearest_image(fractional[:, None] - fractional[None], pbc) @ reduced
        distances = np.sqrt((between**2).sum(-1))
        # An atom's own nearest image is a lattice vector away.
        np.fill_diagonal(distances, np.linalg.norm(reduced[pbc], axis=1).min())
        return cls(reduced, fractional, pbc, float(distances.min(axis=1).mean()))


class Renamings(NamedTuple):
    """Equivalent choices of the second crystal's lattice vectors, the one with the least strain first.

    Attributes:
        back: Matrices from fractional coordinates in the second crystal's own vectors to those in the renamed ones.
        cells: Mean cell of each, in the orientation of the first crystal.
        strain: Norm of the strain of each.
    """

    back: Float[np.ndarray, "n 3 3"]
    cells: Float[np.ndarray, "n 3 3"]
    strain: Float[np.ndarray, " n"]


def crystal_distance(
    first: Crystal, second: Crystal, atomic_numbers: Int[np.ndarray, " n_atoms"], *, align: bool, permute: bool
) -> float:
    """The distance d of two crystals of the same atoms in the same order, in Å.

    With `align`, translation and rotation do not count; with `permute`, neither does an exchange of like atoms. Exact
    as long as no atom is displaced by about half a lattice vector; beyond, and in a search for the best exchange and
    translation at once, an upper bound. A chain is turned about its axis as its atoms are numbered.
    """
    pbc, here = first.pbc, first.fractional
    renamed = _renamings(first.cell, second.cell, pbc, align=align)
    there = second.fractional @ renamed.back
    if align and pbc.sum() == 1:
        there = _turned_about_axis(here, there, pbc)
    strain = (first.spacing + second.spacing) / 2 * renamed.strain / np.sqrt(pbc.sum())
    squares = _displacements(here - there, renamed.cells, pbc, align=align) + strain**2
    if permute and len(atomic_numbers) > 1:
        elements = [np.flatnonzero(atomic_numbers == number) for number in np.unique(atomic_numbers)]
        for which, shift in _promising_starts(here, there, renamed.cells, pbc, elements, align=align):
            found = _assigned(here, there[which] + shift, renamed.cells[which], pbc, elements, align=align)
            squares[which] = min(squares[which], found + strain[which] ** 2)
    return float(np.sqrt(squares.min()))


def least_distance(first: Crystal, second: Crystal) -> float:
    """Lower bound of the distance of two crystals from the volumes of their cells alone, in Å."""
    mean_strain = abs(np.log(np.linalg.det(first.cell) / np.linalg.det(second.cell))) / first.pbc.sum()
    return float((first.spacing + second.spacing) / 2 * mean_strain)


def _to_nearest_image(
    fractional: Float[np.ndarray, "*batch 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "*batch 3"]:
    return np.asarray(fractional - np.where(pbc, np.round(fractional), 0.0))


def _completed(cell: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """Unit vectors across what repeats where a structure does not repeat, and all three right-handed."""
    completed = np.where(pbc[:, None], cell, 0.0)
    if not pbc.all():
        # The last rows of V span what is perpendicular to all lattice vectors.
        completed[~pbc] = np.linalg.svd(completed)[2][int(pbc.sum()) :]
    if np.linalg.det(completed) < 0:
        rows = pbc if pbc.all() else np.arange(3) == np.flatnonzero(~pbc)[0]
        completed[rows] *= -1
    return completed


def _renamings(
    a: Float[np.ndarray, "3 3"], b: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"], *, align: bool
) -> Renamings:
    """Bases of b's lattice that are close to a's basis; its own basis is always among them."""
    matrices = np.concatenate([np.eye(3)[None], _candidates(a, b, pbc)])
    renamed = matrices @ b
    if align:
        left, stretches, _ = np.linalg.svd(np.linalg.solve(a, renamed))
        strain = np.sqrt((np.log(stretches) ** 2).sum(-1))
        stretch = (left * stretches[:, None, :]) @ left.swapaxes(-1, -2)
        cells = a @ (np.eye(3) + stretch) / 2
    else:
        cells = (a + renamed) / 2
        there, back = np.linalg.solve(a, renamed), np.linalg.solve(renamed, a)
        strain = (np.linalg.norm(there - np.eye(3), axis=(1, 2)) + np.linalg.norm(back - np.eye(3), axis=(1, 2))) / 2
    order = np.argsort(strain, kind="stable")
    alike = order[(strain[order] <= MAX_STRAIN) | (order == 0)]
    return Renamings(np.linalg.inv(matrices)[alike], cells[alike], strain[alike])


def _candidates(
    a: Float[np.ndarray, "3 3"], b: Float[np.ndarray, "3 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "n 3 3"]:
    """Integer matrices of determinant 1 that turn b's vectors into vectors about as long as a's."""
    rows = []
    for axis in range(3):
        if pbc[axis]:
            choices = itertools.product(*((-1.0, 0.0, 1.0) if repeats else (0.0,) for repeats in pbc))
            vectors = np.array([choice for choice in choices if any(choice)])
            lengths = np.linalg.norm(vectors @ b, axis=1) / np.linalg.norm(a[axis])
            rows.append(vectors[np.abs(np.log(lengths)) <= MAX_STRAIN])
        else:
            rows.append(np.eye(3)[axis] * [[1.0], [-1.0]])
    sizes = [np.arange(len(row)) for row in rows]
    chosen = np.stack([one.ravel() for one in np.meshgrid(*sizes, indexing="ij")], axis=-1)
    matrices = np.stack([rows[axis][chosen[:, axis]] for axis in range(3)], axis=1)
    determinants = np.linalg.det(matrices) if len(matrices) else np.zeros(0)
    return matrices[np.abs(determinants - 1) < 0.5]


def _displacements(
    away: Float[np.ndarray, "n n_atoms 3"],
    cells: Float[np.ndarray, "n 3 3"],
    pbc: Bool[np.ndarray, "3"],
    *,
    align: bool,
) -> Float[np.ndarray, " n"]:
    """Mean square displacements of atoms as they are numbered, in Å², for each renaming."""
    if align:
        # Of angles on a circle, so that no image is preferred.
        angles = np.angle(np.exp(2j * np.pi * away).mean(axis=1, keepdims=True)) / (2 * np.pi)
        away = away - np.where(pbc, angles, away.mean(axis=1, keepdims=True))
        for _ in range(3):
            away = _to_nearest_image(away, pbc)
            away = away - away.mean(axis=1, keepdims=True)
    return np.asarray(((_to_nearest_image(away, pbc) @ cells) ** 2).sum(-1).mean(-1))


def _turned_about_axis(
    here: Float[np.ndarray, "n_atoms 3"], there: Float[np.ndarray, "n n_atoms 3"], pbc: Bool[np.ndarray, "3"]
) -> Float[np.ndarray, "n n_atoms 3"]:
    """A chain turned about its axis to lie closest to another; across the axis coordinates are in Å."""
    a, b = (points[..., ~pbc] - points[..., ~pbc].mean(axis=-2, keepdims=True) for points in (here, there))
    across = (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]).sum(-1)
    angle = np.arctan2(across, (a * b).sum((-1, -2)))
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)
    turned = there.copy()
    turned[..., ~pbc] = b @ turn
    return turned


def _promising_starts(
    here: Float[np.ndarray, "n_atoms 3"],
    there: Float[np.ndarray, "n n_atoms 3"],
    cells: Float[np.ndarray, "n 3 3"],
    pbc: Bool[np.ndarray, "3"],
    elements: Sequence[Int[np.ndarray, " _"]],
    *,
    align: bool,
) -> list[tuple[int, Float[np.ndarray, "3"]]]:
    """Renamings, each with a translation, that bring atoms closest to some atom of their element."""
    if not align:
        return [(which, np.zeros(3)) for which in range(len(there))]
    rarest = min(elements, key=len)
    # One atom of the rarest element lies on some atom of it: the right one leads to the best assignment.
    shifts = here[rarest[0]] - there[:, rarest]
    score = np.zeros(shifts.shape[:2])
    for atoms in elements:
        theirs = there[:, None, atoms] + shifts[:, :, None]
        between = _to_nearest_image(here[atoms[:N_LOOKED_AT], None] - theirs[:, :, None], pbc)
        squares = ((between @ cells[:, None, None]) ** 2).sum(-1)
        score += squares.min(axis=-1).sum(axis=-1)
    best = np.argsort(score, axis=None, kind="stable")[:N_PROMISING]
    return [(int(which), shifts[which, k]) for which, k in zip(*np.unravel_index(best, score.shape), strict=True)]


def _assigned(
    here: Float[np.ndarray, "n_atoms 3"],
    there: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    pbc: Bool[np.ndarray, "3"],
    elements: Sequence[Int[np.ndarray, " _"]],
    *,
    align: bool,
) -> float:
    """The mean square displacement after assignment and translation have alternated until neither helps, in Å²."""
    best = np.inf
    while True:
        moved = np.empty_like(here)
        for atoms in elements:
            between = _to_nearest_image(here[atoms, None] - there[None, atoms], pbc)
            rows, columns = linear_sum_assignment(((between @ cell) ** 2).sum(-1))
            moved[atoms[rows]] = between[rows, columns]
        mean = moved.mean(axis=0) if align else np.zeros(3)
        square = float((((moved - mean) @ cell) ** 2).sum(-1).mean())
        if square >= best - 1e-14:
            return min(square, best)
        best, there = square, there + mean
        if not align:
            return best
