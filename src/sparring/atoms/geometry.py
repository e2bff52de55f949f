"""Shapes of molecules: distances, angles, dihedrals, rotations, and the RMSD of geometries.

Functions that attacks differentiate take and return tensors; the RMSD of finished geometries is numpy.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.permutations import best_orders, centred, rotations

__all__ = [
    "angle",
    "dihedral",
    "distances",
    "rmsd_matrix",
    "rmsd_of_pairs",
    "rotate",
    "turn",
]

SMALL, N_POWERS = 0.25, 8
"""Squared angle in rad² up to which rotations are summed as series, and number of their terms."""


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


def turn(
    vectors: Float[Tensor, "*batch 3"], axis: Float[Tensor, "*batch 3"], angle: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch 3"]:
    r"""Change of vectors that are rotated about an axis by an angle in radians, right-handed.

    Rodrigues' formula, with u along the axis; no angle gives exactly no change:

    .. math:: v' - v = (u\times v)\sin\alpha + u\times(u\times v)\,2\sin^2\tfrac{\alpha}{2}
    """
    u = axis / torch.linalg.vector_norm(axis, dim=-1, keepdim=True)
    across = torch.linalg.cross(u, vectors)
    sine, versine = angle.sin().unsqueeze(-1), 2 * (angle / 2).sin().square().unsqueeze(-1)
    shift: Tensor = across * sine + torch.linalg.cross(u, across) * versine
    return shift


def rotate(vectors: Float[Tensor, "*batch 3"], rotation: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    r"""Change of vectors that are rotated by a rotation vector: about its direction, by its length in radians.

    The exponential of a skew matrix, with w the rotation vector and :math:`\theta = |w|`; no rotation gives exactly no
    change, and all derivatives exist there, too:

    .. math:: v' - v = \frac{\sin\theta}{\theta}\, w\times v + \frac{1-\cos\theta}{\theta^2}\, w\times(w\times v)
    """
    square = rotation.square().sum(-1, keepdim=True)
    small = square < SMALL
    angle = torch.where(small, 1.0, square).sqrt()  # of large ones only: a root has no derivative at zero
    near = torch.where(small, square, 0.0)
    sine, versine = torch.zeros_like(square), torch.zeros_like(square)
    for k in reversed(range(N_POWERS)):  # from the highest power of the squared angle, in which both are series
        sine = sine * near + (-1) ** k / math.factorial(2 * k + 1)
        versine = versine * near + (-1) ** k / math.factorial(2 * k + 2)
    sine = torch.where(small, sine, angle.sin() / angle)
    versine = torch.where(small, versine, 2 * ((angle / 2).sin() / angle).square())
    across = torch.linalg.cross(rotation, vectors)
    shift: Tensor = sine * across + versine * torch.linalg.cross(rotation, across)
    return shift


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

    With `align`, after the best translation and proper rotation of each pair (Kabsch 1976,
    doi:10.1107/S0567739476001873); `reflect` allows improper rotations, too. With `permute`, also after the
    best exchange of like atoms. That is exact, over all permutations, up to `max_permutations` of them; beyond,
    assignment and rotation alternate from several starts (exact without `align`, else an upper bound).
    Periodic images are not looked for.

    Raises:
        ValueError: If `permute` is True without atomic numbers.
    """
    first, second = np.triu_indices(len(positions), k=1)
    matrix = np.zeros((len(positions), len(positions)))
    matrix[first, second] = rmsd_of_pairs(
        positions,
        first,
        second,
        atomic_numbers,
        align=align,
        permute=permute,
        reflect=reflect,
        max_permutations=max_permutations,
    )
    return matrix + matrix.T


def rmsd_of_pairs(
    positions: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"] | None = None,
    *,
    align: bool = True,
    permute: bool = False,
    reflect: bool = False,
    max_permutations: int = 5000,
) -> Float[np.ndarray, " n_pairs"]:
    """Root mean square distances of some pairs of geometries, in Å (see :func:`rmsd_matrix`).

    Raises:
        ValueError: If `permute` is True without atomic numbers.
    """
    if permute and atomic_numbers is None:
        raise ValueError("permute=True exchanges atoms of the same element: give atomic_numbers, got None")
    geometries = positions.astype(np.float64)
    if align:
        geometries = centred(geometries)
    partners = geometries[second]
    if permute and atomic_numbers is not None:
        order = best_orders(
            geometries,
            first,
            second,
            atomic_numbers,
            align=align,
            reflect=reflect,
            max_permutations=max_permutations,
        )
        partners = np.take_along_axis(partners, order[:, :, None], axis=1)
    return _residuals(geometries[first], partners, align=align, reflect=reflect)


def _residuals(
    first: Float[np.ndarray, "n_pairs n_atoms 3"],
    second: Float[np.ndarray, "n_pairs n_atoms 3"],
    *,
    align: bool,
    reflect: bool,
) -> Float[np.ndarray, " n_pairs"]:
    # From the coordinates' differences: the shorter |a|² + |b|² - 2 a·b leaves only 1e-8 Å of equal geometries' zero.
    turned = first @ rotations(first.swapaxes(-1, -2) @ second, reflect=reflect) if align else first
    return np.asarray(np.sqrt(((turned - second) ** 2).sum(axis=(1, 2)) / first.shape[1]))
