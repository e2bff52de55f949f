"""A committee of PaiNNs evaluated in tiles that fit a processor's cache, as one function of positions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import vmap

from sparring.atoms.neighbors import edge_vectors
from sparring.atoms.structures import Structures
from sparring.potentials.base import PartialLoss
from sparring.potentials.painn_fast.dense_table import DenseTable
from sparring.potentials.painn_fast.features import Table
from sparring.potentials.painn_fast.network import StackedPaiNN
from sparring.potentials.painn_fast.pair_table import PairTable
from sparring.potentials.repulsion import pair_repulsion
from sparring.potentials.schnet_fast.blocks import Block, cut_into_blocks
from sparring.support.cache import TensorCache

__all__ = ["TiledPaiNN"]

TILE_BYTES = {"cpu": 3 * 2**19, "cuda": 2**28}
"""Largest size of the features of all atoms of a tile, vectors and scalars, in one layer."""

FEWEST_ATOMS = 8
"""Number of atoms of molecules from which on products of matrices are faster than sums over rows of pairs."""

N_LAYOUTS = 8
"""Number of layouts that are kept: a training has four or five."""

Context = Any
"""Context of an autograd function; it accepts any attributes."""


Graph = tuple[Tensor, Tensor] | None
"""Vectors of a tile and dE/dr as a function of them; None where second derivatives are not wanted."""


class Tile(NamedTuple):
    """Structures that are evaluated together, and the table of their neighbours."""

    block: Block
    table: Table


class Layout(NamedTuple):
    """Tiles of a batch, and the number of members that are evaluated at a time."""

    tiles: tuple[Tile, ...]
    n_members: int


class TiledPaiNN:
    """Energies of a committee of PaiNNs."""

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        network: Callable[[Mapping[str, Tensor]], StackedPaiNN],
        *,
        n_features: int,
        repulsion: bool,
        layouts: TensorCache[Layout] | None = None,
    ) -> None:
        self.n_members = len(next(iter(weights.values())))
        self.n_features, self.repulsion = n_features, repulsion
        self._network = network
        self._layouts = layouts or TensorCache(N_LAYOUTS)
        self._weights = weights

        @cache
        def of_members(first: int, last: int) -> StackedPaiNN:
            return network({name: weight[first:last] for name, weight in weights.items()})

        self.of_members = of_members

    def with_weights(self, weights: Mapping[str, Tensor]) -> "TiledPaiNN":
        """The same architecture with other weights."""
        return TiledPaiNN(
            weights, self._network, n_features=self.n_features, repulsion=self.repulsion, layouts=self._layouts
        )

    def __call__(
        self, structures: Structures, positions: Float[Tensor, "n_members n_atoms 3"], create_graph: bool
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members in eV, differentiable in each member's positions, and in cells."""
        if structures.edges is None:
            raise ValueError("PaiNN needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        vectors = _vectors(structures, positions)
        rows = []
        for members, tiles in self._tiles(structures):
            network = self.of_members(members.start, members.stop)
            row = [
                _Energy.apply(vectors[members, tile.block.edge_slice], network, tile, create_graph)  # type: ignore[no-untyped-call]
                for tile in tiles
            ]
            rows.append(torch.cat(row, dim=1))
        energy = torch.cat(rows)
        return energy + _repulsions(structures, positions) if self.repulsion else energy

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses; the derivatives of each member's sum of losses in its weights are added to ``gradient``."""
        losses = positions.new_empty(self.n_members, structures.n_structures, dtype=torch.float64)
        for members, tiles in self._tiles(structures):
            of_members = {name: values[members] for name, values in gradient.items()}
            weights = {name: values[members] for name, values in self._weights.items()}
            for tile in tiles:
                block = tile.block
                block_loss = partial(loss, members, block.structure_slice, block.atom_slice)
                losses[members, block.structure_slice] = self._accumulate_tile(
                    weights, tile, positions[members, block.atom_slice], block_loss, of_members
                )
        return losses

    def _accumulate_tile(
        self,
        weights: Mapping[str, Tensor],
        tile: Tile,
        positions: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
        gradient: Mapping[str, Tensor],
    ) -> Tensor:
        trained = [name for name in weights if name != "atomic_energy"]
        weights = {name: weight.detach().requires_grad_(name in trained) for name, weight in weights.items()}
        positions = positions.detach().requires_grad_()
        with torch.enable_grad():
            vectors = tile.table.from_edges(_vectors(tile.block.structures, positions))
            energy = tile_energy(self._network(weights), vectors, tile)
            if self.repulsion:
                energy = energy + _repulsions(tile.block.structures, positions)
            (energy_gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
            losses = loss(energy, energy_gradient)
            gradients = torch.autograd.grad(losses.sum(), [weights[name] for name in trained], allow_unused=True)
        for name, values in zip(trained, gradients, strict=True):
            if values is not None:
                gradient[name].add_(values)
        return losses.detach()

    def layout(self, structures: Structures) -> Layout:
        """Tiles of a batch."""
        assert structures.edges is not None
        target, shifts = structures.edges.target, structures.edges.shifts
        return self._layouts.get(target, (shifts.dtype, self.n_members, self.n_features), lambda: self._cut(structures))

    def _cut(self, structures: Structures) -> Layout:
        assert structures.edges is not None
        target, shifts = structures.edges.target, structures.edges.shifts
        tile_bytes = TILE_BYTES.get(target.device.type, TILE_BYTES["cuda"])
        bytes_an_atom = 4 * self.n_features * shifts.element_size()
        at_once = max(1, min(self.n_members, tile_bytes // max(bytes_an_atom * structures.n_atoms, 1)))
        edges_an_atom = len(target) / structures.n_atoms
        n_edges = int(edges_an_atom * tile_bytes / (at_once * bytes_an_atom))
        blocks = cut_into_blocks(structures, n_edges)
        return Layout(tuple(Tile(block, table_of(block)) for block in blocks), at_once)

    def _tiles(self, structures: Structures) -> Iterator[tuple[slice, tuple[Tile, ...]]]:
        """Slices of members, each with the tiles that they evaluate one after another."""
        layout = self.layout(structures)
        for first in range(0, self.n_members, layout.n_members):
            yield slice(first, min(first + layout.n_members, self.n_members)), layout.tiles


def table_of(block: Block) -> Table:
    """Table of the neighbours of a block."""
    size, n_molecules = block.table.size, block.structures.n_structures
    if size is None or size < FEWEST_ATOMS:
        return PairTable.of(block)
    return DenseTable.of(n_molecules, size, block.structures.positions)


def tile_energy(network: StackedPaiNN, vectors: Tensor, tile: Tile) -> Float[Tensor, "n_members n_structures"]:
    """Energies of the structures of a tile."""
    numbers = tile.table.order(tile.block.structures.atomic_numbers)
    return tile.table.sum_atoms(network.energy(vectors, tile.table, numbers))


def _vectors(
    structures: Structures, positions: Float[Tensor, "n_members n_atoms 3"]
) -> Float[Tensor, "n_members n_edges 3"]:
    """Vector of every edge at each member's positions, in Å."""
    vectors: Tensor = vmap(lambda of_member: edge_vectors(replace(structures, positions=of_member)))(positions)
    return vectors


def _repulsions(structures: Structures, positions: Tensor) -> Tensor:
    atoms = vmap(lambda of_member: pair_repulsion(replace(structures, positions=of_member)))(positions)
    energy = atoms.new_zeros(len(atoms), structures.n_structures)
    return energy.index_add(1, structures.structure_index, atoms)


class _Energy(torch.autograd.Function):
    """Energies of vectors; dE/dr is computed along with them, and returned by :class:`_VectorGradient`."""

    @staticmethod
    def forward(ctx: Context, vectors: Tensor, network: StackedPaiNN, tile: Tile, create_graph: bool) -> Tensor:
        entries = tile.table.from_edges(vectors).requires_grad_()
        with torch.enable_grad():
            energy = tile_energy(network, entries, tile)
            (gradient,) = torch.autograd.grad(energy.sum(), entries, create_graph=create_graph)
        ctx.tile, ctx.graph = tile, (entries, gradient) if create_graph else None
        ctx.save_for_backward(vectors, tile.table.to_edges(gradient.detach()))
        return energy.detach()

    @staticmethod
    def backward(ctx: Context, *energy_bar: Tensor) -> tuple[Tensor | None, ...]:
        vectors, gradient = ctx.saved_tensors
        gradient = _VectorGradient.apply(vectors, gradient, ctx.tile.table, ctx.graph)  # type: ignore[no-untyped-call]
        of_edges = energy_bar[0].to(gradient).index_select(1, ctx.tile.block.edge_owner)
        return gradient * of_edges.unsqueeze(-1), None, None, None


class _VectorGradient(torch.autograd.Function):
    """dE/dr as a function of vectors r."""

    @staticmethod
    def forward(ctx: Context, vectors: Tensor, gradient: Tensor, table: Table, graph: Graph) -> Tensor:
        ctx.table, ctx.graph = table, graph
        ctx.save_for_backward(vectors)
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: Context, *direction: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.graph is None:
            raise RuntimeError("second derivatives were not kept; predict with differentiable=True")
        entries, gradient = ctx.graph
        with torch.no_grad():
            (product,) = torch.autograd.grad(gradient, entries, ctx.table.from_edges(direction[0]), retain_graph=True)
            product = ctx.table.to_edges(product)
        product = _NoThirdDerivative.apply(product, *ctx.saved_tensors, direction[0])  # type: ignore[no-untyped-call]
        return product, None, None, None


class _NoThirdDerivative(torch.autograd.Function):
    """Identity whose derivative raises: a third derivative fails instead of lacking a term."""

    @staticmethod
    def forward(ctx: Context, product: Tensor, *inputs: Tensor) -> Tensor:
        return product.view_as(product)

    @staticmethod
    def backward(ctx: Context, *bar: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError("analytic derivatives end at the second; for third ones use Committee(..., analytic=False)")
