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

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap
from torch.nn import functional

from sparring.neighbors import distances
from sparring.potentials.slots import Slots, listen, tell
from sparring.structures import Structures
from sparring.units import KCAL_PER_MOL

__all__ = ["WrittenOut"]

LOWEST_EXPONENT = -85.0
"""exp of less is no normal number in single precision, and processors take fifty times as long over those."""

Context = Any
"""What an operation of automatic differentiation keeps on its way; it takes whatever attributes we set."""


class Narrow(NamedTuple):
    """Features q of edges with axes layer, member, place, feature; and what their derivatives are made of."""

    value: Tensor
    slope: Tensor
    gaussian: Tensor
    steepness: Tensor
    sigmoid: Tensor
    softplus: Tensor
    rise: Tensor
    fade: Tensor
    fade_slope: Tensor
    fade_curvature: Tensor


N_NARROW = len(Narrow._fields)


class Forward(NamedTuple):
    """What the way forward leaves for the ways back, with axes layer, member, atom or place, feature."""

    filters: Tensor
    said: Tensor
    sigmoids: Tensor
    sigmoid: Tensor


class Back(NamedTuple):
    """What the way back leaves for its own derivative."""

    heard_bar: Tensor
    activation_bar: Tensor
    narrow_bar: Tensor


