r"""Two dense layers with derivatives that are written out.

.. math:: t = x B^T + b, \qquad h = s(t), \qquad y_k = h C_k^T + c_k

The activation is :math:`s(t) = t \, \sigma(t)`. Of a function of the parts and of their derivatives along a direction,
derivatives follow as for every linear layer, see :mod:`sparring.potentials.schnet_fast.weight_gradients`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Dense", "DenseGradient", "curvature", "times_slope"]


def times_slope(values: Tensor, t: Tensor) -> Tensor:
    """Values times s'(t)."""
    product: Tensor = torch.ops.aten.silu_backward(values, t)
    return product


def curvature(t: Tensor) -> Tensor:
    """s''(t) = σ (1 - σ) (2 + t (1 - 2 σ))."""
    sigmoid = torch.sigmoid(t)
    rest = 1 - sigmoid
    return (rest - sigmoid).mul_(t).add_(2).mul_(sigmoid).mul_(rest)


class Dense(NamedTuple):
    """Weights of two layers of all members.

    Attributes:
        B: Matrix of the first layer.
        b: Bias of the first layer.
        C: Matrix of the second layer, with the parts one below the other.
        c: Bias of the second layer.
    """

    B: Float[Tensor, "n_members n_hidden n_in"]
    b: Float[Tensor, "n_members n_hidden"]
    C: Float[Tensor, "n_members n_out n_hidden"]
    c: Float[Tensor, "n_members n_out"]

    def hidden(self, *columns: Tensor) -> Tensor:
        """Input t of the activation; the input x in parts of its columns."""
        t = self.b.unsqueeze(1)
        for x, B in zip(columns, self.B.split([x.shape[2] for x in columns], dim=2), strict=True):
            t = torch.baddbmm(t, x, B.mT)
        return t

    def hidden_dot(self, *columns: Tensor) -> Tensor:
        """Derivative of t along a direction in x."""
        first, *others = zip(columns, self.B.split([x.shape[2] for x in columns], dim=2), strict=True)
        t_dot = torch.bmm(first[0], first[1].mT)
        for x_dot, B in others:
            t_dot.baddbmm_(x_dot, B.mT)
        return t_dot

    def parts(self, h: Tensor, n_parts: int, which: Sequence[int]) -> list[Tensor]:
        """Some of the equal parts of the result."""
        C, c = self.C.chunk(n_parts, dim=1), self.c.chunk(n_parts, dim=1)
        return [torch.baddbmm(c[k].unsqueeze(1), h, C[k].mT) for k in which]

    def parts_dot(self, h_dot: Tensor, n_parts: int, which: Sequence[int]) -> list[Tensor]:
        """Derivatives of these parts along a direction in h."""
        C = self.C.chunk(n_parts, dim=1)
        return [torch.bmm(h_dot, C[k].mT) for k in which]

    def hidden_bar(self, n_parts: int, bars: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Derivative in h, from those in some of the parts."""
        C = self.C.chunk(n_parts, dim=1)
        (k, bar), *others = bars
        h_bar = torch.bmm(bar, C[k])
        for k, bar in others:
            h_bar.baddbmm_(bar, C[k])
        return h_bar


class DenseGradient:
    """Derivatives in the weights of two dense layers, which are added up.

    Args:
        dense: Weights.
        n_parts: Number of parts of the result.
    """

    def __init__(self, dense: Dense, n_parts: int) -> None:
        self.bar = Dense(*(torch.zeros_like(weight) for weight in dense))
        self.n_parts = n_parts

    def first(self, t_bar: Tensor, *columns: Tensor, bias: bool = True) -> None:
        """Add the products of derivatives in t with inputs x."""
        for x, B_bar in zip(columns, self.bar.B.split([x.shape[2] for x in columns], dim=2), strict=True):
            B_bar.baddbmm_(t_bar.mT, x)
        if bias:
            self.bar.b.add_(t_bar.sum(1))

    def second(self, bars: Sequence[tuple[int, Tensor]], h: Tensor, *, bias: bool = True) -> None:
        """Add the products of derivatives in some of the parts with inputs h."""
        C_bar, c_bar = self.bar.C.chunk(self.n_parts, dim=1), self.bar.c.chunk(self.n_parts, dim=1)
        for k, bar in bars:
            C_bar[k].baddbmm_(bar.mT, h)
            if bias:
                c_bar[k].add_(bar.sum(1))
