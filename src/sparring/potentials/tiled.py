"""A committee evaluated in tiles that a processor's cache holds, as one twice differentiable function of positions.

A tile is some members and some structures that stand together. What passes through the network for an edge is as wide
as its filters; of many seeds, or of large structures, that is hundreds of megabytes, and fetching them would take
longer than computing with them. How a batch is cut into tiles changes nothing but the last bits.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import vmap

from sparring.neighbors import distances
from sparring.potentials.filters import Narrow
from sparring.potentials.slots import Slots
from sparring.potentials.written_out import Back, Forward, WrittenOut
from sparring.structures import Edges, Structures

__all__ = ["Tiled"]

TILE_BYTES = {"cpu": 4 * 2**20, "cuda": 2**30}
"""What the filters of all edges of a tile may take in one interaction. A graphics card has no use for small tiles: it
waits for the next one to be launched."""

Context = Any
"""What an operation of automatic differentiation keeps on its way; it takes whatever attributes we set."""


class Block(NamedTuple):
    """Structures that are evaluated together.

    Attributes:
        structures: Which of the batch.
        edges: Which of the batch's.
        atomic_numbers: Elements of their atoms.
        owner: To which structure of the block each atom belongs.
        edge_owner: To which structure of the block each edge belongs.
        slots: The layout of their edges.
    """

    structures: slice
    edges: slice
    atomic_numbers: Int[Tensor, " n_atoms"]
    owner: Int[Tensor, " n_atoms"]
    edge_owner: Int[Tensor, " n_edges"]
    slots: Slots


class Layout(NamedTuple):
    """How a batch is cut: its blocks of structures, and how many members look at one at a time."""

    blocks: tuple[Block, ...]
    n_members: int


class Tiled:
    """The energies of a committee of SchNets.

    Args:
        weights: Their parameters and buffers, each with a leading axis of members.
        network: Makes the network of such weights.
        n_filters: How wide filters are.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], network: Callable[[Mapping[str, Tensor]], WrittenOut], *, n_filters: int
    ) -> None:
        self.n_members = len(next(iter(weights.values())))
        self.n_filters = n_filters
        self._last: tuple[Tensor, torch.dtype, Layout] | None = None

        @cache
        def of_members(first: int, last: int) -> WrittenOut:
            return network({name: weight[first:last] for name, weight in weights.items()})

        self.of_members = of_members

    def __call__(
        self, structures: Structures, own: Float[Tensor, "n_members n_atoms 3"], twice: bool
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members in eV, differentiable in the positions that each sees, and in cells.

        Args:
            structures: The batch, with edges.
            own: Positions as each member sees them, in Å.
            twice: Whether the derivative is to be differentiated again.
        """
        if structures.edges is None:
            raise ValueError("SchNet needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        distance = vmap(lambda positions: distances(replace(structures, positions=positions)))(own)
        layout = self.layout(structures)
        rows = []
        for first in range(0, self.n_members, layout.n_members):
            last = min(first + layout.n_members, self.n_members)
            network = self.of_members(first, last)
            tiles = [_Energy.apply(distance[first:last, b.edges], network, b, twice) for b in layout.blocks]  # type: ignore[no-untyped-call]
            rows.append(torch.cat(tiles, dim=1))
        return torch.cat(rows)

    def layout(self, structures: Structures) -> Layout:
        """How the batch is cut; that of the edges seen last is remembered, for those of molecules stay."""
        assert structures.edges is not None
        edges = structures.edges
        if self._last is None or self._last[0] is not edges.target or self._last[1] != edges.shifts.dtype:
            tile_bytes = TILE_BYTES.get(edges.target.device.type, TILE_BYTES["cuda"])
            bytes_an_edge = self.n_filters * edges.shifts.element_size()
            n_members = max(1, min(self.n_members, tile_bytes // max(bytes_an_edge * len(edges.target), 1)))
            layout = Layout(tuple(blocks(structures, tile_bytes // (n_members * bytes_an_edge))), n_members)
            self._last = edges.target, edges.shifts.dtype, layout
        return self._last[2]


def blocks(structures: Structures, n_edges: int) -> list[Block]:
    """Cut a batch into blocks of about one size and at most so many edges, or of a single structure that has more."""
    assert structures.edges is not None
    edges, index = structures.edges, structures.structure_index
    counts = structures.counts
    edge_owner = index.index_select(0, edges.target)
    edge_counts = torch.bincount(edge_owner, minlength=len(counts))
    sizes, edge_sizes = counts.tolist(), edge_counts.tolist()
    # All pairs of a molecule of n atoms are n - 1 to an atom; nothing else without images has as many.
    alike = not structures.periodic and edge_sizes == [sizes[0] * (sizes[0] - 1)] * len(sizes)
    n_edges = -(-len(edges.target) // -(-len(edges.target) // max(n_edges, 1))) if len(edges.target) else 1
    pieces: list[Block] = []
    first = first_atom = first_edge = 0
    while first < len(sizes):
        last, n_here, n_atoms = first, 0, 0
        while last < len(sizes) and (last == first or n_here + edge_sizes[last] <= n_edges):
            n_here, n_atoms, last = n_here + edge_sizes[last], n_atoms + sizes[last], last + 1
        atoms, here = slice(first_atom, first_atom + n_atoms), slice(first_edge, first_edge + n_here)
        own = Edges(edges.source[here] - first_atom, edges.target[here] - first_atom, edges.shifts[here])
        slots = Slots.of(own, n_atoms, size=sizes[0] if alike else None)
        numbers, owner = structures.atomic_numbers[atoms], index[atoms] - first
        pieces.append(Block(slice(first, last), here, numbers, owner, edge_owner[here] - first, slots))
        first, first_atom, first_edge = last, atoms.stop, here.stop
    return pieces


N_NARROW, N_FORWARD = len(Narrow._fields), len(Narrow._fields) + len(Forward._fields)


class _Energy(torch.autograd.Function):
    """Energies of distances; their derivative is :class:`_Slope`, computed along with them while all is at hand."""

    @staticmethod
    def forward(ctx: Context, distance: Tensor, network: WrittenOut, block: Block, twice: bool) -> Tensor:
        n_structures = block.structures.stop - block.structures.start
        energy, narrow, forward = network.forward(
            distance, block.atomic_numbers, block.owner, n_structures, block.slots
        )
        slope, back = network.slope(narrow, forward, block.slots)
        ctx.network, ctx.block = network, block
        ctx.save_for_backward(distance, slope, *((*narrow, *forward, *back) if twice else ()))
        return energy

    @staticmethod
    def backward(ctx: Context, *energy_bar: Tensor) -> tuple[Tensor | None, ...]:
        slope: Tensor = _Slope.apply(*ctx.saved_tensors[:2], ctx.network, ctx.block, *ctx.saved_tensors[2:])  # type: ignore[no-untyped-call]
        return slope * energy_bar[0].to(slope).index_select(1, ctx.block.edge_owner), None, None, None


class _Slope(torch.autograd.Function):
    """Slopes of energies in distances."""

    @staticmethod
    def forward(
        ctx: Context, distance: Tensor, slope: Tensor, network: WrittenOut, block: Block, *saved: Tensor
    ) -> Tensor:
        ctx.network, ctx.block = network, block
        ctx.save_for_backward(distance, *saved)
        return slope.view_as(slope)

    @staticmethod
    def backward(ctx: Context, *slope_bar: Tensor) -> tuple[Tensor | None, ...]:
        distance, *saved = ctx.saved_tensors
        if not saved:
            raise RuntimeError("second derivatives were not asked for; predict with differentiable=True")
        parts = Narrow(*saved[:N_NARROW]), Forward(*saved[N_NARROW:N_FORWARD]), Back(*saved[N_FORWARD:])
        with torch.no_grad():
            bend = ctx.network.bend(*parts, ctx.block.slots, slope_bar[0])
        bend = _End.apply(bend, distance, slope_bar[0])  # type: ignore[no-untyped-call]
        return bend, *[None] * (3 + len(saved))


class _End(torch.autograd.Function):
    """Where nothing further is written out: a graph that goes on from here fails, rather than lack a term."""

    @staticmethod
    def forward(ctx: Context, bend: Tensor, *made_of: Tensor) -> Tensor:
        return bend.view_as(bend)

    @staticmethod
    def backward(ctx: Context, *bar: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("third derivatives are not written out; ask for a Committee(..., written_out=False)")
