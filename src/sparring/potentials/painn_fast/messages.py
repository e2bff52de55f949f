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
Filters are computed again in each pass, one row of neighbours at a time: to read them from memory would take longer.
"""

from typing import Any, NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from sparring.potentials.painn_fast.pair_table import PairTable, Row

__all__ = ["Basis", "Source", "messages"]

Context = Any
"""Context of an autograd function; it accepts any attributes."""


class Basis(NamedTuple):
    """Radial basis of the entries of a table.

    Attributes:
        scalar: Basis q.
        vector: Its products with the components of the unit vector.
    """

    scalar: Float[Tensor, "n_members n_entries n_basis"]
    vector: Float[Tensor, "n_members 3 n_entries n_basis"]


class Source(NamedTuple):
    """Features of atoms that their neighbours read.

    Attributes:
        scalar: Features p.
        radial: Features r.
        vector: Features y; None if all are zero, as in the first layer.
    """

    scalar: Float[Tensor, "n_members n_atoms n_features"]
    radial: Float[Tensor, "n_members n_atoms n_features"]
    vector: Float[Tensor, "n_members 3 n_atoms n_features"] | None


class Message(NamedTuple):
    """Sums over neighbours, and derivatives in them."""

    scalar: Float[Tensor, "n_members n_atoms n_features"]
    vector: Float[Tensor, "n_members 3 n_atoms n_features"]


Features = TypeVar("Features", Source, Message)


class Filters(NamedTuple):
    """Filters of the entries of one row; those of y are None in the first layer."""

    s: Float[Tensor, "n_members n_row n_features"]
    vs: Float[Tensor, "n_members 3 n_row n_features"]
    vv: Float[Tensor, "n_members n_row n_features"] | None


def messages(table: PairTable, source: Source, basis: Basis, weight: Float[Tensor, "n_members 3_f n_basis"]) -> Message:
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
    def forward(ctx: Context, table: PairTable, *tensors: Tensor) -> Message:
        source, basis, weight = Source(*tensors[:3]), Basis(*tensors[3:5]), tensors[5]
        ctx.table = table
        ctx.save_for_backward(*tensors)
        total = _Sums(table, source.scalar)
        extended = _extended(table, source)
        for row in table.rows:
            total.add(row, _filters(row, basis, weight, source.vector is not None), extended)
        return total.message()

    @staticmethod
    def backward(ctx: Context, *message_bar: Tensor) -> tuple[Tensor | None, ...]:
        needs_source, needs_weight = any(ctx.needs_input_grad[1:4]), ctx.needs_input_grad[6]
        bars = _Gradient.apply(ctx.table, needs_source, *message_bar, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        weight_bar = None
        if needs_weight and not torch.is_grad_enabled():
            source, basis = Source(*ctx.saved_tensors[:3]), Basis(*ctx.saved_tensors[3:5])
            weight_bar = _weight_gradient(ctx.table, Message(*message_bar), source, basis)
        return None, *bars, weight_bar


class _Gradient(torch.autograd.Function):
    """Derivatives in the sources and in the basis, as a function of the derivatives in the messages and all else."""

    @staticmethod
    def forward(ctx: Context, table: PairTable, needs_source: bool, *tensors: Tensor) -> tuple[Tensor | None, ...]:
        message_bar, source, basis = Message(*tensors[:2]), Source(*tensors[2:5]), Basis(*tensors[5:7])
        weight = tensors[7]
        ctx.table = table
        ctx.save_for_backward(*tensors)
        ctx.set_materialize_grads(False)
        bar, x = _extended(table, message_bar), _extended(table, source)
        total = _Sums(table, source.scalar) if needs_source else None
        basis_bar = []
        for row in table.rows:
            if total:
                total.add_adjoint(row, _filters(row, basis, weight, source.vector is not None), bar)
            basis_bar.append(_basis_gradient(_products(row, bar, x), weight))
        return *(total.source(source) if total else (None, None, None)), *_joined(basis_bar, basis)

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, *dots: Tensor | None) -> tuple[Tensor | None, ...]:
        tensors, table = ctx.saved_tensors, ctx.table
        message_bar, source, basis = Message(*tensors[:2]), Source(*tensors[2:5]), Basis(*tensors[5:7])
        weight, has_vector = tensors[7], tensors[4] is not None
        bar, x = _extended(table, message_bar), _extended(table, source)
        source_dot = None if dots[0] is None else Source(*dots[:3])
        x_dot = _extended(table, source_dot) if source_dot else None
        basis_dot = Basis(*dots[3:5])
        of_message, of_source = _Sums(table, source.scalar), _Sums(table, source.scalar)
        of_basis, weight_bar = [], torch.zeros_like(weight) if ctx.needs_input_grad[9] else None
        for row in table.rows:
            W_dot = _filters(row, basis_dot, weight, has_vector)
            of_message.add(row, W_dot, x)
            if any(ctx.needs_input_grad[4:7]):
                of_source.add_adjoint(row, W_dot, bar)
            if x_dot:
                of_message.add(row, _filters(row, basis, weight, has_vector), x_dot)
                products = _products(row, bar, x_dot)
                of_basis.append(_basis_gradient(products, weight))
                if weight_bar is not None:
                    _add_weight_gradient(weight_bar, row, products, basis)
            if weight_bar is not None:
                _add_weight_gradient(weight_bar, row, _products(row, bar, x), basis_dot)
        basis_bar = _joined(of_basis, basis) if of_basis else (None, None)
        return None, None, *of_message.message(), *of_source.source(source), *basis_bar, weight_bar


class _Sums:
    """Sums over neighbours, row by row."""

    def __init__(self, table: PairTable, like: Tensor) -> None:
        n_members, _, n_features = like.shape
        self.table = table
        self.scalar = table.zeros(n_members, n_features, like=like)
        self.vector = table.zeros(n_members, 3, n_features, like=like)
        self.radial: Tensor | None = None

    def add(self, row: Row, W: Filters, x: Source) -> None:
        """Add the messages of a row."""
        _add(self.scalar, row, W.s, x.scalar, 1)
        _add(self.vector, row, W.vs, x.radial.unsqueeze(1), -1)
        if x.vector is not None and W.vv is not None:
            _add(self.vector, row, W.vv.unsqueeze(1), x.vector, 1)

    def add_adjoint(self, row: Row, W: Filters, bar: Message) -> None:
        """Add the derivatives in the sources that come from a row."""
        if self.radial is None:
            self.radial = torch.zeros_like(self.vector)
        _add(self.scalar, row, W.s, bar.scalar, 1)
        _add(self.radial, row, W.vs, bar.vector, -1)
        if W.vv is not None:
            _add(self.vector, row, W.vv.unsqueeze(1), bar.vector, 1)

    def message(self) -> Message:
        """The sums as messages."""
        return Message(self.table.fold(self.scalar), self.table.fold(self.vector))

    def source(self, like: Source) -> Source:
        """The sums as derivatives in the sources."""
        radial = torch.zeros_like(self.scalar) if self.radial is None else self.radial.sum(1).neg_()
        vector = None if like.vector is None else self.table.fold(self.vector)
        return Source(self.table.fold(self.scalar), self.table.fold(radial), vector)


def _add(total: Tensor, row: Row, W: Tensor, x: Tensor, sign: int) -> None:
    """Add W_ij ∘ x_j to i, and, for an entry of both directions, W_ji ∘ x_i to j, where W_ji = ± W_ij."""
    row.of_targets(total).addcmul_(W, row.of_sources(x))
    if row.paired:
        row.of_sources(total).addcmul_(W, row.of_targets(x), value=sign)


def _product(row: Row, bar: Tensor, x: Tensor, sign: int) -> Tensor:
    """Derivative in the filters: m̄_i ∘ x_j, and for an entry of both directions ± m̄_j ∘ x_i."""
    W_bar = row.of_targets(bar) * row.of_sources(x)
    return W_bar.addcmul_(row.of_sources(bar), row.of_targets(x), value=sign) if row.paired else W_bar


def _products(row: Row, bar: Message, x: Source) -> Filters:
    """Derivatives in all filters of a row."""
    return Filters(
        _product(row, bar.scalar, x.scalar, 1),
        _product(row, bar.vector, x.radial.unsqueeze(1), -1),
        None if x.vector is None else _product(row, bar.vector, x.vector, 1).sum(1),
    )


def _filters(row: Row, basis: Basis, weight: Tensor, has_vector: bool) -> Filters:
    """Filters of a row."""
    q, q_vector = basis.scalar[:, row.entries], basis.vector[:, :, row.entries]
    A_s, A_vv, A_vs = weight.mT.chunk(3, dim=2)
    vs = torch.bmm(q_vector.flatten(1, 2), A_vs).unflatten(1, (3, -1))
    return Filters(torch.bmm(q, A_s), vs, torch.bmm(q, A_vv) if has_vector else None)


def _basis_gradient(W_bar: Filters, weight: Tensor) -> Basis:
    """Derivatives in the basis of a row."""
    A_s, A_vv, A_vs = weight.chunk(3, dim=1)
    q_bar = torch.bmm(W_bar.s, A_s)
    if W_bar.vv is not None:
        q_bar = torch.baddbmm(q_bar, W_bar.vv, A_vv)
    return Basis(q_bar, torch.bmm(W_bar.vs.flatten(1, 2), A_vs).unflatten(1, (3, -1)))


def _weight_gradient(table: PairTable, message_bar: Message, source: Source, basis: Basis) -> Tensor:
    """Derivatives in the weights of the filters."""
    bar, x = _extended(table, message_bar), _extended(table, source)
    n_members, _, n_features = source.scalar.shape
    weight_bar = basis.scalar.new_zeros(n_members, 3 * n_features, basis.scalar.shape[2])
    for row in table.rows:
        _add_weight_gradient(weight_bar, row, _products(row, bar, x), basis)
    return weight_bar


def _add_weight_gradient(weight_bar: Tensor, row: Row, W_bar: Filters, basis: Basis) -> None:
    """Add the derivatives in the weights that come from a row."""
    q, q_vector = basis.scalar[:, row.entries], basis.vector[:, :, row.entries]
    A_s, A_vv, A_vs = weight_bar.chunk(3, dim=1)
    A_s.baddbmm_(W_bar.s.mT, q)
    A_vs.baddbmm_(W_bar.vs.flatten(1, 2).mT, q_vector.flatten(1, 2))
    if W_bar.vv is not None:
        A_vv.baddbmm_(W_bar.vv.mT, q)


def _extended(table: PairTable, values: Features) -> Features:
    return type(values)(*(None if one is None else table.extend(one) for one in values))


def _joined(rows: list[Basis], like: Basis) -> Basis:
    if not rows:
        return Basis(torch.zeros_like(like.scalar), torch.zeros_like(like.vector))
    return Basis(torch.cat([row.scalar for row in rows], dim=1), torch.cat([row.vector for row in rows], dim=2))
