"""Pairs of neighbours in rows that are read and written as slices of memory, for sums over neighbours."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.potentials.schnet_fast.blocks import Block

__all__ = ["PairTable", "Row"]


class Row(NamedTuple):
    """One neighbour of many atoms.

    Attributes:
        entries: Slice of the entries.
        target: Slice of the atoms i of the entries.
        source: Their neighbours j: a slice of extended atoms, or indices.
        paired: True if an entry serves the neighbour j of i and the neighbour i of j, False for one direction.
    """

    entries: slice
    target: slice
    source: slice | Int[Tensor, " n_row"]
    paired: bool

    def of_targets(self, of_atoms: Float[Tensor, "... n_atoms n_features"]) -> Tensor:
        """Values of the atoms i; a view."""
        return of_atoms[..., self.target, :]

    def of_sources(self, of_atoms: Float[Tensor, "... n_atoms n_features"]) -> Tensor:
        """Values of the neighbours j; a view where they are a slice."""
        if isinstance(self.source, slice):
            return of_atoms[..., self.source, :]
        return of_atoms.index_select(-2, self.source)


@dataclass(frozen=True, eq=False)
class PairTable:
    """Neighbours of all atoms of a block of structures.

    In molecules of one size n, atoms are ordered by their number i in the molecule, then by molecule. Row k has the
    pairs of atoms i and (i + k) mod n of all molecules. Each pair has one entry, and both its atoms are slices of
    memory, once the atoms are extended by a copy of the first ones. Otherwise, row k has the k-th neighbour of every
    atom, each edge has an entry of its own, and edges contain the reverse of each.

    Attributes:
        rows: Rows of the table.
        edge: Edge of each entry; the first edge for an entry without one.
        filled: One for entries with an edge and zero for the others; None if all entries have one.
        n_edges: Number of edges.
        n_atoms: Number of atoms.
        n_repeated: Number of first atoms that are repeated behind the last.
        n_molecules: Number of molecules, if all are of one size; None otherwise.
    """

    rows: tuple[Row, ...]
    edge: Int[Tensor, " n_entries"]
    filled: Float[Tensor, " n_entries"] | None
    n_edges: int
    n_atoms: int
    n_repeated: int
    n_molecules: int | None

    @classmethod
    def of(cls, block: Block) -> "PairTable":
        """Table of the edges of a block."""
        if block.table.size is None:
            return cls._of_edges(block)
        return cls._of_molecules(block, block.table.size)

    @classmethod
    def _of_edges(cls, block: Block) -> "PairTable":
        table = block.table
        n_rows, n_atoms = table.source.shape
        edge = table.entry.new_zeros(n_rows * n_atoms)
        edge = edge.index_copy(0, table.entry, torch.arange(table.n_edges, device=edge.device))
        rows = tuple(
            Row(slice(k * n_atoms, (k + 1) * n_atoms), slice(0, n_atoms), table.source[k], paired=False)
            for k in range(n_rows)
        )
        return cls(rows, edge, table.filled, table.n_edges, n_atoms, 0, None)

    @classmethod
    def _of_molecules(cls, block: Block, size: int) -> "PairTable":
        n_molecules, device = block.structures.n_structures, block.table.entry.device
        molecule, atom = torch.arange(n_molecules, device=device), torch.arange(size, device=device)
        rows, edges, n_entries = [], [molecule[:0]], 0
        for k in range(1, size // 2 + 1):
            n_pairs = size // 2 if 2 * k == size else size  # half-way round, i and j name a pair twice
            i, j = atom[:n_pairs], (atom[:n_pairs] + k) % size
            # Edges are sorted by molecule, then by target, then by source, which is not the target.
            edge = i * (size - 1) + j - (j > i).long()
            edges.append((edge.unsqueeze(1) + molecule * size * (size - 1)).flatten())
            n_row = n_pairs * n_molecules
            source = slice(k * n_molecules, k * n_molecules + n_row)
            rows.append(Row(slice(n_entries, n_entries + n_row), slice(0, n_row), source, paired=True))
            n_entries += n_row
        n_atoms, n_repeated = size * n_molecules, (size - 1) // 2 * n_molecules
        return cls(tuple(rows), torch.cat(edges), None, block.table.n_edges, n_atoms, n_repeated, n_molecules)

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return len(self.edge)

    def from_edges(self, values: Float[Tensor, "n_members n_edges 3"]) -> Float[Tensor, "n_members 3 n_entries"]:
        """Vectors of edges in the entries."""
        return values.index_select(1, self.edge).mT.contiguous()

    def to_edges(self, values: Float[Tensor, "n_members 3 n_entries"]) -> Float[Tensor, "n_members n_edges 3"]:
        """Derivatives in the entries by edge; zero for an edge that shares the entry of its reverse."""
        if self.filled is not None:
            values = values * self.filled
        zeros = values.new_zeros(len(values), self.n_edges, 3)
        if self.n_edges == 0:
            return zeros
        return zeros.index_add(1, self.edge, values.mT)

    def order(self, of_atoms: Tensor) -> Tensor:
        """Values of atoms, on the first axis, in the order of the table."""
        if self.n_molecules is None:
            return of_atoms
        return of_atoms.unflatten(0, (self.n_molecules, -1)).transpose(0, 1).flatten(0, 1)

    def extend(self, of_atoms: Float[Tensor, "... n_atoms n_features"]) -> Tensor:
        """Values of atoms, with the first ones repeated behind the last; contiguous."""
        if not self.n_repeated:
            return of_atoms.contiguous()
        return torch.cat([of_atoms, of_atoms[..., : self.n_repeated, :]], dim=-2)

    def fold(self, sums: Float[Tensor, "... n_extended n_features"]) -> Tensor:
        """Sums for extended atoms, with those of repeated atoms added to the first ones."""
        if not self.n_repeated:
            return sums
        folded = sums[..., : self.n_atoms, :]
        folded[..., : self.n_repeated, :] += sums[..., self.n_atoms :, :]
        return folded

    def zeros(self, *shape: int, like: Tensor) -> Tensor:
        """Zeros for the sums of extended atoms."""
        *leading, n_features = shape
        return like.new_zeros(*leading, self.n_atoms + self.n_repeated, n_features)
