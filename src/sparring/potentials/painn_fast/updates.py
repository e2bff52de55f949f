r"""Updates of PaiNN's features, with derivatives that are written out.

.. math::
    u^c &= v^c U^T, \quad w^c = v^c V^T, \quad g = \sum_c (w^c)^2, \quad n = \sqrt{1 + g} - 1, \quad
    d = \sum_c u^c \circ w^c \\
    [a_{ss}, a_{sv}, a_{vv}] &= a(s, n), \qquad s' = s + a_{ss} + a_{sv} \circ d, \qquad v' = v + a_{vv} \circ u

Derivatives are named as in :mod:`sparring.potentials.painn_fast.messages`: with ``y_bar`` that in y and with ``y_dot``
that of y along a direction :math:`(\dot s, \dot v)`. ``y_total`` is the derivative of
:math:`\bar s' \cdot \dot s' + \bar v' \cdot \dot v'` in y.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sparring.potentials.painn_fast.dense import Dense, DenseGradient, curvature, times_slope

__all__ = ["updated"]

Context = Any
"""Context of an autograd function; it accepts any attributes."""

MaybeTensor = Any
"""A tensor, or None where there is none."""

SS, SV, VV = 0, 1, 2
"""Parts of the result of a."""


def updated(
    mix: Float[Tensor, "n_members n_mixed n_features"],
    a: Dense,
    scalars: Float[Tensor, "n_members n_atoms n_features"],
    vectors: Float[Tensor, "n_members 3 n_atoms n_features"],
    *,
    last: bool,
) -> tuple[Float[Tensor, "n_members n_atoms n_features"], Float[Tensor, "n_members 3 n_atoms n_features"] | None]:
    """Features s' and v', twice differentiable; derivatives in the weights come in a pass that no graph follows.

    Args:
        mix: Matrices U and V, one below the other.
        a: Weights of the network a.
        scalars: Scalar features s of the atoms.
        vectors: Vector features v.
        last: True for the last layer, whose vectors nothing depends on: v' is None.
    """
    s, v = _Update.apply(last, scalars, vectors, mix, *a)  # type: ignore[no-untyped-call]
    return s, v


class Inner(NamedTuple):
    """Tensors of the forward pass that derivatives need; ``vv`` is None in the last layer."""

    u: Tensor
    w: Tensor
    root: Tensor
    n: Tensor
    d: Tensor
    t: Tensor
    sv: Tensor
    vv: Tensor | None


class Back(NamedTuple):
    """Derivatives of the backward pass; ``g_bar`` is twice the derivative in g."""

    u_bar: Tensor
    w_bar: Tensor
    n_bar: Tensor
    d_bar: Tensor
    g_bar: Tensor
    h_bar: Tensor


class _Update(torch.autograd.Function):
    """Updated features as a function of features and weights."""

    @staticmethod
    def forward(
        ctx: Context, last: bool, scalars: Tensor, vectors: Tensor, mix: Tensor, *weights: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        a = Dense(*weights)
        u, w = (_mixed(vectors, matrix) for matrix in mix.chunk(2, dim=1))
        g = w.square().sum(1)
        root = (1 + g).sqrt_()
        n = g / (1 + root)  # sqrt(1 + g) - 1 without cancellation
        d = (u * w).sum(1)
        t = a.hidden(scalars, n)
        ss, sv, *others = a.parts(functional.silu(t), 3, (SS, SV) if last else (SS, SV, VV))
        vv = None if last else others[0]
        ctx.save_for_backward(scalars, vectors, *Inner(u, w, root, n, d, t, sv, vv), mix, *weights)
        scalars = ss.add_(scalars).addcmul_(sv, d)
        return scalars, None if vv is None else torch.addcmul(vectors, vv.unsqueeze(1), u)

    @staticmethod
    def backward(ctx: Context, *bars: MaybeTensor) -> tuple[Tensor | None, ...]:
        scalars_bar, vectors_bar, *back = _UpdateGradient.apply(*bars, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        if torch.is_grad_enabled() or not any(ctx.needs_input_grad[3:]):
            return None, scalars_bar, vectors_bar, *[None] * 5
        scalars, vectors, *inner, mix, b0, b1, b2, b3 = ctx.saved_tensors
        a, inside, derivatives = Dense(b0, b1, b2, b3), Inner(*inner), Back(*back)
        gradient = DenseGradient(a, 3)
        gradient.second(_part_gradients(bars[0], bars[1], inside), functional.silu(inside.t))
        gradient.first(times_slope(derivatives.h_bar, inside.t), scalars, inside.n)
        mix_bar = torch.zeros_like(mix)
        _add_mix_gradient(mix_bar, derivatives.u_bar, derivatives.w_bar, vectors)
        return None, scalars_bar, vectors_bar, mix_bar, *gradient.bar


class _UpdateGradient(torch.autograd.Function):
    """Derivatives in the features as a function of those in the updated features and of all else."""

    @staticmethod
    def forward(ctx: Context, *tensors: MaybeTensor) -> tuple[Tensor, ...]:
        s_bar, v_bar, _, _, *inner, mix, b0, b1, b2, b3 = tensors
        inside, a, (U, V) = Inner(*inner), Dense(b0, b1, b2, b3), mix.chunk(2, dim=1)
        u, w, root, t, sv, vv = inside.u, inside.w, inside.root, inside.t, inside.sv, inside.vv
        h_bar = a.hidden_bar(3, _part_gradients(s_bar, v_bar, inside))
        t_bar = times_slope(h_bar, t)
        B_s, B_n = a.B.chunk(2, dim=2)
        n_bar = torch.bmm(t_bar, B_n)
        g_bar = n_bar / root  # twice the derivative in g, as dn/dg = 1 / 2 sqrt(1 + g)
        d_bar = s_bar * sv
        d_bars = d_bar.unsqueeze(1)
        u_bar, w_bar = d_bars * w, (d_bars * u).addcmul_(g_bar.unsqueeze(1), w)
        if vv is not None:
            u_bar.addcmul_(vv.unsqueeze(1), v_bar)
        scalars_bar = torch.baddbmm(s_bar, t_bar, B_s)
        vectors_bar = _mixed_back(u_bar, U, w_bar, V)
        if vv is not None:
            vectors_bar.add_(v_bar)
        back = Back(u_bar, w_bar, n_bar, d_bar, g_bar, h_bar)
        ctx.mark_non_differentiable(*back)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, *back)
        return scalars_bar, vectors_bar, *back

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *dots: MaybeTensor) -> tuple[Tensor | None, ...]:
        s_bar, v_bar, scalars, vectors, *others = ctx.saved_tensors
        inside, mix, a, back = Inner(*others[:8]), others[8], Dense(*others[9:13]), Back(*others[13:])
        s_dot = torch.zeros_like(scalars) if dots[0] is None else dots[0]
        v_dot = torch.zeros_like(vectors) if dots[1] is None else dots[1]
        u, w, root, n, d, t, sv, vv = inside
        (U, V), (B_s, B_n) = mix.chunk(2, dim=1), a.B.chunk(2, dim=2)
        # Along the direction
        u_dot, w_dot = _mixed(v_dot, U), _mixed(v_dot, V)
        d_dot = (u_dot * w).addcmul_(u, w_dot).sum(1)
        n_dot = (w * w_dot).sum(1).div_(root)
        t_dot = a.hidden_dot(s_dot, n_dot)
        h_dot = times_slope(t_dot, t)
        ss_dot, sv_dot, *vv_dots = a.parts_dot(h_dot, 3, (SS, SV) if vv is None else (SS, SV, VV))
        # And back
        d_total = (s_bar * sv_dot).unsqueeze(1)
        d_bars = back.d_bar.unsqueeze(1)
        totals = [(SV, s_bar * d_dot)]
        u_total, w_total = (d_bars * w_dot).addcmul_(d_total, w), (d_bars * u_dot).addcmul_(d_total, u)
        v_out = None
        if vv is not None:
            vv_dot = vv_dots[0].unsqueeze(1)
            totals.append((VV, (v_bar * u_dot).sum(1)))
            u_total.addcmul_(v_bar, vv_dot)
            v_out = torch.addcmul(v_dot, vv_dot, u).addcmul_(vv.unsqueeze(1), u_dot)
        t_total = times_slope(a.hidden_bar(3, totals), t)
        t_total.add_((back.h_bar * t_dot).mul_(curvature(t)))
        n_total = torch.bmm(t_total, B_n)
        # n̄ dn/dg in the direction: n'' = -1 / 4 (1 + g)^(3/2), and ġ = 2 n_dot root
        g_total = n_total.addcmul_(back.g_bar, n_dot, value=-1).div_(root)
        w_total.addcmul_(back.g_bar.unsqueeze(1), w_dot).addcmul_(g_total.unsqueeze(1), w)
        s_total, v_total = torch.bmm(t_total, B_s), _mixed_back(u_total, U, w_total, V)
        s_out = ss_dot.add_(s_dot).addcmul_(sv_dot, d).addcmul_(sv, d_dot)
        weight_bars: tuple[Tensor | None, ...] = (None,) * 5
        if any(ctx.needs_input_grad[12:]):
            gradient, mix_bar = DenseGradient(a, 3), torch.zeros_like(mix)
            gradient.first(t_total, scalars, n)
            gradient.first(times_slope(back.h_bar, t), s_dot, n_dot, bias=False)
            gradient.second(totals, functional.silu(t))
            gradient.second(_part_gradients(s_bar, v_bar, inside), h_dot, bias=False)
            _add_mix_gradient(mix_bar, u_total, w_total, vectors)
            _add_mix_gradient(mix_bar, back.u_bar, back.w_bar, v_dot)
            weight_bars = (mix_bar, *gradient.bar)
        return s_out, v_out, s_total, v_total, *[None] * 8, *weight_bars


def _part_gradients(s_bar: Tensor, v_bar: Tensor | None, inner: Inner) -> list[tuple[int, Tensor]]:
    """Derivatives in the parts of the result of a."""
    parts = [(SS, s_bar), (SV, s_bar * inner.d)]
    if inner.vv is not None and v_bar is not None:
        parts.append((VV, (v_bar * inner.u).sum(1)))
    return parts


def _mixed(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Vectors times the transpose of a matrix."""
    return torch.bmm(vectors.flatten(1, 2), matrix.mT).view_as(vectors)


def _mixed_back(u_bar: Tensor, U: Tensor, w_bar: Tensor, V: Tensor) -> Tensor:
    """Derivative in the vectors from those in u and w."""
    product = torch.bmm(u_bar.flatten(1, 2), U)
    return product.baddbmm_(w_bar.flatten(1, 2), V).view_as(u_bar)


def _add_mix_gradient(mix_bar: Tensor, u_bar: Tensor, w_bar: Tensor, vectors: Tensor) -> None:
    """Add the derivatives in U and V."""
    U_bar, V_bar = mix_bar.chunk(2, dim=1)
    U_bar.baddbmm_(u_bar.flatten(1, 2).mT, vectors.flatten(1, 2))
    V_bar.baddbmm_(w_bar.flatten(1, 2).mT, vectors.flatten(1, 2))
