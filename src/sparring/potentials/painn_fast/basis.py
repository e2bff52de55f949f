r"""Basis of PaiNN's filters as a function of vectors between atoms, with derivatives that are written out.

.. math:: q_n(d) = \sqrt{2 / r_c} \, \frac{\sin \omega_n d}{d} \, f(d), \quad q_{last}(d) = f(d), \qquad
    q^c = q \, u_c, \quad u = r / d

with :math:`\omega_n = n \pi / r_c` and the envelope f of :func:`sparring.potentials.repulsion.smooth_envelope`. In the
code, ``y_bar`` is the derivative in y and ``y_dot`` that of y along a direction :math:`\dot r`, with
:math:`\dot d = u \cdot \dot r` and :math:`\dot u = (\dot r - u \dot d) / d`.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparring.potentials.painn_fast.features import Basis, Table
from sparring.potentials.repulsion import smooth_envelope

__all__ = ["basis"]

Context = Any
"""Context of an autograd function; it accepts any attributes."""


def basis(vectors: Float[Tensor, "n_members 3 n_entries"], table: Table, *, n_radial: int, cutoff: float) -> Basis:
    """Radial basis and, for the bias of the filters, a one; both times the envelope, and zero in empty entries.

    Args:
        vectors: Vectors from atoms to their neighbours, in Å.
        table: Table of the neighbours.
        n_radial: Number of radial basis functions.
        cutoff: Largest distance at which atoms interact, in Å.
    """
    return Basis(*_Basis.apply(vectors, table, n_radial, cutoff))  # type: ignore[no-untyped-call]


class _Basis(torch.autograd.Function):
    """Basis as a function of vectors."""

    @staticmethod
    def forward(ctx: Context, vectors: Tensor, table: Table, n_radial: int, cutoff: float) -> tuple[Tensor, Tensor]:
        radial = _Radial(vectors, table, n_radial, cutoff)
        q, slope = radial.values(), radial.slopes()
        ctx.table, ctx.radial = table, radial
        ctx.save_for_backward(vectors, q, slope)
        scalar, vector = table.laid_out(q, q.unsqueeze(1) * radial.unit.unsqueeze(-1))
        return scalar, vector

    @staticmethod
    def backward(ctx: Context, q_bar: Tensor, vector_bar: Tensor) -> tuple[Tensor | None, ...]:
        vectors_bar = _BasisGradient.apply(q_bar, vector_bar, *ctx.saved_tensors, ctx.table, ctx.radial)  # type: ignore[no-untyped-call]
        return vectors_bar, None, None, None


class _BasisGradient(torch.autograd.Function):
    """Derivative in the vectors as a function of those in the basis, and of the vectors."""

    @staticmethod
    def forward(
        ctx: Context,
        q_bar: Tensor,
        vector_bar: Tensor,
        vectors: Tensor,
        q: Tensor,
        slope: Tensor,
        table: Table,
        radial: "_Radial",
    ) -> Tensor:
        (of_q, bar), unit = table.by_entry(Basis(q_bar, vector_bar)), radial.unit
        # Through q, and through u: ū = Σ_n q̄^c_n q_n
        d_bar = _sum(of_q, slope) + _dot(unit, _sum(bar, slope))
        u_bar = _sum(bar, q)
        ctx.table, ctx.radial = table, radial
        ctx.save_for_backward(q_bar, vector_bar, q, slope, d_bar, u_bar)
        return unit * d_bar.unsqueeze(1) + _across(u_bar, radial)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, r_dot: Tensor) -> tuple[Tensor | None, ...]:
        q_bar, vector_bar, q, slope, d_bar, u_bar = ctx.saved_tensors
        table, radial = ctx.table, ctx.radial
        of_q, bar = table.by_entry(Basis(q_bar, vector_bar))
        unit, curvature = radial.unit, radial.curvatures()
        d_dot, u_dot = _dot(unit, r_dot), _across(r_dot, radial)
        q_dot = slope * d_dot.unsqueeze(-1)
        vector_dot = q_dot.unsqueeze(1) * unit.unsqueeze(-1)
        vector_dot.addcmul_(q.unsqueeze(1), u_dot.unsqueeze(-1))
        # L = ḋ d̄(d, u) + u̇(d, u) · ū(d), differentiated in d and in u
        slope_bar = _sum(bar, slope)
        of_d = d_dot * (_sum(of_q, curvature) + _dot(unit, _sum(bar, curvature)))
        of_d += _dot(u_dot, slope_bar) - _dot(u_dot, u_bar) / radial.distance
        of_u = r_dot * (d_bar - _dot(unit, u_bar) / radial.distance).unsqueeze(1)
        of_u += d_dot.unsqueeze(1) * (slope_bar - u_bar / radial.distance.unsqueeze(1))
        r_total = unit * of_d.unsqueeze(1) + _across(of_u, radial)
        return *table.laid_out(q_dot, vector_dot), r_total, None, None, None, None


class _Radial:
    """Distances, and the basis with its derivatives in them."""

    def __init__(self, vectors: Tensor, table: Table, n_radial: int, cutoff: float) -> None:
        self.cutoff, self.filled = cutoff, table.filled
        self.distance = vectors.square().sum(1).sqrt_()
        self.unit = vectors / self.distance.unsqueeze(1)
        n = torch.arange(1, n_radial + 1, dtype=vectors.dtype, device=vectors.device)
        self.omega = n * (math.pi / cutoff)

    def _waves(self) -> list[Tensor]:
        """Sines over distances, and their first and second derivative."""
        d = self.distance.unsqueeze(-1)
        phase, scale = d * self.omega, math.sqrt(2 / self.cutoff)
        wave = torch.sin(phase) * (scale / d)
        first = (torch.cos(phase) * (scale * self.omega) - wave) / d
        return [wave, first, -self.omega.square() * wave - 2 * first / d]

    def _envelope(self) -> list[Tensor]:
        """Envelope, and its first and second derivative; zero without an edge."""
        x = (self.distance / self.cutoff).clamp(max=1.0)
        y = 1 - x
        first = -504 / self.cutoff * x**5 * y**3
        found = [smooth_envelope(x), first, -504 / self.cutoff**2 * x**4 * y**2 * (5 - 8 * x)]
        return [(one if self.filled is None else one * self.filled).unsqueeze(-1) for one in found]

    def values(self) -> Tensor:
        """Basis q."""
        (b, _, _), (f, _, _) = self._waves(), self._envelope()
        return torch.cat([b * f, f], dim=-1)

    def slopes(self) -> Tensor:
        """First derivative of q."""
        (b, db, _), (f, df, _) = self._waves(), self._envelope()
        return torch.cat([db * f + b * df, df], dim=-1)

    def curvatures(self) -> Tensor:
        """Second derivative of q."""
        (b, db, d2b), (f, df, d2f) = self._waves(), self._envelope()
        return torch.cat([d2b * f + 2 * db * df + b * d2f, d2f], dim=-1)


def _sum(left: Tensor, right: Tensor) -> Tensor:
    """Sum of products over the basis; the right side is the same for all components of a vector."""
    return (left * (right.unsqueeze(1) if left.dim() > right.dim() else right)).sum(-1)


def _dot(left: Tensor, right: Tensor) -> Float[Tensor, "n_members n_entries"]:
    """Scalar products of vectors."""
    return (left * right).sum(1)


def _across(vectors: Tensor, radial: _Radial) -> Float[Tensor, "n_members 3 n_entries"]:
    """Part of vectors across the edge, over its length: (y - u (u · y)) / d."""
    unit = radial.unit
    return (vectors - unit * _dot(unit, vectors).unsqueeze(1)) / radial.distance.unsqueeze(1)
