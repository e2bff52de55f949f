"""Shapes of molecules: distances, angles, dihedrals, rotations about a bond, and how far two geometries are apart.

What an attack differentiates through takes and returns tensors; what compares finished geometries (RMSD) is numpy.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

__all__ = ["aligned_rmsd", "angle", "dihedral", "distances", "rmsd_matrix", "rotate_about_bond", "turn"]


def distances(positions: Float[Tensor, "*batch n_atoms 3"]) -> Float[Tensor, "*batch n_pairs"]:
    """Distances between all pairs of atoms, in Å; pairs in the order (0, 1), (0, 2), ..., (1, 2), ..."""
    first, second = torch.triu_indices(positions.shape[-2], positions.shape[-2], offset=1, device=positions.device)
    between: Tensor = positions[..., first, :] - positions[..., second, :]
    return between.square().sum(-1).sqrt()


def angle(positions: Float[Tensor, "*batch n_atoms 3"], i: int, j: int, k: int) -> Float[Tensor, "*batch"]:
    """Angle at atom j between the bonds to i and k, in radians from 0 to π.

    From both sine and cosine, because the arccosine alone loses half of its digits near 0 and π.
    """
    to_i = positions[..., i, :] - positions[..., j, :]
    to_k = positions[..., k, :] - positions[..., j, :]
    sine = torch.linalg.vector_norm(torch.linalg.cross(to_i, to_k), dim=-1)
    return torch.atan2(sine, (to_i * to_k).sum(-1))


def dihedral(positions: Float[Tensor, "*batch n_atoms 3"], i: int, j: int, k: int, l: int) -> Float[Tensor, "*batch"]:  # noqa: E741
    r"""Dihedral angle of the atoms i-j-k-l, in radians from -π to π; 0 is cis, the sign is IUPAC's.

    .. math:: \tan\varphi = \frac{|b_2|\, b_1\cdot(b_2\times b_3)}{(b_1\times b_2)\cdot(b_2\times b_3)}

    with b1, b2, b3 the vectors i to j, j to k and k to l. Smooth wherever the four atoms define a dihedral.
    """
    b1 = positions[..., j, :] - positions[..., i, :]
    b2 = positions[..., k, :] - positions[..., j, :]
    b3 = positions[..., l, :] - positions[..., k, :]
    normal = torch.linalg.cross(b2, b3)
    sine = torch.linalg.vector_norm(b2, dim=-1) * (b1 * normal).sum(-1)
    cosine = (torch.linalg.cross(b1, b2) * normal).sum(-1)
    return torch.atan2(sine, cosine)


def rotate_about_bond(
    positions: Float[Tensor, "*batch n_atoms 3"],
    j: int,
    k: int,
    moving: Bool[Tensor, " n_atoms"],
    angle: Float[Tensor, "*batch"],
) -> Float[Tensor, "*batch n_atoms 3"]:
    r"""Turn the moving atoms about the bond from j to k BY an angle (in radians), right-handed.

    A dihedral i-j-k-l of which only l moves grows by this angle.
    """
    origin = positions[..., k, :]
    axis = (origin - positions[..., j, :]).unsqueeze(-2)
    vectors = positions - origin.unsqueeze(-2)
    shift = turn(vectors, axis.expand_as(vectors), angle.unsqueeze(-1).expand(vectors.shape[:-1]))
    return torch.where(moving[:, None], positions + shift, positions)


def turn(
    vectors: Float[Tensor, "*batch 3"], axis: Float[Tensor, "*batch 3"], angle: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    r"""By how much vectors change when they are turned about an axis by an angle in radians, right-handed.

    Rodrigues' formula, with u along the axis; no angle gives exactly no change:

    .. math:: v' - v = (u\times v)\sin\alpha + u\times(u\times v)\,2\sin^2\tfrac{\alpha}{2}
    """
    u = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    across = torch.linalg.cross(u, vectors)
    sine, versine = angle.sin().unsqueeze(-1), 2 * (angle / 2).sin().square().unsqueeze(-1)
    shift: Tensor = across * sine + torch.linalg.cross(u, across) * versine
    return shift


def aligned_rmsd(
    first: Float[np.ndarray, "n_atoms 3"], second: Float[np.ndarray, "n_atoms 3"], *, reflect: bool = False
) -> float:
    """Root mean square distance of like-numbered atoms after the best translation and rotation, in Å.

    Kabsch's algorithm (1976), doi:10.1107/S0567739476001873, without weights. A molecule and its mirror image are
    different unless `reflect` allows improper rotations.
    """
    return float(_residuals(_centred(first[None]), _centred(second[None]), align=True, reflect=reflect)[0])


def rmsd_matrix(
    positions: Float[np.ndarray, "n_structures n_atoms 3"],
    atomic_numbers: Int[np.ndarray, " n_atoms"] | None = None,
    *,
    align: bool = True,
    permute: bool = False,
    reflect: bool = False,
    max_permutations: int = 5000,
) -> Float[np.ndarray, "n_structures n_structures"]:
    """Root mean square distances between all pairs of geometries of one molecule, in Å.

    With `align`, after the best translation and proper rotation of each pair (Kabsch); with `permute`, also after the
    best exchange of like atoms. That is exact, over all permutations, up to `max_permutations` of them; beyond,
    assignment and rotation alternate from several starts (exact without `align`, else an upper bound).
    Periodic images are not looked for.

    Raises:
        ValueError: If `permute` is asked for without atomic numbers.
    """
    if permute and atomic_numbers is None:
        raise ValueError("permute=True exchanges atoms of the same element: give atomic_numbers, got None")
    n_structures = len(positions)
    geometries = positions.astype(np.float64)
    if align:
        geometries = _centred(geometries)
    first, second = np.triu_indices(n_structures, k=1)
    partners = geometries[second]
    if permute and atomic_numbers is not None:
        if _n_permutations(atomic_numbers) <= max_permutations:
            order = _best_of_all_orders(geometries, first, second, atomic_numbers, align=align, reflect=reflect)
        else:
            order = _best_assignments(geometries, first, second, atomic_numbers, align=align, reflect=reflect)
        partners = np.take_along_axis(partners, order[:, :, None], axis=1)
    matrix = np.zeros((n_structures, n_structures))
    matrix[first, second] = _residuals(geometries[first], partners, align=align, reflect=reflect)
    return matrix + matrix.T


def _centred(positions: Float[np.ndarray, "n_structures n_atoms 3"]) -> Float[np.ndarray, "n_structures n_atoms 3"]:
    return np.asarray(positions - positions.mean(axis=1, keepdims=True))


def _residuals(
    first: Float[np.ndarray, "n_pairs n_atoms 3"],
    second: Float[np.ndarray, "n_pairs n_atoms 3"],
    *,
    align: bool,
    reflect: bool,
) -> Float[np.ndarray, " n_pairs"]:
    # From the coordinates' differences: the shorter |a|² + |b|² - 2 a·b leaves only 1e-8 Å of equal geometries' zero.
    turned = first @ _rotations(first.swapaxes(-1, -2) @ second, reflect=reflect) if align else first
    return np.asarray(np.sqrt(((turned - second) ** 2).sum(axis=(1, 2)) / first.shape[1]))


def _rotations(covariance: Float[np.ndarray, "*batch 3 3"], *, reflect: bool) -> Float[np.ndarray, "*batch 3 3"]:
    """The rotation R that makes a·R closest to b, from aᵀb (Kabsch)."""
    left, _, right = np.linalg.svd(covariance)
    if not reflect:
        handedness = np.linalg.det(left) * np.linalg.det(right)
        left = np.concatenate([left[..., :2], left[..., 2:] * np.sign(handedness)[..., None, None]], axis=-1)
    return np.asarray(left @ right)


def _overlap(covariance: Float[np.ndarray, "*batch 3 3"], *, align: bool, reflect: bool) -> Float[np.ndarray, "*batch"]:
    """The sum of a·b over all atoms, after the best rotation with `align`: the larger, the closer a and b."""
    if not align:
        return np.asarray(np.trace(covariance, axis1=-2, axis2=-1))
    values = np.linalg.svd(covariance, compute_uv=False)
    last = values[..., 2] if reflect else values[..., 2] * np.sign(np.linalg.det(covariance))
    return np.asarray(values[..., 0] + values[..., 1] + last)


def _elements(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> list[list[int]]:
    return [np.flatnonzero(atomic_numbers == number).tolist() for number in np.unique(atomic_numbers)]


def _n_permutations(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> int:
    return math.prod(math.factorial(len(atoms)) for atoms in _elements(atomic_numbers))


def _all_orders(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> Iterator[Int[np.ndarray, " n_atoms"]]:
    elements = _elements(atomic_numbers)
    places = list(itertools.chain.from_iterable(elements))
    for exchange in itertools.product(*(itertools.permutations(atoms) for atoms in elements)):
        order = np.empty(len(atomic_numbers), dtype=np.int64)
        order[places] = list(itertools.chain.from_iterable(exchange))
        yield order


def _best_of_all_orders(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    # One permutation at a time but all pairs at once: the memory does not grow with the number of permutations.
    best = np.full(len(first), -np.inf)
    best_order = np.zeros((len(first), len(atomic_numbers)), dtype=np.int64)
    transposed = geometries[first].swapaxes(-1, -2)
    partners = geometries[second]
    for order in _all_orders(atomic_numbers):
        overlap = _overlap(transposed @ partners[:, order], align=align, reflect=reflect)
        better = overlap > best
        best[better] = overlap[better]
        best_order[better] = order
    return best_order


def _best_assignments(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    elements = _elements(atomic_numbers)
    orders = np.zeros((len(first), len(atomic_numbers)), dtype=np.int64)
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        a, b = geometries[i], geometries[j]
        if not align:
            orders[pair] = _assignment(a, b, elements)
            continue
        found = [_alternate(a, b, start, elements, reflect=reflect) for start in _starts(a, b, reflect=reflect)]
        overlaps = _overlap(a.T @ np.stack([b[order] for order in found]), align=True, reflect=reflect)
        orders[pair] = found[int(np.argmax(overlaps))]
    return orders


def _starts(
    a: Float[np.ndarray, "n_atoms 3"], b: Float[np.ndarray, "n_atoms 3"], *, reflect: bool
) -> list[Float[np.ndarray, "3 3"]]:
    """Rotations to begin from: none, the one for atoms as numbered, and those that align the principal axes."""
    axes_of_a, axes_of_b = (np.linalg.svd(geometry, full_matrices=False)[2] for geometry in (a, b))
    signs = [np.diag(s) for s in itertools.product((1.0, -1.0), repeat=3)]
    principal = [axes_of_a.T @ sign @ axes_of_b for sign in signs]
    proper = [rotation for rotation in principal if reflect or np.linalg.det(rotation) > 0]
    return [np.eye(3), _rotations(a.T @ b, reflect=reflect), *proper]


def _alternate(
    a: Float[np.ndarray, "n_atoms 3"],
    b: Float[np.ndarray, "n_atoms 3"],
    rotation: Float[np.ndarray, "3 3"],
    elements: list[list[int]],
    *,
    reflect: bool,
) -> Int[np.ndarray, " n_atoms"]:
    # Each half step can only bring a and b closer and there are finitely many assignments, so this ends.
    order = _assignment(a @ rotation, b, elements)
    while True:
        rotation = _rotations(a.T @ b[order], reflect=reflect)
        new_order = _assignment(a @ rotation, b, elements)
        gain = ((a @ rotation) * (b[new_order] - b[order])).sum()
        if gain <= 1e-12 * (b**2).sum():
            return order
        order = new_order


def _assignment(
    a: Float[np.ndarray, "n_atoms 3"], b: Float[np.ndarray, "n_atoms 3"], elements: list[list[int]]
) -> Int[np.ndarray, " n_atoms"]:
    """For each atom of a, the atom of b of the same element that it is paired with: the least sum of squares."""
    order = np.empty(len(a), dtype=np.int64)
    for atoms in elements:
        rows, columns = linear_sum_assignment(a[atoms] @ b[atoms].T, maximize=True)
        order[np.asarray(atoms)[rows]] = np.asarray(atoms)[columns]
    return order
