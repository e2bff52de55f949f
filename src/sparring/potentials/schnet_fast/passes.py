"""Tensors that the passes through SchNets leave for those after them; symbols are those of `derivatives`."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Backward", "Forward"]


class Forward(NamedTuple):
    """Tensors of the forward pass that derivatives need, with axes layer, member, atom or entry, feature.

    Attributes:
        filters: Filters W.
        source: Source features x of every atom.
        sigmoids: Sigmoids of t.
        readout_sigmoid: Sigmoid of r, without the axis of layers.
    """

    filters: Tensor
    source: Tensor
    sigmoids: Tensor
    readout_sigmoid: Tensor


class Backward(NamedTuple):
    """Tensors of the backward pass that its own derivative needs.

    Attributes:
        message_bar: Derivative in m.
        activation_bar: Derivative in s(t).
        q_bar: Derivative in q.
    """

    message_bar: Tensor
    activation_bar: Tensor
    q_bar: Tensor
