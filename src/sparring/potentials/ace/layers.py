r"""Layers of ACE: sums over neighbours, and products of these sums (Eq. 8-11 of MACE, arXiv:2206.07697).

Instead of spherical harmonics and Clebsch-Gordan coefficients there are Cartesian tensors: scalars :math:`a`, vectors
:math:`\vec v` and symmetric matrices without trace :math:`T`, which have the same content up to l = 2. All products of
up to three of them that are scalars or vectors again, and even under inversion:

=========== ==========================================================================================================
scalars     :math:`a,\; a^2,\; v^2,\; T{:}T,\; a^3,\; a\,v^2,\; a\,T{:}T,\; \vec v\,T\vec v,\; \det T`
vectors     :math:`\vec v,\; a\vec v,\; T\vec v,\; a^2\vec v,\; v^2\vec v,\; a\,T\vec v,\; T^2\vec v,\; (T{:}T)\vec v`
=========== ==========================================================================================================

They are polynomials, without roots and quotients, so that energies can be differentiated any number of times wherever
atoms do not coincide: in planar molecules, in linear ones, and in crystals, where sums vanish by symmetry.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.equivariant import Edge
from sparring.potentials.neighborhoods import Neighborhoods

__all__ = ["Layer", "Moments"]

N_SCALARS, N_VECTORS = 9, 8


class Moments(NamedTuple):
    """Sums over the neighbours of each atom: scalars, vectors, and matrices without trace; the last axis has features.

    Attributes:
        a: Scalars, (..., n_atoms, n_features).
        v: Vectors, (..., n_atoms, 3, n_features).
        t: Symmetric matrices, (..., n_atoms, 3, 3, n_features).
    """

    a: Tensor
    v: Tensor
    t: Tensor

    def products(self, scalar_weights: Tensor, vector_weights: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Weighted sums of all products that are scalars, and of all that are vectors.

        Args:
            scalar_weights: Weights of the scalars, (..., n_atoms, 9, n_features), in the order of the table.
            vector_weights: Weights of the vectors, (..., n_atoms, 8, n_features); None if they are not wanted.
        """
        a, v, t = self
        vv, tt, tv = v.square().sum(-2), t.square().sum((-3, -2)), _times(t, v)
        w = scalar_weights.unbind(-2)
        scalars = a * (w[0] + a * (w[1] + a * w[4])) + vv * (w[2] + a * w[5]) + tt * (w[3] + a * w[6])
        scalars = scalars + w[7] * (v * tv).sum(-2) + w[8] * _determinant(t)
        if vector_weights is None:
            return scalars, None
        w = vector_weights.unbind(-2)
        of_v = w[0] + a * (w[1] + a * w[3]) + vv * w[4] + tt * w[7]
        of_tv = w[2] + a * w[5]
        vectors = v * of_v.unsqueeze(-2) + tv * of_tv.unsqueeze(-2) + _times(t, tv) * w[6].unsqueeze(-2)
        return scalars, vectors


