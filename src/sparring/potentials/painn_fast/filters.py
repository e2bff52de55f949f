"""Filters of PaiNN's messages: linear functions of the basis."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.potentials.painn_fast.features import Basis

__all__ = ["FilterWeights", "Filters", "add_weight_gradient"]


class Filters(NamedTuple):
    """Filters of the entries of one row; those of y are None in the first layer."""

    s: Float[Tensor, "n_members n_row n_features"]
    vs: Float[Tensor, "n_members 3 n_row n_features"]
    vv: Float[Tensor, "n_members n_row n_features"] | None


class FilterWeights(NamedTuple):
    """Weights A of the filters; those of y are None in the first layer."""

    s: Float[Tensor, "n_members n_features n_basis"]
    vs: Float[Tensor, "n_members n_features n_basis"]
    vv: Float[Tensor, "n_members n_features n_basis"] | None

    @classmethod
    def of(cls, weight: Tensor, *, vectors: bool) -> "FilterWeights":
        """Parts of all weights."""
        s, vv, vs = weight.chunk(3, dim=1)
        return cls(s, vs, vv if vectors else None)

    def filters(self, q: Basis) -> Filters:
        """Filters of a row."""
        vs = torch.bmm(q.vector, self.vs.mT).unflatten(1, (3, -1))
        return Filters(torch.bmm(q.scalar, self.s.mT), vs, None if self.vv is None else torch.bmm(q.scalar, self.vv.mT))

    def basis_gradient(self, W_bar: Filters) -> Basis:
        """Derivatives in the basis of a row."""
        q_bar = torch.bmm(W_bar.s, self.s)
        if W_bar.vv is not None and self.vv is not None:
            q_bar.baddbmm_(W_bar.vv, self.vv)
        return Basis(q_bar, torch.bmm(W_bar.vs.flatten(1, 2), self.vs))


def add_weight_gradient(weight_bar: Tensor, W_bar: Filters, q: Basis) -> None:
    """Add the derivatives in the weights that come from a row."""
    A_s, A_vv, A_vs = weight_bar.chunk(3, dim=1)
    A_s.baddbmm_(W_bar.s.mT, q.scalar)
    A_vs.baddbmm_(W_bar.vs.flatten(1, 2).mT, q.vector)
    if W_bar.vv is not None:
        A_vv.baddbmm_(W_bar.vv.mT, q.scalar)
