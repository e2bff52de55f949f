"""Blocks of structures that are evaluated together, cut from a batch."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

from sparring.atoms.structures import Edges, Structures

__all__ = ["Block", "cut_into_blocks"]

Table = TypeVar("Table")


@dataclass(frozen=True, eq=False)
class Block(Generic[Table]):
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
    table: Table


def cut_into_blocks(
    structures: Structures, n_edges: int, table_of: Callable[[Structures], Table]
) -> list[Block[Table]]:
    """Blocks of about one size, with at most so many edges each, or of a single structure that has more.

    Args:
        structures: Batch of structures with edges.
        n_edges: Largest number of edges of a block.
        table_of: Function that lays out the edges of a block.
    """
    assert structures.edges is not None
    edges, index = structures.edges, structures.structure_index
    counts = structures.counts
    edge_owner = index.index_select(0, edges.target)
    edge_counts = torch.bincount(edge_owner, minlength=len(counts))
    sizes, edge_sizes = counts.tolist(), edge_counts.tolist()
    n_edges = -(-len(edges.target) // -(-len(edges.target) // max(n_edges, 1))) if len(edges.target) else 1
    blocks: list[Block[Table]] = []
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
        blocks.append(_block(structures, edge_owner, *slices, table_of))
        first, first_atom, first_edge = last, slices[1].stop, slices[2].stop
    return blocks


def _block(
    structures: Structures,
    edge_owner: Tensor,
    rows: slice,
    atoms: slice,
    edges: slice,
    table_of: Callable[[Structures], Table],
) -> Block[Table]:
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
    return Block(rows, atoms, edges, local, edge_owner[edges] - rows.start, table_of(local))
