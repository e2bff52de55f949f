r"""SchNet for a whole committee with its derivatives written out, where automatic ones pass too often over memory.

To SchNet a structure is nothing but distances, so all that an attack needs of it is the energy :math:`E(d)`, its slope
:math:`\partial E / \partial d`, and the slope's derivative along a direction :math:`\dot d`. They are computed here by
the chain rule, forwards and backwards through the network, and are to automatic differentiation the derivatives of one
operation. Positions, cells and strain reach the distances through ordinary operations.

Of one interaction, where an edge has narrow features q and an atom the representation h:

=========================  ===========================================================================
:math:`W = q A^T`          filter of an edge (the last column of A is the bias, that of q the envelope)
:math:`x = h N^T + n`      what an atom says
:math:`m_i`                :math:`\sum_j W_{ij} \circ x_j`, what it hears
:math:`t = m U^T + u`      what it makes of that, before the activation :math:`s`
:math:`h + s(t) V^T + v`   its next representation
:math:`\bar y`             :math:`\partial E / \partial y`, ``y_bar`` in the code
:math:`\dot y`             derivative of y along :math:`\dot d`, ``y_dot`` in the code
=========================  ===========================================================================
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.schnet_fast.neighbor_table import Slots, listen, tell
from sparring.potentials.schnet_fast.radial import (
    Narrow,
    Radial,
    curvature,
    narrow_features,
    radial_bars,
    shifted_softplus,
)
from sparring.potentials.schnet_fast.weight_gradients import Lesson
from sparring.units import KCAL_PER_MOL

__all__ = ["Back", "Forward", "WrittenOut"]


class Forward(NamedTuple):
    """What the way forward leaves for the ways back, with axes layer, member, atom or place, feature.

    Attributes:
        filters: W.
        said: x, as a ring (see :meth:`Slots.ring`).
        sigmoids: Of t.
        sigmoid: Of the readout.
    """

    filters: Tensor
    said: Tensor
    sigmoids: Tensor
    sigmoid: Tensor


class Back(NamedTuple):
    """What the way back leaves for its own derivative.

    Attributes:
        heard_bar: Of m, as a ring.
        activation_bar: Of s(t).
        narrow_bar: Of q.
    """

    heard_bar: Tensor
    activation_bar: Tensor
    narrow_bar: Tensor


class WrittenOut:
    """SchNets of one architecture as a function of distances, with its first and second derivatives.

    Args:
        weights: Their parameters and buffers, each with a leading axis of members.
        n_interactions: How many interactions they have.
        cutoff: How far an atom sees, in Å.
        envelope: Whether messages fade out at the cutoff.
        reference_energies: Whether elements have energies of their own.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        *,
        n_interactions: int,
        cutoff: float,
        envelope: bool,
        reference_energies: bool,
    ) -> None:
        def of_all_layers(name: str) -> list[Tensor]:
            return [weights[f"interactions.{layer}.{name}"] for layer in range(n_interactions)]

        def bias_of_all_layers(name: str) -> list[Tensor]:
            return [bias.unsqueeze(1) for bias in of_all_layers(name)]

        self.cutoff, self.envelope, self.reference_energies = cutoff, envelope, reference_energies
        self.n_layers = n_interactions
        self.n_members, _, self.n_features = weights["embedding.weight"].shape
        self.radial = Radial(
            centres=torch.stack(bias_of_all_layers("seen.0.centres")),
            widths=torch.stack(bias_of_all_layers("seen.0.widths")),
            weight=torch.stack(of_all_layers("seen.1.weight")).mT,
            bias=torch.stack(bias_of_all_layers("seen.1.bias")),
        )
        filters, bias = torch.stack(of_all_layers("filter.weight")), torch.stack(of_all_layers("filter.bias"))
        self.filter = torch.cat([filters, bias.unsqueeze(-1)], dim=-1)
        self.filter_t = self.filter.mT.contiguous()
        self.n_filters = self.filter.shape[2]
        self.say, self.say_bias = of_all_layers("node.weight"), bias_of_all_layers("node.bias")
        self.hear, self.hear_bias = of_all_layers("update.0.weight"), bias_of_all_layers("update.0.bias")
        self.update, self.update_bias = of_all_layers("update.2.weight"), bias_of_all_layers("update.2.bias")
        self.read, self.read_bias = weights["readout.0.weight"], weights["readout.0.bias"].unsqueeze(1)
        self.last = weights["readout.2.weight"] * KCAL_PER_MOL
        self.last_bias = weights["readout.2.bias"].unsqueeze(1) * KCAL_PER_MOL
        self.embedding, self.atomic_energy = weights["embedding.weight"], weights["atomic_energy"]

    def forward(
        self,
        distance: Float[Tensor, "n_members n_edges"],
        structures: Structures,
        slots: Slots,
        lesson: Lesson | None = None,
    ) -> tuple[Float[Tensor, "n_members n_structures"], Narrow, Forward]:
        """The energies in eV, and what the ways back need.

        Args:
            distance: Length of every edge, in Å; the same for an edge and its reverse.
            structures: Which atoms there are, and whose they are.
            slots: The layout of the edges.
            lesson: Takes notes for the derivatives in the weights.
        """
        narrow = narrow_features(
            slots.spread(distance), self.radial, cutoff=self.cutoff, envelope=self.envelope, filled=slots.filled
        )
        h = self.embedding.index_select(1, structures.atomic_numbers)
        filters = h.new_empty(self.n_layers, self.n_members, slots.source.numel(), self.n_filters)
        sigmoids = torch.empty_like(h.expand(self.n_layers, *h.shape), memory_format=torch.contiguous_format)
        said = slots.new_ring(h.new_empty(self.n_members, h.shape[1], self.n_filters), self.n_layers)
        for layer in range(self.n_layers):
            torch.bmm(narrow.value[layer], self.filter_t[layer], out=filters[layer])
            slots.write_ring(said[layer], torch.baddbmm(self.say_bias[layer], h, self.say[layer].mT))
            m = listen(slots, said[layer], filters[layer])
            t = torch.baddbmm(self.hear_bias[layer], m, self.hear[layer].mT)
            torch.sigmoid(t, out=sigmoids[layer])
            activated = shifted_softplus(t)
            if lesson:
                lesson.note_forward(h, m, activated)
            h.add_(self.update_bias[layer]).baddbmm_(activated, self.update[layer].mT)
        r = torch.baddbmm(self.read_bias, h, self.read.mT)
        activated = shifted_softplus(r)
        if lesson:
            lesson.note_forward(h, h, activated)
        atoms = ((activated * self.last).sum(-1) + self.last_bias.squeeze(1)).double()
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(1, structures.atomic_numbers)
        energy = atoms.new_zeros(self.n_members, structures.n_structures)
        energy = energy.index_add(1, structures.structure_index, atoms)
        return energy, narrow, Forward(filters, said, sigmoids, torch.sigmoid(r))

    # --- backwards ------------------------------------------------------------------------------------------------

    def slope(
        self, narrow: Narrow, forward: Forward, slots: Slots, lesson: Lesson | None = None
    ) -> tuple[Float[Tensor, "n_members n_edges"], Back]:
        """Derivative of the energies in the distances, in eV/Å.

        Where an edge and its reverse share a place, one of them has what belongs to both.
        """
        filters, said, sigmoids, sigmoid = forward
        heard_bar, activation_bar = torch.empty_like(said), torch.empty_like(sigmoids)
        narrow_bar, filter_bar = torch.empty_like(narrow.value), torch.empty_like(filters[0])
        h_bar = torch.bmm(sigmoid * self.last, self.read)
        for layer in reversed(range(self.n_layers)):
            torch.bmm(h_bar, self.update[layer], out=activation_bar[layer])
            m_bar = torch.bmm(activation_bar[layer] * sigmoids[layer], self.hear[layer])
            slots.write_ring(heard_bar[layer], m_bar)
            tell(slots, filter_bar, heard_bar[layer], said[layer])
            torch.bmm(filter_bar, self.filter[layer], out=narrow_bar[layer])
            x_bar = listen(slots, heard_bar[layer], filters[layer]) if layer else None
            if lesson:
                lesson.note_back(h_bar, x_bar)
            if x_bar is not None:  # what atoms say first does not depend on distances
                h_bar.baddbmm_(x_bar, self.say[layer])
        return slots.collect(_dot(narrow_bar, narrow.slope)), Back(heard_bar, activation_bar, narrow_bar)

    def bend(
        self, narrow: Narrow, forward: Forward, back: Back, slots: Slots, direction: Float[Tensor, "n_members n_edges"]
    ) -> Float[Tensor, "n_members n_edges"]:
        """Derivative of the slope along a direction in the distances: the matrix of second derivatives times it."""
        d_dot = slots.spread(direction)
        narrow_bar_dot = self._turn(narrow, forward, back, slots, d_dot, None)
        along = _dot(narrow_bar_dot, narrow.slope)
        along.addcmul_(_dot(back.narrow_bar, curvature(narrow, self.radial)), d_dot)
        return slots.collect(along)

    def learn(
        self,
        narrow: Narrow,
        forward: Forward,
        back: Back,
        slots: Slots,
        direction: Float[Tensor, "n_members n_edges"],
        lesson: Lesson,
    ) -> None:
        """Leave with the lesson the derivatives in the weights of the slope along a direction, and of the energies.

        Args:
            narrow: What the way forward left.
            forward: Likewise.
            back: What the way back left.
            slots: The layout of the edges.
            direction: How much the slope in each distance counts.
            lesson: Knows how much energies count, and has taken notes on both ways.
        """
        d_dot = slots.spread(direction)
        narrow_bar = self._turn(narrow, forward, back, slots, d_dot, lesson)
        lesson.narrow(radial_bars(narrow, self.radial, narrow_bar, back.narrow_bar * d_dot.unsqueeze(-1)))

    def _turn(
        self,
        narrow: Narrow,
        forward: Forward,
        back: Back,
        slots: Slots,
        d_dot: Float[Tensor, "n_members n_places"],
        lesson: Lesson | None,
    ) -> Float[Tensor, "n_layers n_members n_places n_narrow"]:
        r"""Forwards along a direction and back: the derivative in q of :math:`\dot E`, or of what a lesson asks."""
        filters, said, sigmoids, sigmoid = forward
        q_dot = narrow.slope * d_dot.unsqueeze(-1)
        filters_dot, said_dot, t_dot = (torch.empty_like(values) for values in (filters, said, sigmoids))
        h_dot = torch.zeros_like(sigmoids[0])
        for layer in range(self.n_layers):
            torch.bmm(q_dot[layer], self.filter_t[layer], out=filters_dot[layer])
            m_dot = listen(slots, said[layer], filters_dot[layer])
            if layer:
                slots.write_ring(said_dot[layer], torch.bmm(h_dot, self.say[layer].mT))
                m_dot = listen(slots, said_dot[layer], filters[layer], m_dot)
            torch.bmm(m_dot, self.hear[layer].mT, out=t_dot[layer])
            if lesson:
                lesson.note_direction(h_dot, m_dot)
            h_dot.baddbmm_(sigmoids[layer] * t_dot[layer], self.update[layer].mT)
        r_dot = torch.bmm(h_dot, self.read.mT)
        r_bar_dot = _curl(sigmoid) * r_dot * self.last
        if lesson:
            r_bar_dot.addcmul_(lesson.energy_bar.unsqueeze(-1), sigmoid * self.last)
            lesson.readout(r_bar_dot, sigmoid, sigmoid * self.last, h_dot, r_dot)
        h_bar_dot = torch.bmm(r_bar_dot, self.read)
        narrow_bar_dot, filter_bar_dot = torch.empty_like(narrow.value), torch.empty_like(filters[0])
        for layer in reversed(range(self.n_layers)):
            t_bar_dot = torch.bmm(h_bar_dot, self.update[layer]).mul_(sigmoids[layer])
            t_bar_dot.addcmul_(back.activation_bar[layer], _curl(sigmoids[layer]).mul_(t_dot[layer]))
            heard_bar_dot = slots.ring(torch.bmm(t_bar_dot, self.hear[layer]))
            tell(slots, filter_bar_dot, heard_bar_dot, said[layer])
            if layer:
                tell(slots, filter_bar_dot, back.heard_bar[layer], said_dot[layer], add=True)
            torch.bmm(filter_bar_dot, self.filter[layer], out=narrow_bar_dot[layer])
            if not layer and not lesson:
                break
            x_bar_dot = listen(slots, heard_bar_dot, filters[layer])
            x_bar_dot = listen(slots, back.heard_bar[layer], filters_dot[layer], x_bar_dot)
            if lesson:
                t_bar, s_dot = back.activation_bar[layer] * sigmoids[layer], sigmoids[layer] * t_dot[layer]
                lesson.update(layer, h_bar_dot, s_dot, t_bar_dot, t_bar)
                lesson.node(layer, x_bar_dot)
                lesson.filter(layer, filter_bar_dot, narrow.value[layer])
                tell(slots, filter_bar_dot, back.heard_bar[layer], said[layer])
                lesson.filter(layer, filter_bar_dot, q_dot[layer])
            h_bar_dot.baddbmm_(x_bar_dot, self.say[layer])
        if lesson:
            lesson.embedding(h_bar_dot)
        return narrow_bar_dot


def _dot(
    left: Float[Tensor, "n_layers n_members n_places n_narrow"], right: Tensor
) -> Float[Tensor, "n_members n_places"]:
    return (left * right).sum((0, -1))


def _curl(sigmoid: Tensor) -> Tensor:
    """Derivative of the sigmoid."""
    return sigmoid * (1 - sigmoid)