class WrittenOut:
    """A committee of SchNets as one twice differentiable function of distances.

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
        def of_all_layers(name: str) -> Tensor:
            return torch.stack([weights[f"interactions.{layer}.{name}"] for layer in range(n_interactions)])

        self.cutoff, self.envelope, self.reference_energies = cutoff, envelope, reference_energies
        self.n_layers = n_interactions
        self.n_members = len(weights["embedding.weight"])
        self.centres = of_all_layers("seen.0.centres").unsqueeze(2)
        self.widths = of_all_layers("seen.0.widths").unsqueeze(2)
        self.first, self.first_bias = of_all_layers("seen.1.weight").mT, of_all_layers("seen.1.bias").unsqueeze(2)
        bias = of_all_layers("filter.bias").unsqueeze(-1)
        self.filter = torch.cat([of_all_layers("filter.weight"), bias], dim=-1)
        self.filter_t = self.filter.mT.contiguous()
        self.say, self.say_bias = of_all_layers("node.weight"), of_all_layers("node.bias").unsqueeze(2)
        self.hear, self.hear_bias = of_all_layers("update.0.weight"), of_all_layers("update.0.bias").unsqueeze(2)
        self.update, self.update_bias = of_all_layers("update.2.weight"), of_all_layers("update.2.bias").unsqueeze(2)
        self.read, self.read_bias = weights["readout.0.weight"], weights["readout.0.bias"].unsqueeze(1)
        self.last = weights["readout.2.weight"] * KCAL_PER_MOL
        self.last_bias = weights["readout.2.bias"].unsqueeze(1) * KCAL_PER_MOL
        self._seen: tuple[Tensor, torch.dtype, Slots] | None = None
        self.embedding, self.atomic_energy = weights["embedding.weight"], weights["atomic_energy"]

    def __call__(
        self, structures: Structures, own: Float[Tensor, "n_members n_atoms 3"]
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members in eV, twice differentiable in the positions that each sees, and in cells."""
        if structures.edges is None:
            raise ValueError("SchNet needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        distance = vmap(lambda positions: distances(replace(structures, positions=positions)))(own)
        energy: Tensor = _Energy.apply(distance, self, structures, self.slots(structures))  # type: ignore[no-untyped-call]
        return energy

    def slots(self, structures: Structures) -> Slots:
        """The layout of the edges; that of edges seen last is remembered, for those of molecules stay."""
        assert structures.edges is not None
        edges = structures.edges
        if self._seen is None or self._seen[0] is not edges.target or self._seen[1] != edges.shifts.dtype:
            self._seen = edges.target, edges.shifts.dtype, Slots.of(structures)
        return self._seen[2]

    # --- forwards -------------------------------------------------------------------------------------------------

    def forward(
        self, distance: Float[Tensor, "n_members n_edges"], structures: Structures, slots: Slots
    ) -> tuple[Tensor, Narrow, Forward]:
        """The energies, and what the ways back need."""
        narrow = self.narrow(slots.spread(distance), slots.filled)
        h = self.embedding.index_select(1, structures.atomic_numbers)
        n_filters, n_features = self.say.shape[2:]
        filters = h.new_empty(self.n_layers, self.n_members, slots.source.numel(), n_filters)
        said = h.new_empty(self.n_layers, *h.shape[:2], n_filters)
        sigmoids = h.new_empty(self.n_layers, *h.shape[:2], n_features)
        for layer in range(self.n_layers):
            torch.bmm(narrow.value[layer], self.filter_t[layer], out=filters[layer])
            torch.baddbmm(self.say_bias[layer], h, self.say[layer].mT, out=said[layer])
            m = listen(slots, said[layer], filters[layer])
            t = torch.baddbmm(self.hear_bias[layer], m, self.hear[layer].mT)
            torch.sigmoid(t, out=sigmoids[layer])
            h = torch.baddbmm(h + self.update_bias[layer], _softplus(t), self.update[layer].mT)
        r = torch.baddbmm(self.read_bias, h, self.read.mT)
        atoms = ((_softplus(r) * self.last).sum(-1) + self.last_bias.squeeze(1)).double()
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(1, structures.atomic_numbers)
        energy = atoms.new_zeros(self.n_members, structures.n_structures)
        energy = energy.index_add(1, structures.structure_index, atoms)
        return energy, narrow, Forward(filters, said, sigmoids, torch.sigmoid(r))

    def narrow(self, distance: Float[Tensor, "n_members n_places"], filled: Tensor | None) -> Narrow:
        """Q and its slope in the distance, for all layers at once."""
        fade = self.fade(distance.unsqueeze(-1))
        if filled is not None:
            fade = [values * filled.unsqueeze(-1) for values in fade]
        f, f_slope, _ = fade
        z = (distance.unsqueeze(-1) - self.centres) / self.widths
        gaussian = z.square().mul_(-0.5).clamp_(min=LOWEST_EXPONENT).exp_()
        steepness = z.div_(-self.widths)
        a = self._first_layer(gaussian) + self.first_bias
        rise = self._first_layer(gaussian * steepness)
        sigmoid, softplus = torch.sigmoid(a), _softplus(a)
        value = torch.cat([softplus * f, f.expand(*a.shape[:3], 1)], dim=-1)
        slope = torch.addcmul(softplus * f_slope, sigmoid * rise, f)
        slope = torch.cat([slope, f_slope.expand(*a.shape[:3], 1)], dim=-1)
        return Narrow(value, slope, gaussian, steepness, sigmoid, softplus, rise, *fade)

    def curvature(self, narrow: Narrow) -> Tensor:
        """Second derivative of q in the distance."""
        bent = self._first_layer(narrow.gaussian * (narrow.steepness.square() - self.widths.square().reciprocal()))
        first = narrow.sigmoid * narrow.rise
        second = narrow.sigmoid * bent + first * narrow.rise * (1 - narrow.sigmoid)
        curved = second * narrow.fade + 2 * first * narrow.fade_slope + narrow.softplus * narrow.fade_curvature
        return torch.cat([curved, narrow.fade_curvature.expand(*curved.shape[:3], 1)], dim=-1)

    def _first_layer(self, gaussians: Tensor) -> Tensor:
        product = torch.bmm(gaussians.flatten(0, 1), self.first.flatten(0, 1))
        return product.view(*gaussians.shape[:3], self.first.shape[-1])

    def fade(self, distance: Tensor) -> list[Tensor]:
        """The envelope of :func:`sparring.potentials.schnet.polynomial_envelope`, its slope and its curvature."""
        if not self.envelope:
            inside = (distance < self.cutoff).to(distance)
            return [inside, torch.zeros_like(inside), torch.zeros_like(inside)]
        x = (distance / self.cutoff).clamp(max=1.0)
        value = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
        slope = -168 * x**5 * (1 - x) ** 2 / self.cutoff
        return [value, slope, -168 * x**4 * (1 - x) * (5 - 7 * x) / self.cutoff**2]

    # --- backwards ------------------------------------------------------------------------------------------------

    def slope(self, narrow: Narrow, forward: Forward, slots: Slots) -> tuple[Float[Tensor, "n_members n_edges"], Back]:
        """Derivative of the energies in the distances, in eV/Å."""
        filters, said, sigmoids, sigmoid = forward
        heard_bar, activation_bar = torch.empty_like(said), torch.empty_like(sigmoids)
        narrow_bar = torch.empty_like(narrow.value)
        filter_bar = torch.empty_like(filters[0])
        h_bar = torch.bmm(sigmoid * self.last, self.read)
        for layer in reversed(range(self.n_layers)):
            torch.bmm(h_bar, self.update[layer], out=activation_bar[layer])
            torch.bmm(activation_bar[layer] * sigmoids[layer], self.hear[layer], out=heard_bar[layer])
            tell(slots, filter_bar, heard_bar[layer], said[layer])
            torch.bmm(filter_bar, self.filter[layer], out=narrow_bar[layer])
            if layer:
                x_bar = listen(slots, heard_bar[layer], filters[layer])
                h_bar = torch.baddbmm(h_bar, x_bar, self.say[layer])
        return slots.collect(_dot(narrow_bar, narrow.slope)), Back(heard_bar, activation_bar, narrow_bar)

    def bend(
        self, narrow: Narrow, forward: Forward, back: Back, slots: Slots, direction: Float[Tensor, "n_members n_edges"]
    ) -> Float[Tensor, "n_members n_edges"]:
        """Derivative of the slope along a direction in the distances: the matrix of second derivatives times it."""
        filters, said, sigmoids, sigmoid = forward
        d_dot = slots.spread(direction)
        q_dot = narrow.slope * d_dot.unsqueeze(-1)
        filters_dot, said_dot, heard_dot = (torch.empty_like(values) for values in (filters, said, sigmoids))
        h_dot = torch.zeros_like(sigmoids[0])
        for layer in range(self.n_layers):
            torch.bmm(q_dot[layer], self.filter_t[layer], out=filters_dot[layer])
            m_dot = listen(slots, said[layer], filters_dot[layer])
            if layer:  # what atoms say first does not depend on distances
                torch.bmm(h_dot, self.say[layer].mT, out=said_dot[layer])
                m_dot = listen(slots, said_dot[layer], filters[layer], m_dot)
            torch.bmm(m_dot, self.hear[layer].mT, out=heard_dot[layer])
            h_dot = torch.baddbmm(h_dot, sigmoids[layer] * heard_dot[layer], self.update[layer].mT)
        h_bar_dot = torch.bmm(_curl(sigmoid) * torch.bmm(h_dot, self.read.mT) * self.last, self.read)
        narrow_bar_dot, filter_bar_dot = torch.empty_like(narrow.value), torch.empty_like(filters[0])
        for layer in reversed(range(self.n_layers)):
            t_bar_dot = torch.bmm(h_bar_dot, self.update[layer]).mul_(sigmoids[layer])
            t_bar_dot.addcmul_(back.activation_bar[layer], _curl(sigmoids[layer]).mul_(heard_dot[layer]))
            m_bar_dot = torch.bmm(t_bar_dot, self.hear[layer])
            tell(slots, filter_bar_dot, m_bar_dot, said[layer])
            if layer:
                tell(slots, filter_bar_dot, back.heard_bar[layer], said_dot[layer], add=True)
                x_bar_dot = listen(slots, m_bar_dot, filters[layer])
                x_bar_dot = listen(slots, back.heard_bar[layer], filters_dot[layer], x_bar_dot)
                h_bar_dot = torch.baddbmm(h_bar_dot, x_bar_dot, self.say[layer])
            torch.bmm(filter_bar_dot, self.filter[layer], out=narrow_bar_dot[layer])
        along = _dot(narrow_bar_dot, narrow.slope)
        along.addcmul_(_dot(back.narrow_bar, self.curvature(narrow)), d_dot)
        return slots.collect(along)


def _dot(
    left: Float[Tensor, "n_layers n_members n_places n_narrow"], right: Tensor
) -> Float[Tensor, "n_members n_places"]:
    return (left * right).sum((0, -1))


def _softplus(x: Tensor) -> Tensor:
    return functional.softplus(x).sub_(math.log(2.0))


def _curl(sigmoid: Tensor) -> Tensor:
    """Derivative of the sigmoid."""
    return sigmoid * (1 - sigmoid)


class _Energy(torch.autograd.Function):
    """Energies of distances; their derivative is :class:`_Slope`."""

    @staticmethod
    def forward(ctx: Context, distance: Tensor, network: WrittenOut, structures: Structures, slots: Slots) -> Tensor:
        energy, narrow, forward = network.forward(distance, structures, slots)
        ctx.network, ctx.slots = network, slots
        ctx.owner = structures.structure_index.index_select(0, slots.target)
        ctx.save_for_backward(distance, *narrow, *forward)
        return energy

    @staticmethod
    def backward(ctx: Context, *energy_bar: Tensor) -> tuple[Tensor | None, ...]:
        distance, *saved = ctx.saved_tensors
        slope: Tensor = _Slope.apply(distance, ctx.network, ctx.slots, *saved)  # type: ignore[no-untyped-call]
        return slope * energy_bar[0].to(slope).index_select(1, ctx.owner), None, None, None


class _Slope(torch.autograd.Function):
    """Slopes of energies in distances; their derivative is the end of it."""

    @staticmethod
    def forward(ctx: Context, distance: Tensor, network: WrittenOut, slots: Slots, *saved: Tensor) -> Tensor:
        slope, back = network.slope(Narrow(*saved[:N_NARROW]), Forward(*saved[N_NARROW:]), slots)
        ctx.network, ctx.slots = network, slots
        ctx.save_for_backward(distance, *saved, *back)
        return slope

    @staticmethod
    def backward(ctx: Context, *slope_bar: Tensor) -> tuple[Tensor | None, ...]:
        (distance, *saved), n_forward = ctx.saved_tensors, N_NARROW + len(Forward._fields)
        parts = Narrow(*saved[:N_NARROW]), Forward(*saved[N_NARROW:n_forward]), Back(*saved[n_forward:])
        with torch.no_grad():
            bend = ctx.network.bend(*parts, ctx.slots, slope_bar[0])
        bend = _End.apply(bend, distance, slope_bar[0])  # type: ignore[no-untyped-call]
        return bend, *[None] * (2 + n_forward)


class _End(torch.autograd.Function):
    """Where nothing further is written out: a graph that goes on from here fails, rather than lack a term."""

    @staticmethod
    def forward(ctx: Context, bend: Tensor, *made_of: Tensor) -> Tensor:
        return bend.view_as(bend)

    @staticmethod
    def backward(ctx: Context, *bar: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("third derivatives are not written out; ask for a Committee(..., written_out=False)")
