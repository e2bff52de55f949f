"""Pairs of neighbours in rows that are read and written as slices of memory, for sums over neighbours."""

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.potentials.painn_fast.features import Basis, Message, Source
from sparring.potentials.painn_fast.filters import Filters, FilterWeights, add_weight_gradient
from sparring.potentials.schnet_fast.blocks import Block

__all__ = ["PairTable", "Row"]


Features = TypeVar("Features", Source, Message)


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
        structure_index: Structure of each atom.
        n_structures: Number of structures.
    """

    rows: tuple[Row, ...]
    edge: Int[Tensor, " n_entries"]
    filled: Float[Tensor, " n_entries"] | None
    n_edges: int
    n_atoms: int
    n_repeated: int
    n_molecules: int | None
    structure_index: Int[Tensor, " n_atoms"]
    n_structures: int

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
        return cls(rows, edge, table.filled, table.n_edges, n_atoms, 0, None, *_owners(block))

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
        return cls(
            tuple(rows), torch.cat(edges), None, block.table.n_edges, n_atoms, n_repeated, n_molecules, *_owners(block)
        )

    @property
    def n_entries(self) -> int:
        """Number of entries."""
        return len(self.edge)

    @property
    def row_sizes(self) -> list[int]:
        """Number of entries of each row."""
        return [row.entries.stop - row.entries.start for row in self.rows]

    def laid_out(
        self, scalar: Float[Tensor, "n_members n_entries n"], vector: Float[Tensor, "n_members 3 n_entries n"]
    ) -> Basis:
        """Basis with the components of vectors in three blocks for each row, which are one slice for each member."""
        if len(self.rows) <= 1:
            return Basis(scalar, vector.flatten(1, 2))
        rows = vector.split(self.row_sizes, dim=2)
        return Basis(scalar, torch.cat([row.flatten(1, 2) for row in rows], dim=1))

    def by_entry(
        self, basis: Basis
    ) -> tuple[Float[Tensor, "n_members n_entries n"], Float[Tensor, "n_members 3 n_entries n"]]:
        """The inverse of :meth:`laid_out`."""
        if len(self.rows) <= 1:
            return basis.scalar, basis.vector.unflatten(1, (3, -1))
        rows = basis.vector.split([3 * size for size in self.row_sizes], dim=1)
        return basis.scalar, torch.cat([row.unflatten(1, (3, -1)) for row in rows], dim=2)

    def sums(self, source: Source, basis: Basis, weight: Tensor) -> Message:
        """Sums over neighbours."""
        x, total = self._extended(source), _Sums(self, source.scalar)
        A = FilterWeights.of(weight, vectors=source.vector is not None)
        for row, q in zip(self.rows, self._by_row(basis), strict=True):
            total.add(row, A.filters(q), x)
        return Message(self.fold(total.scalar), self.fold(total.vector))

    def adjoint(self, message_bar: Message, basis: Basis, weight: Tensor, *, vectors: bool) -> Source:
        """Derivatives in the sources, with those in y if ``vectors``: such sums, with the other sign in r."""
        bar, total = self._extended(message_bar), _Sums(self, message_bar.scalar)
        A, radial = FilterWeights.of(weight, vectors=vectors), torch.zeros_like(total.vector)
        for row, q in zip(self.rows, self._by_row(basis), strict=True):
            W = A.filters(q)
            _add(total.scalar, row, W.s, bar.scalar, 1)
            _add(radial, row, W.vs, bar.vector, -1)
            if W.vv is not None:
                _add(total.vector, row, W.vv.unsqueeze(1), bar.vector, 1)
        vector = self.fold(total.vector) if vectors else None
        return Source(self.fold(total.scalar), self.fold(radial.sum(1).neg_()), vector)

    def basis_gradient(self, message_bar: Message, source: Source, weight: Tensor) -> Basis:
        """Derivatives in the basis."""
        bar, x = self._extended(message_bar), self._extended(source)
        A = FilterWeights.of(weight, vectors=source.vector is not None)
        rows = [A.basis_gradient(_products(row, bar, x)) for row in self.rows]
        if not rows:
            nothing = weight.new_zeros(len(weight), 0, weight.shape[2])
            return Basis(nothing, nothing)
        return Basis(*(torch.cat(list(parts), dim=1) for parts in zip(*rows, strict=True)))

    def weight_gradient(self, message_bar: Message, source: Source, basis: Basis) -> Tensor:
        """Derivatives in the weights of the filters."""
        bar, x = self._extended(message_bar), self._extended(source)
        n_members, _, n_features = source.scalar.shape
        weight_bar = basis.scalar.new_zeros(n_members, 3 * n_features, basis.scalar.shape[2])
        for row, q in zip(self.rows, self._by_row(basis), strict=True):
            add_weight_gradient(weight_bar, _products(row, bar, x), q)
        return weight_bar

    def _extended(self, values: Features) -> Features:
        return type(values)(*(None if one is None else self.extend(one) for one in values))  # type: ignore[arg-type]

    def _by_row(self, basis: Basis) -> list[Basis]:
        vectors = basis.vector.split([3 * size for size in self.row_sizes], dim=1)
        return [Basis(*row) for row in zip(basis.scalar.split(self.row_sizes, dim=1), vectors, strict=True)]

    def sum_atoms(self, of_atoms: Float[Tensor, "n_members n_atoms"]) -> Float[Tensor, "n_members n_structures"]:
        """Sums over the atoms of each structure."""
        if self.n_molecules is not None:
            sums: Tensor = of_atoms.unflatten(1, (-1, self.n_molecules)).sum(1)
            return sums
        return of_atoms.new_zeros(len(of_atoms), self.n_structures).index_add(1, self.structure_index, of_atoms)

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
        ordered: Tensor = of_atoms.unflatten(0, (self.n_molecules, -1)).transpose(0, 1).flatten(0, 1)
        return ordered

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


class _Sums:
    """Sums over neighbours, row by row."""

    def __init__(self, table: PairTable, like: Tensor) -> None:
        n_members, _, n_features = like.shape
        self.scalar = table.zeros(n_members, n_features, like=like)
        self.vector = table.zeros(n_members, 3, n_features, like=like)

    def add(self, row: Row, W: Filters, x: Source) -> None:
        """Add the messages of a row."""
        _add(self.scalar, row, W.s, x.scalar, 1)
        _add(self.vector, row, W.vs, x.radial.unsqueeze(1), -1)
        if x.vector is not None and W.vv is not None:
            _add(self.vector, row, W.vv.unsqueeze(1), x.vector, 1)


def _add(total: Tensor, row: Row, W: Tensor, x: Tensor, sign: int) -> None:
    """Add W_ij ∘ x_j to i, and, for an entry of both directions, W_ji ∘ x_i to j, where W_ji = ± W_ij."""
    row.of_targets(total).addcmul_(W, row.of_sources(x))
    if row.paired:
        row.of_sources(total).addcmul_(W, row.of_targets(x), value=sign)


def _product(row: Row, bar: Tensor, x: Tensor, sign: int) -> Tensor:
    """Derivative in the filters: m̄_i ∘ x_j, and for an entry of both directions ± m̄_j ∘ x_i."""
    W_bar = row.of_targets(bar) * row.of_sources(x)
    return W_bar.addcmul_(row.of_sources(bar), row.of_targets(x), value=sign) if row.paired else W_bar


def _products(row: Row, bar: Message, x: Source) -> Filters:
    """Derivatives in all filters of a row."""
    return Filters(
        _product(row, bar.scalar, x.scalar, 1),
        _product(row, bar.vector, x.radial.unsqueeze(1), -1),
        None if x.vector is None else _product(row, bar.vector, x.vector, 1).sum(1),
    )


def _owners(block: Block) -> tuple[Tensor, int]:
    return block.structures.structure_index, block.structures.n_structures
