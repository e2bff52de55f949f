r"""Source features of PaiNN's messages, with derivatives that are written out.

.. math:: [p, w, r] = \phi(s), \qquad y^c = v^c \circ w

Derivatives are named as in :mod:`sparring.potentials.painn_fast.messages`. With the direction :math:`(\dot s, \dot v)`,
that of derivatives is the gradient of :math:`\bar p \cdot \dot p + \bar r \cdot \dot r + \bar y \cdot \dot y`.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sparring.potentials.painn_fast.dense import Dense, DenseGradient, curvature, times_slope
from sparring.potentials.painn_fast.features import Source

__all__ = ["sources"]

Context = Any
"""Context of an autograd function; it accepts any attributes."""

MaybeTensor = Any
"""A tensor, or None where there is none."""

P, W, R = 0, 1, 2
"""Parts of the result of φ."""


def sources(
    phi: Dense,
    scalars: Float[Tensor, "n_members n_atoms n_features"],
    vectors: Float[Tensor, "n_members 3 n_atoms n_features"] | None,
) -> Source:
    """Source features, twice differentiable; derivatives in the weights come in a pass that no graph follows.

    Args:
        phi: Weights of φ.
        scalars: Scalar features s of the atoms.
        vectors: Vector features v; None if all are zero.
    """
    return Source(*_Sources.apply(scalars, vectors, *phi))  # type: ignore[no-untyped-call]


class _Sources(torch.autograd.Function):
    """Source features as a function of features and weights."""

    @staticmethod
    def forward(ctx: Context, scalars: Tensor, vectors: Tensor | None, *weights: Tensor) -> tuple[Tensor | None, ...]:
        phi = Dense(*weights)
        t = phi.hidden(scalars)
        h = functional.silu(t)
        if vectors is None:
            p, r = phi.parts(h, 3, (P, R))
            ctx.save_for_backward(scalars, None, t, None, *weights)
            return p, r, None
        p, w, r = phi.parts(h, 3, (P, W, R))
        ctx.save_for_backward(scalars, vectors, t, w, *weights)
        return p, r, vectors * w.unsqueeze(1)

    @staticmethod
    def backward(ctx: Context, *bars: MaybeTensor) -> tuple[Tensor | None, ...]:
        scalars, vectors, t, w, *weights = ctx.saved_tensors
        phi = Dense(*weights)
        scalars_bar, vectors_bar = _SourcesGradient.apply(*bars, scalars, vectors, t, w, *weights)  # type: ignore[no-untyped-call]
        if torch.is_grad_enabled() or not any(ctx.needs_input_grad[2:]):
            return scalars_bar, vectors_bar, *[None] * 4
        gradient, parts = DenseGradient(phi, 3), _part_gradients(bars[0], bars[1], bars[2], vectors)
        gradient.second(parts, functional.silu(t))
        gradient.first(times_slope(phi.hidden_bar(3, parts), t), scalars)
        return scalars_bar, vectors_bar, *gradient.bar


class _SourcesGradient(torch.autograd.Function):
    """Derivatives in the features, as a function of those in the source features and of all else."""

    @staticmethod
    def forward(ctx: Context, *tensors: MaybeTensor) -> tuple[Tensor | None, ...]:
        *bars, _, vectors, t, w = tensors[:7]
        phi = Dense(*tensors[7:])
        ctx.set_materialize_grads(False)
        h_bar = phi.hidden_bar(3, _part_gradients(bars[0], bars[1], bars[2], vectors))
        ctx.save_for_backward(*tensors, h_bar)
        scalars_bar = torch.bmm(times_slope(h_bar, t), phi.B)
        return scalars_bar, None if w is None else bars[2] * w.unsqueeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *dots: MaybeTensor) -> tuple[Tensor | None, ...]:
        p_bar, r_bar, y_bar, scalars, vectors, t, w, *weights, h_bar = ctx.saved_tensors
        phi, (s_dot, v_dot) = Dense(*weights), dots
        s_dot = torch.zeros_like(scalars) if s_dot is None else s_dot
        t_dot = phi.hidden_dot(s_dot)
        h_dot = times_slope(t_dot, t)
        t_total = (h_bar * t_dot).mul_(curvature(t))
        y_dot, v_total, of_w = None, None, []
        if vectors is None:
            p_dot, r_dot = phi.parts_dot(h_dot, 3, (P, R))
        else:
            v_dot = torch.zeros_like(vectors) if v_dot is None else v_dot
            p_dot, w_dot, r_dot = phi.parts_dot(h_dot, 3, (P, W, R))
            # ẏ = v̇ ∘ w + v ∘ ẇ
            y_dot = (v_dot * w.unsqueeze(1)).addcmul_(vectors, w_dot.unsqueeze(1))
            v_total = y_bar * w_dot.unsqueeze(1)
            of_w = [(W, (y_bar * v_dot).sum(1))]
            t_total.add_(times_slope(phi.hidden_bar(3, of_w), t))
        s_total = torch.bmm(t_total, phi.B)
        weight_bars: tuple[Tensor | None, ...] = (None,) * 4
        if any(ctx.needs_input_grad[7:]):
            gradient, parts = DenseGradient(phi, 3), _part_gradients(p_bar, r_bar, y_bar, vectors)
            gradient.first(t_total, scalars)
            gradient.first(times_slope(h_bar, t), s_dot, bias=False)
            gradient.second(of_w, functional.silu(t))
            gradient.second(parts, h_dot, bias=False)
            weight_bars = gradient.bar
        return p_dot, r_dot, y_dot, s_total, v_total, None, None, *weight_bars


def _part_gradients(
    p_bar: Tensor, r_bar: Tensor, y_bar: Tensor | None, vectors: Tensor | None
) -> list[tuple[int, Tensor]]:
    """Derivatives in the parts of the result of φ."""
    if vectors is None or y_bar is None:
        return [(P, p_bar), (R, r_bar)]
    return [(P, p_bar), (R, r_bar), (W, (y_bar * vectors).sum(1))]
