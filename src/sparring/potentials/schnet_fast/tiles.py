"""A committee evaluated in tiles that a processor's cache holds, as one twice differentiable function of positions.

A tile is some members and some structures that stand together. What passes through the network for an edge is as wide
as its filters; of many seeds, or of large structures, that is hundreds of megabytes, and fetching them would take
longer than computing with them. How a batch is cut into tiles changes nothing but the last bits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.func import vmap

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Edges, Structures
from sparring.potentials.base import Score
from sparring.potentials.schnet_fast.derivatives import Back, Forward, WrittenOut
from sparring.potentials.schnet_fast.neighbor_table import Slots
from sparring.potentials.schnet_fast.radial import Narrow
from sparring.potentials.schnet_fast.weight_gradients import Lesson

__all__ = ["Tiled"]

TILE_BYTES = {"cpu": 8 * 2**20, "cuda": 2**30}
"""What the filters of all edges of a tile may take in one interaction. A graphics card has no use for small tiles: it
waits for the next one to be launched."""

N_KNOWN = 8
"""How many layouts are remembered: a training has four or five."""

Context = Any
"""What an operation of automatic differentiation keeps on its way; it takes whatever attributes we set."""


class Block(NamedTuple):
    """Structures that are evaluated together.

    Attributes:
        structures: Which of the batch.
        atoms: Which of the batch's.
        edges: Likewise.
        own: These structures by themselves.
        edge_owner: To which of them each edge belongs.
        slots: The layout of their edges.
    """

    structures: slice
    atoms: slice
    edges: slice
    own: Structures
    edge_owner: Int[Tensor, " n_edges"]
    slots: Slots


class Layout(NamedTuple):
    """How a batch is cut: its blocks of structures, and how many members look at one at a time."""

    blocks: tuple[Block, ...]
    n_members: int


class Layouts:
    """The layouts of the batches seen last: edges of molecules stay the same, and to lay them out asks the device."""

    def __init__(self) -> None:
        self._known: list[tuple[Tensor, tuple[object, ...], Layout]] = []

    def of(self, structures: Structures, n_members: int, n_filters: int) -> Layout:
        """How a batch is cut for a committee with filters of this width."""
        assert structures.edges is not None
        target, shifts = structures.edges.target, structures.edges.shifts
        key = shifts.dtype, n_members, n_filters
        for known, its_key, layout in self._known:
            if known is target and its_key == key:
                return layout
        tile_bytes = TILE_BYTES.get(target.device.type, TILE_BYTES["cuda"])
        bytes_an_edge = n_filters * shifts.element_size()
        at_once = max(1, min(n_members, tile_bytes // max(bytes_an_edge * len(target), 1)))
        layout = Layout(tuple(blocks(structures, tile_bytes // (at_once * bytes_an_edge))), at_once)
        self._known = [(target, key, layout), *self._known[: N_KNOWN - 1]]
        return layout


class Tiled:
    """The energies of a committee of SchNets.

    Args:
        weights: Their parameters and buffers, each with a leading axis of members.
        network: Makes the network of such weights.
        n_filters: How wide filters are.
        layouts: Layouts that are known already.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        network: Callable[[Mapping[str, Tensor]], WrittenOut],
        *,
        n_filters: int,
        layouts: Layouts | None = None,
    ) -> None:
        self.n_members = len(next(iter(weights.values())))
        self.n_filters = n_filters
        self._network = network
        self._layouts = layouts or Layouts()

        @cache
        def of_members(first: int, last: int) -> WrittenOut:
            return network({name: weight[first:last] for name, weight in weights.items()})

        self.of_members = of_members

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Tiled":
        """The same networks with other weights."""
        return Tiled(weights, self._network, n_filters=self.n_filters, layouts=self._layouts)

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
        distance = _own_distances(structures, own)
        rows = []
        for members, tiles in self._tiles(structures):
            network = self.of_members(members.start, members.stop)
            row = [_Energy.apply(distance[members, tile.edges], network, tile, twice) for tile in tiles]  # type: ignore[no-untyped-call]
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows)

    def learn(
        self,
        structures: Structures,
        own: Float[Tensor, "n_members n_atoms 3"],
        score: Score,
        gradient: Mapping[str, Tensor],
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses of all structures; the derivatives of their sums in the weights are added to a gradient.

        Args:
            structures: The batch, with edges.
            own: Positions as each member sees them, in Å.
            score: The losses of a part of the batch.
            gradient: Of the weights, by name, with a leading axis of members.
        """
        losses = own.new_empty(self.n_members, structures.n_structures, dtype=torch.float64)
        for members, tiles in self._tiles(structures):
            network = self.of_members(members.start, members.stop)
            some = {name: one[members] for name, one in gradient.items()}
            for tile in tiles:
                score_here = partial(score, members, tile.structures, tile.atoms)
                losses[members, tile.structures] = _learn(network, tile, own[members, tile.atoms], score_here, some)
        return losses

    def layout(self, structures: Structures) -> Layout:
        """How a batch is cut."""
        return self._layouts.of(structures, self.n_members, self.n_filters)

    def _tiles(self, structures: Structures) -> Iterator[tuple[slice, tuple[Block, ...]]]:
        """Some members at a time, and the blocks of structures that they look at one after another."""
        layout = self.layout(structures)
        for first in range(0, self.n_members, layout.n_members):
            yield slice(first, min(first + layout.n_members, self.n_members)), layout.blocks


def _learn(
    network: WrittenOut,
    block: Block,
    own: Float[Tensor, "n_members n_atoms 3"],
    score: Callable[[Tensor, Tensor], Tensor],
    gradient: Mapping[str, Tensor],
) -> Float[Tensor, "n_members n_structures"]:
    """Losses of a tile, with their gradient in the weights."""
    lesson = Lesson(gradient, block.own.atomic_numbers)
    own = own.detach().requires_grad_()
    with torch.enable_grad():
        distance = _own_distances(block.own, own)
    with torch.no_grad():
        energy, narrow, forward = network.forward(distance, block.own, block.slots, lesson)
        slope, back = network.slope(narrow, forward, block.slots, lesson)
    with torch.enable_grad():
        energy, slope = energy.requires_grad_(), slope.requires_grad_()
        (pull,) = torch.autograd.grad(distance, own, slope, create_graph=True)
        losses = score(energy, pull)
        energy_bar, direction = torch.autograd.grad(losses.sum(), (energy, slope))
    with torch.no_grad():
        lesson.energy_bar = energy_bar.index_select(1, block.own.structure_index).to(slope)
        network.learn(narrow, forward, back, block.slots, direction, lesson)
    return losses.detach()


def _own_distances(
    structures: Structures, own: Float[Tensor, "n_members n_atoms 3"]
) -> Float[Tensor, "n_members n_edges"]:
    """Length of every edge where each member sees the atoms, in Å."""
    lengths: Tensor = vmap(lambda positions: distances(replace(structures, positions=positions)))(own)
    return lengths


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
        some = slice(first, last)
        own_edges = Edges(edges.source[here] - first_atom, edges.target[here] - first_atom, edges.shifts[here])
        own = replace(
            structures,
            positions=structures.positions[atoms],
            atomic_numbers=structures.atomic_numbers[atoms],
            structure_index=index[atoms] - first,
            cells=structures.cells[some],
            pbc=structures.pbc[some],
            edges=own_edges,
            fixed=None,
            charge=None,
        )
        slots = Slots.of(own_edges, n_atoms, size=sizes[0] if alike else None)
        pieces.append(Block(some, atoms, here, own, edge_owner[here] - first, slots))
        first, first_atom, first_edge = last, atoms.stop, here.stop
    return pieces


N_NARROW, N_FORWARD = len(Narrow._fields), len(Narrow._fields) + len(Forward._fields)


class _Energy(torch.autograd.Function):
    """Energies of distances; their derivative is :class:`_Slope`, computed along with them while all is at hand."""

    @staticmethod
    def forward(ctx: Context, distance: Tensor, network: WrittenOut, block: Block, twice: bool) -> Tensor:
        energy, narrow, forward = network.forward(distance, block.own, block.slots)
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