class Layer(nn.Module):
    r"""Moments of the neighbours' features, their products, and the features that these give.

    .. math::
        a_i &= \tfrac 1 {\bar n} \sum_j R_0(d_{ij})\, s_j + R_4(d_{ij})\, \vec v_j \cdot \hat r_{ij} \\
        \vec v_i &= \tfrac 1 {\bar n} \sum_j R_1(d_{ij})\, s_j\, \hat r_{ij} + R_3(d_{ij})\, \vec v_j \\
        T_i &= \tfrac 1 {\bar n} \sum_j R_2(d_{ij})\, s_j\, [\hat r_{ij} \hat r_{ij}]
            + R_4(d_{ij})\, [\vec v_j \hat r_{ij}]

    with features s and vector features v of the neighbours, radial functions R that are linear in the basis, and
    :math:`[\cdot]` for the symmetric part without trace. Weights of the products depend on the element of the atom.
    Weights may have leading axes of members, which inputs then have, too.

    Args:
        n_features: Number of features of every kind.
        n_radial: Number of radial basis functions.
        from_vectors: True if neighbours have vector features.
        to_vectors: True to give vector features.
        mean_neighbors: Mean number of neighbours of an atom, by which sums are divided.
    """

    def __init__(
        self, n_features: int, n_radial: int, *, from_vectors: bool, to_vectors: bool, mean_neighbors: float
    ) -> None:
        super().__init__()
        self.n_features, self.mean_neighbors = n_features, mean_neighbors
        self.from_vectors, self.to_vectors = from_vectors, to_vectors
        square = (n_features, n_features)
        self.radial = nn.Parameter(torch.zeros(n_radial, (5 if from_vectors else 3) * n_features))
        self.send = nn.Parameter(torch.zeros(square))
        self.mix_a, self.mix_v, self.mix_t = (nn.Parameter(torch.zeros(square)) for _ in range(3))
        self.scalar_products = nn.Parameter(torch.zeros(N_ELEMENTS, N_SCALARS * n_features))
        self.update, self.keep = nn.Parameter(torch.zeros(square)), nn.Parameter(torch.zeros(square))
        if from_vectors:
            self.send_vectors = nn.Parameter(torch.zeros(square))
        if to_vectors:
            self.vector_products = nn.Parameter(torch.zeros(N_ELEMENTS, N_VECTORS * n_features))
            self.update_vectors = nn.Parameter(torch.zeros(square))
        if from_vectors and to_vectors:
            self.keep_vectors = nn.Parameter(torch.zeros(square))

    def forward(
        self,
        scalars: Tensor,
        vectors: Tensor | None,
        element: Tensor,
        edge: Edge,
        quadrupole: Tensor,
        neighborhoods: Neighborhoods,
    ) -> tuple[Tensor, Tensor | None]:
        """New features of every atom, and new vector features if the layer gives them.

        Args:
            scalars: Features, (..., n_atoms, n_features).
            vectors: Vector features, (..., n_atoms, 3, n_features); None if there are none yet.
            element: Atomic number of every atom, (n_atoms,).
            edge: Geometry of the edges.
            quadrupole: Products of the components of unit vectors, without their trace, (..., n_edges, 9).
            neighborhoods: Neighbors of every atom.
        """
        moments = self.moments(scalars, vectors, edge, quadrupole, neighborhoods)
        scalar_weights = self.scalar_products.index_select(-2, element).unflatten(-1, (N_SCALARS, -1))
        vector_weights = None
        if self.to_vectors:
            vector_weights = self.vector_products.index_select(-2, element).unflatten(-1, (N_VECTORS, -1))
        message, vector_message = moments.products(scalar_weights, vector_weights)
        new = message @ self.update + scalars @ self.keep
        if vector_message is None:
            return new, None
        new_vectors = vector_message @ _each(self.update_vectors)
        if vectors is not None:
            new_vectors = new_vectors + vectors @ _each(self.keep_vectors)
        return new, new_vectors

    def moments(
        self,
        scalars: Tensor,
        vectors: Tensor | None,
        edge: Edge,
        quadrupole: Tensor,
        neighborhoods: Neighborhoods,
    ) -> Moments:
        """Sums over the neighbours of every atom."""
        k, source = self.n_features, neighborhoods.source
        radial = (edge.radial @ self.radial).split(k, dim=-1)
        s_j = (scalars @ self.send).index_select(-2, source)
        a = neighborhoods.sum(radial[0] * s_j)
        v = neighborhoods.outer_sum(edge.unit, radial[1] * s_j)
        t = neighborhoods.outer_sum(quadrupole, radial[2] * s_j).unflatten(-2, (3, 3))
        if vectors is not None:
            v_j = (vectors @ _each(self.send_vectors)).flatten(-2).index_select(-2, source).unflatten(-1, (3, k))
            v = v + neighborhoods.sum((radial[3].unsqueeze(-2) * v_j).flatten(-2)).unflatten(-1, (3, k))
            outer = neighborhoods.outer_sum(edge.unit, (radial[4].unsqueeze(-2) * v_j).flatten(-2))
            matrix = outer.unflatten(-1, (3, k))
            trace = matrix[..., 0, 0, :] + matrix[..., 1, 1, :] + matrix[..., 2, 2, :]
            a, t = a + trace, t + _symmetric(matrix, trace)
        # A unit vector has the square 1, and its matrix has T:T = 2/3; here, both are scaled to 3.
        n = self.mean_neighbors
        return Moments(
            a=(a / n) @ self.mix_a,
            v=(v * (math.sqrt(3) / n)) @ _each(self.mix_v),
            t=(t * (math.sqrt(9 / 2) / n)) @ _each(_each(self.mix_t)),
        )


def _each(weight: Tensor) -> Tensor:
    """Weights with one more axis before the matrix, for values with one more axis of components."""
    return weight.unsqueeze(-3)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Products of matrices and vectors, (..., 3, 3, n_features) and (..., 3, n_features), feature by feature."""
    return (matrix * vector.unsqueeze(-3)).sum(-2)


def _symmetric(matrix: Float[Tensor, "*members n_atoms 3 3 n_features"], trace: Tensor) -> Tensor:
    """Symmetric part without trace."""
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device).unsqueeze(-1)
    return (matrix + matrix.transpose(-3, -2)) / 2 - identity * (trace / 3).unsqueeze(-2).unsqueeze(-2)


def _determinant(t: Float[Tensor, "*members n_atoms 3 3 n_features"]) -> Tensor:
    """Determinants of symmetric matrices; a third of the trace of the cube where the trace is zero."""
    (xx, xy, xz), (_, yy, yz), (_, _, zz) = (row.unbind(-2) for row in t.unbind(-3))
    return xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
