"""Blocks of structures that are evaluated together, cut from a batch."""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.atoms.structures import Edges, Structures
from sparring.potentials.schnet_fast.neighbor_table import NeighborTable

__all__ = ["Block", "cut_into_blocks"]


class Block(NamedTuple):
    """Structures that are evaluated together.

    Attributes:
        structure_slice: Slice of the batch's structures.
        atom_slice: Slice of the batch's atoms.
        edge_slice: Slice of the batch's edges.
        structures: These structures as a batch of their own.
        edge_owner: Structure of each edge, counted within the block.
        table: Table of their edges.
    """

    structure_slice: slice
    atom_slice: slice
    edge_slice: slice
    structures: Structures
    edge_owner: Int[Tensor, " n_edges"]
    table: NeighborTable


def cut_into_blocks(structures: Structures, n_edges: int) -> list[Block]:
    """Blocks of about one size, with at most so many edges each, or of a single structure that has more."""
    assert structures.edges is not None
    edges, index = structures.edges, structures.structure_index
    counts = structures.counts
    edge_owner = index.index_select(0, edges.target)
    edge_counts = torch.bincount(edge_owner, minlength=len(counts))
    sizes, edge_sizes = counts.tolist(), edge_counts.tolist()
    # All pairs of a molecule of n atoms are n - 1 to an atom; nothing else without images has as many.
    all_pairs = not structures.periodic and edge_sizes == [sizes[0] * (sizes[0] - 1)] * len(sizes)
    n_edges = -(-len(edges.target) // -(-len(edges.target) // max(n_edges, 1))) if len(edges.target) else 1
    blocks: list[Block] = []
    first = first_atom = first_edge = 0
    while first < len(sizes):
        last, n_block_edges, n_atoms = first, 0, 0
        while last < len(sizes) and (last == first or n_block_edges + edge_sizes[last] <= n_edges):
            n_block_edges, n_atoms, last = n_block_edges + edge_sizes[last], n_atoms + sizes[last], last + 1
        slices = (
            slice(first, last),
            slice(first_atom, first_atom + n_atoms),
            slice(first_edge, first_edge + n_block_edges),
        )
        blocks.append(_block(structures, edge_owner, *slices, size=sizes[0] if all_pairs else None))
        first, first_atom, first_edge = last, slices[1].stop, slices[2].stop
    return blocks


def _block(
    structures: Structures, edge_owner: Tensor, rows: slice, atoms: slice, edges: slice, *, size: int | None
) -> Block:
    source, target, shifts = structures.edges  # type: ignore[misc]  # there are edges
    local_edges = Edges(source[edges] - atoms.start, target[edges] - atoms.start, shifts[edges])
    local = replace(
        structures,
        positions=structures.positions[atoms],
        atomic_numbers=structures.atomic_numbers[atoms],
        structure_index=structures.structure_index[atoms] - rows.start,
        cells=structures.cells[rows],
        pbc=structures.pbc[rows],
        edges=local_edges,
        fixed=None,
        charge=None,
    )
    table = NeighborTable.of(local_edges, atoms.stop - atoms.start, size=size)
    return Block(rows, atoms, edges, local, edge_owner[edges] - rows.start, table)
