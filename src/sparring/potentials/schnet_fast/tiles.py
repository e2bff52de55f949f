"""A committee evaluated in tiles that fit a processor's cache, as one twice differentiable function of positions.

A tile is some members and some structures that are next to each other. For each edge the network computes as many
numbers as its filters are wide; for many seeds, or large structures, that is hundreds of megabytes, and moving them
would take longer than the arithmetic. The cut of a batch into tiles changes nothing but the last bits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.potentials.base import PartialLoss
from sparring.potentials.blocks import Block, cut_into_blocks
from sparring.potentials.schnet_fast.derivatives import AnalyticSchNet
from sparring.potentials.schnet_fast.neighbor_table import NeighborTable
from sparring.potentials.schnet_fast.passes import Backward, Forward
from sparring.potentials.schnet_fast.radial import EdgeFeatures
from sparring.potentials.schnet_fast.weight_gradients import WeightGradients
from sparring.support.cache import TensorCache

__all__ = ["TiledSchNet"]

TILE_BYTES = {"cpu": 8 * 2**20, "cuda": 2**30}
"""Largest size of the filters of all edges of a tile in one interaction. Small tiles do not help a graphics card: it
waits for the next one to be launched."""

N_LAYOUTS = 8
"""Number of layouts that are kept: a training has four or five."""

Context = Any
"""Context of an autograd function; it accepts any attributes."""


class Layout(NamedTuple):
    """Tiles of a batch: blocks of structures, and the number of members that are evaluated at a time."""

    blocks: tuple[Block[NeighborTable], ...]
    n_members: int


class TiledSchNet:
    """Energies of a committee of SchNets.

    Args:
        weights: Parameters and buffers, each with a leading axis of members.
        network: Constructor of the analytic network from such weights.
        n_filters: Width of the filters.
        layouts: Cache of layouts; edges of molecules stay the same, and to lay them out waits for the device.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        network: Callable[[Mapping[str, Tensor]], AnalyticSchNet],
        *,
        n_filters: int,
        layouts: TensorCache[Layout] | None = None,
    ) -> None:
        self.n_members = len(next(iter(weights.values())))
        self.n_filters = n_filters
        self._network = network
        self._layouts = layouts or TensorCache(N_LAYOUTS)

        @cache
        def of_members(first: int, last: int) -> AnalyticSchNet:
            return network({name: weight[first:last] for name, weight in weights.items()})

        self.of_members = of_members

    def with_weights(self, weights: Mapping[str, Tensor]) -> "TiledSchNet":
        """The same architecture with other weights."""
        return TiledSchNet(weights, self._network, n_filters=self.n_filters, layouts=self._layouts)

    def __call__(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        create_graph: bool,
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members, see :class:`sparring.potentials.base.StackedModel`."""
        if structures.edges is None:
            raise ValueError("SchNet needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        distance = _distances(structures, positions, cells)
        rows = []
        for members, blocks in self._tiles(structures):
            network = self.of_members(members.start, members.stop)
            row = [
                _Energy.apply(distance[members, block.edge_slice], network, block, create_graph)  # type: ignore[no-untyped-call]
                for block in blocks
            ]
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows)

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses and their derivatives in the weights, see :class:`sparring.potentials.base.StackedModel`."""
        losses = positions.new_empty(self.n_members, structures.n_structures, dtype=torch.float64)
        for members, blocks in self._tiles(structures):
            network = self.of_members(members.start, members.stop)
            of_members = {name: values[members] for name, values in gradient.items()}
            for block in blocks:
                block_loss = partial(loss, members, block.structure_slice, block.atom_slice)
                inputs = [positions[members, block.atom_slice]]
                if cells is not None:
                    inputs.append(cells[members, block.structure_slice])
                losses[members, block.structure_slice] = _accumulate_gradient(
                    network, block, inputs, block_loss, of_members
                )
        return losses

    def layout(self, structures: Structures) -> Layout:
        """Tiles of a batch."""
        assert structures.edges is not None
        target, shifts = structures.edges.target, structures.edges.shifts
        return self._layouts.get(target, (shifts.dtype, self.n_members, self.n_filters), lambda: self._cut(structures))

    def _cut(self, structures: Structures) -> Layout:
        assert structures.edges is not None
        target, shifts = structures.edges.target, structures.edges.shifts
        tile_bytes = TILE_BYTES.get(target.device.type, TILE_BYTES["cuda"])
        bytes_an_edge = self.n_filters * shifts.element_size()
        at_once = self.n_members if self.n_members * bytes_an_edge * len(target) <= tile_bytes else 1
        table_of = partial(_table, n_members=at_once, n_filters=self.n_filters)
        return Layout(tuple(cut_into_blocks(structures, tile_bytes // (at_once * bytes_an_edge), table_of)), at_once)

    def _tiles(self, structures: Structures) -> Iterator[tuple[slice, tuple[Block[NeighborTable], ...]]]:
        """Slices of members, each with the blocks of structures that they evaluate one after another."""
        layout = self.layout(structures)
        for first in range(0, self.n_members, layout.n_members):
            yield slice(first, min(first + layout.n_members, self.n_members)), layout.blocks


def _table(structures: Structures, n_members: int, n_filters: int) -> NeighborTable:
    assert structures.edges is not None
    return NeighborTable.of(structures.edges, structures.n_atoms, n_members=n_members, n_filters=n_filters)


def _accumulate_gradient(
    network: AnalyticSchNet,
    block: Block[NeighborTable],
    inputs: Sequence[Tensor],
    loss: Callable[..., Tensor],
    gradient: Mapping[str, Tensor],
) -> Float[Tensor, "n_members n_structures"]:
    """Losses of a tile, from derivatives in positions and, if given, in cells, with their gradient in the weights."""
    weight_gradients = WeightGradients(gradient, block.structures.atomic_numbers)
    inputs = [values.detach().requires_grad_() for values in inputs]
    with torch.enable_grad():
        distance = _distances(block.structures, *inputs)
    with torch.no_grad():
        energy, features, forward = network.forward(distance, block.structures, block.table, weight_gradients)
        distance_gradient, backward = network.distance_gradient(features, forward, block.table, weight_gradients)
    with torch.enable_grad():
        energy, distance_gradient = energy.requires_grad_(), distance_gradient.requires_grad_()
        slopes = torch.autograd.grad(distance, inputs, distance_gradient, create_graph=True, materialize_grads=True)
        losses = loss(energy, *slopes)
        energy_bar, direction = torch.autograd.grad(losses.sum(), (energy, distance_gradient), materialize_grads=True)
    with torch.no_grad():
        weight_gradients.energy_bar = energy_bar.index_select(1, block.structures.structure_index).to(distance_gradient)
        network.add_weight_gradients(features, forward, backward, block.table, direction, weight_gradients)
    return losses.detach()


def _distances(
    structures: Structures,
    positions: Float[Tensor, "n_members n_atoms 3"],
    cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
) -> Float[Tensor, "n_members n_edges"]:
    """Length of every edge at each member's positions, in Å."""

    def of_member(positions: Tensor, cells: Tensor) -> Tensor:
        return distances(replace(structures, positions=positions, cells=cells))

    cells = structures.cells.expand(len(positions), -1, -1, -1) if cells is None else cells
    lengths: Tensor = vmap(of_member)(positions, cells)
    return lengths


N_FEATURES, N_FORWARD = len(EdgeFeatures._fields), len(EdgeFeatures._fields) + len(Forward._fields)


class _Energy(torch.autograd.Function):
    """Energies of distances; dE/dd is computed along with them, and returned by :class:`_DistanceGradient`."""

    @staticmethod
    def forward(
        ctx: Context, distance: Tensor, network: AnalyticSchNet, block: Block[NeighborTable], create_graph: bool
    ) -> Tensor:
        energy, features, forward = network.forward(distance, block.structures, block.table)
        gradient, backward = network.distance_gradient(features, forward, block.table)
        ctx.network, ctx.block = network, block
        ctx.save_for_backward(distance, gradient, *((*features, *forward, *backward) if create_graph else ()))
        return energy

    @staticmethod
    def backward(ctx: Context, *energy_bar: Tensor) -> tuple[Tensor | None, ...]:
        distance, gradient, *saved = ctx.saved_tensors
        gradient = _DistanceGradient.apply(distance, gradient, ctx.network, ctx.block, *saved)  # type: ignore[no-untyped-call]
        return gradient * energy_bar[0].to(gradient).index_select(1, ctx.block.edge_owner), None, None, None


class _DistanceGradient(torch.autograd.Function):
    """dE/dd as a function of distances."""

    @staticmethod
    def forward(
        ctx: Context,
        distance: Tensor,
        gradient: Tensor,
        network: AnalyticSchNet,
        block: Block[NeighborTable],
        *saved: Tensor,
    ) -> Tensor:
        ctx.network, ctx.block = network, block
        ctx.save_for_backward(distance, *saved)
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Context, *direction: Tensor) -> tuple[Tensor | None, ...]:
        distance, *saved = ctx.saved_tensors
        if not saved:
            raise RuntimeError("second derivatives were not kept; predict with differentiable=True")
        parts = EdgeFeatures(*saved[:N_FEATURES]), Forward(*saved[N_FEATURES:N_FORWARD]), Backward(*saved[N_FORWARD:])
        with torch.no_grad():
            product = ctx.network.hessian_vector_product(*parts, ctx.block.table, direction[0])
        product = _NoThirdDerivative.apply(product, distance, direction[0])  # type: ignore[no-untyped-call]
        return product, *[None] * (3 + len(saved))


class _NoThirdDerivative(torch.autograd.Function):
    """Identity whose derivative raises: a third derivative fails instead of lacking a term."""

    @staticmethod
    def forward(ctx: Context, product: Tensor, *inputs: Tensor) -> Tensor:
        return product.view_as(product)

    @staticmethod
    def backward(ctx: Context, *bar: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("analytic derivatives end at the second; for third ones use Committee(..., analytic=False)")
