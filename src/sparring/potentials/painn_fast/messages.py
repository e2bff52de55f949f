r"""Messages of PaiNN for all members, with derivatives that are written out.

With the radial basis q of an entry, its products with the components of the unit vector, :math:`q^c = q u_c`, and with
:math:`y^c_j = v^c_j \circ \phi_{vv}(s_j)`, the sums of :class:`sparring.potentials.painn.Message` are

.. math::
    m_i = \sum_j W_s(ij) \circ p_j, \qquad
    m^c_i = \sum_j W_{vv}(ij) \circ y^c_j + W^c_{vs}(ij) \circ r_j

======================================  ============================================================
:math:`W_s = q A_s^T`                   filters of scalars, and likewise :math:`W_{vv} = q A_{vv}^T`
:math:`W^c_{vs} = q^c A_{vs}^T`         filters of vectors
:math:`p_j, r_j, y^c_j`                 source features of an atom (:class:`Source`)
:math:`\bar y`                          derivative in y, ``y_bar`` in the code
:math:`\dot y`                          derivative of y along a direction, ``y_dot`` in the code
======================================  ============================================================

They are linear in the sources, in the basis and in the weights. So are their derivatives, which are sums of the same
kind. For the reverse of an edge, :math:`W_s` and :math:`W_{vv}` are the same, and :math:`W_{vs}` has the other sign.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparring.potentials.painn_fast.features import Basis, Message, Source, Table

__all__ = ["messages"]

Context = Any
"""Context of an autograd function; it accepts any attributes."""

MaybeTensor = Any
"""A tensor, or None where there is none."""


def messages(
    table: Table, source: Source, basis: Basis, weight: Float[Tensor, "n_members n_filters n_basis"]
) -> Message:
    """Sums over neighbours, twice differentiable.

    Derivatives in the weights are computed in a pass that no graph follows (without ``create_graph``).

    Args:
        table: Neighbours.
        source: Features of all atoms.
        basis: Radial basis of all entries.
        weight: Weights A of the filters: those of scalars, of y, and of r.
    """
    return Message(*_Messages.apply(table, *source, *basis, weight))  # type: ignore[no-untyped-call]


class _Messages(torch.autograd.Function):
    """The sums as a function of sources, basis and weights."""

    @staticmethod
    def forward(ctx: Context, table: Table, *tensors: MaybeTensor) -> Message:
        ctx.table = table
        ctx.save_for_backward(*tensors)
        return table.sums(Source(*tensors[:3]), Basis(*tensors[3:5]), tensors[5])

    @staticmethod
    def backward(ctx: Context, *message_bar: MaybeTensor) -> tuple[Tensor | None, ...]:
        needs_source, needs_weight = any(ctx.needs_input_grad[1:4]), ctx.needs_input_grad[6]
        bars = _Gradient.apply(ctx.table, needs_source, *message_bar, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        weight_bar = None
        if needs_weight and not torch.is_grad_enabled():
            source, basis = Source(*ctx.saved_tensors[:3]), Basis(*ctx.saved_tensors[3:5])
            weight_bar = ctx.table.weight_gradient(Message(*message_bar), source, basis)
        return None, *bars, weight_bar


class _Gradient(torch.autograd.Function):
    """Derivatives in the sources and in the basis, as a function of the derivatives in the messages and all else."""

    @staticmethod
    def forward(ctx: Context, table: Table, needs_source: bool, *tensors: MaybeTensor) -> tuple[Tensor | None, ...]:
        message_bar, source, basis = Message(*tensors[:2]), Source(*tensors[2:5]), Basis(*tensors[5:7])
        weight = tensors[7]
        ctx.table = table
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        source_bar: tuple[Tensor | None, ...] = (None, None, None)
        if needs_source:
            source_bar = table.adjoint(message_bar, basis, weight, vectors=source.vector is not None)
        return *source_bar, *table.basis_gradient(message_bar, source, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *dots: MaybeTensor) -> tuple[Tensor | None, ...]:
        *tensors, weight = ctx.saved_tensors
        table: Table = ctx.table
        message_bar, source, basis = Message(*tensors[:2]), Source(*tensors[2:5]), Basis(*tensors[5:7])
        # Without any entry, nothing depends on the basis.
        basis_dot = Basis(
            *(torch.zeros_like(q) if dot is None else dot for q, dot in zip(basis, dots[3:5], strict=True))
        )
        needs_source, needs_weight = any(ctx.needs_input_grad[4:7]), ctx.needs_input_grad[9]
        of_message = table.sums(source, basis_dot, weight)
        of_source: tuple[Tensor | None, ...] = (None, None, None)
        if needs_source:
            of_source = table.adjoint(message_bar, basis_dot, weight, vectors=source.vector is not None)
        of_basis: tuple[Tensor | None, ...] = (None, None)
        of_weight = table.weight_gradient(message_bar, source, basis_dot) if needs_weight else None
        if dots[0] is not None:
            source_dot = Source(*dots[:3])
            for total, more in zip(of_message, table.sums(source_dot, basis, weight), strict=True):
                total.add_(more)
            of_basis = table.basis_gradient(message_bar, source_dot, weight)
            if of_weight is not None:
                of_weight.add_(table.weight_gradient(message_bar, source_dot, basis))
        return None, None, *of_message, *of_source, *of_basis, of_weight
