"""Sums over the neighbours of every atom, one row of a table at a time instead of one edge at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Edges

__all__ = ["NeighborTable", "edge_products", "sum_over_neighbors"]


@dataclass(frozen=True, eq=False)
class NeighborTable:
    """Edges as a table: the k-th neighbour of every atom in row k, so that sums over neighbours are sums of rows.

    Where all molecules are of one size n and all pairs of a molecule's atoms are edges, row k has for atom i the atom
    (i + k) mod n, and neighbours are read by slicing instead of gathering. The first half of these rows has every pair:
    filters of an edge and its reverse are the same, so that one entry serves both.

    Attributes:
        edge: Indices of the edges that have an entry of their own; None if all have.
        entry: Index of each such edge in the flattened table.
        source: Neighbor in each entry; the atom itself in an entry without an edge.
        filled: One for entries with an edge and zero for the others; None if all entries have one.
        size: Number of atoms of each molecule, if all have as many and all pairs are edges; None otherwise.
        n_edges: Number of edges.
    """

    edge: Int[Tensor, " n_filled"] | None
    entry: Int[Tensor, " n_filled"]
    source: Int[Tensor, "n_rows n_atoms"]
    filled: Float[Tensor, " n_entries"] | None
    size: int | None
    n_edges: int

    @classmethod
    def of(cls, edges: Edges, n_atoms: int, *, size: int | None) -> "NeighborTable":
        """Table of edges that are sorted by target and contain the reverse of each.

        Args:
            edges: Edges of the structures.
            n_atoms: Number of atoms.
            size: Number of atoms of each molecule, where all are of one size and edges are all their pairs.
        """
        source, target, shifts = edges
        edge, n_edges = None, len(target)
        if size is None:
            counts = torch.bincount(target, minlength=n_atoms)
            row = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target]
            n_rows = int(counts.max())
        else:
            row, n_rows = (source - target).remainder(size) - 1, size // 2
            edge = torch.nonzero(row < n_rows).flatten()
            row, source, target = row[edge], source[edge], target[edge]
        entry = row * n_atoms + target
        table = torch.arange(n_atoms, device=target.device).repeat(n_rows).index_copy(0, entry, source)
        filled = None
        if n_rows * n_atoms > len(entry):
            filled = shifts.new_zeros(n_rows * n_atoms).index_fill(0, entry, 1.0)
        return cls(edge, entry, table.reshape(n_rows, n_atoms), filled, size, n_edges)

    def from_edges(self, values: Float[Tensor, "n_members n_edges"]) -> Float[Tensor, "n_members n_entries"]:
        """Values of edges in the entries of the table, ones in entries without an edge."""
        empty = values.new_ones(len(values), self.source.numel())
        return empty.index_copy(1, self.entry, values if self.edge is None else values.index_select(1, self.edge))

    def to_edges(self, values: Float[Tensor, "n_members n_entries"]) -> Float[Tensor, "n_members n_edges"]:
        """Derivatives in the entries by edge; an edge whose reverse has the entry of both gets zero."""
        filled = values.index_select(1, self.entry)
        if self.edge is None:
            return filled
        return filled.new_zeros(len(filled), self.n_edges).index_copy(1, self.edge, filled)

    def wrap(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Values of atoms in the form that neighbours are read from: repeated, where all molecules are of one size."""
        return self.write_wrapped(self.new_wrapped(of_atoms), of_atoms)

    def new_wrapped(self, like: Float[Tensor, "n_members n_atoms n_features"], *n_layers: int) -> Tensor:
        """Uninitialised memory for a wrapped copy of such values, or for one in each layer."""
        n_members, n_atoms, n_features = like.shape
        of_molecules = (n_atoms,) if self.size is None else (n_atoms // self.size, 2 * self.size)
        return torch.empty(*n_layers, n_members, *of_molecules, n_features, dtype=like.dtype, device=like.device)

    def write_wrapped(self, wrapped: Tensor, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Write values into the memory of a wrapped copy, and return it."""
        if self.size is None:
            return wrapped.copy_(of_atoms)
        wrapped.unflatten(2, (2, self.size)).copy_(self.by_molecule(of_atoms).unsqueeze(2))
        return wrapped

    def rows(self, of_entries: Float[Tensor, "n_members n_entries n_features"]) -> Tensor:
        """Values of entries with an axis of rows behind that of members; a row has the shape of `by_molecule`."""
        rows: Tensor = of_entries.unflatten(1, self.source.shape)
        return rows if self.size is None else rows.unflatten(2, (-1, self.size))

    def neighbors(self, wrapped: Tensor, n_rows: int) -> Tensor:
        """View of a wrapped copy with an axis of rows behind that of members: in row k the atom (i + k) mod n."""
        assert self.size is not None
        windows: Tensor = wrapped[:, :, 1 : self.size + n_rows].unfold(2, self.size, 1)
        return windows.permute(0, 2, 1, 4, 3)

    def by_molecule(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Values of atoms, or one row of a table, with an axis of molecules where all are of one size."""
        return of_atoms if self.size is None else of_atoms.unflatten(1, (-1, self.size))

    @property
    def n_shared_rows(self) -> int:
        """Number of first rows whose entries serve an edge and its reverse; at k = n/2 each has an entry of its own."""
        return 0 if self.size is None else (self.size - 1) // 2


def sum_over_neighbors(
    table: NeighborTable,
    source: Tensor,
    filters: Float[Tensor, "n_members n_entries n_features"],
    total: Float[Tensor, "n_members n_atoms n_features"] | None = None,
) -> Float[Tensor, "n_members n_atoms n_features"]:
    r"""Messages :math:`m_i = \sum_j W_{ij} \circ x_j`, added in place to a total if there is one.

    Filters of an edge and its reverse are the same, so that this operation is its own adjoint.

    Args:
        table: Table of the edges.
        source: Features x of every atom, as a wrapped copy.
        filters: Filter W of every entry.
        total: Sum so far.
    """
    m = None if total is None else table.by_molecule(total)
    n, n_shared = table.size or 0, table.n_shared_rows
    reverse = torch.zeros_like(source) if n_shared > 1 else None
    # Rows are added one by one: their products at once would be one more table to write and to read.
    for k, w in enumerate(table.rows(filters).unbind(1), start=1):
        x_j = source[:, :, k : k + n] if table.size else source.index_select(1, table.source[k - 1])
        m = w * x_j if m is None else m.addcmul_(w, x_j)
        if k > n_shared:
            continue
        if reverse is not None:  # the same filter from atom i to atom (i + k) mod n
            reverse[:, :, k : k + n].addcmul_(w, source[:, :, :n])
        else:
            m[:, :, k:].addcmul_(w[:, :, : n - k], source[:, :, : n - k])
            m[:, :, :k].addcmul_(w[:, :, n - k :], source[:, :, n - k : n])
    if m is None:  # no atom has a neighbour
        return filters.new_zeros(len(filters), table.source.shape[1], filters.shape[2])
    if reverse is not None:
        m.add_(reverse[:, :, :n]).add_(reverse[:, :, n:])
    return m.view(len(filters), -1, filters.shape[2])


def edge_products(
    table: NeighborTable,
    result: Float[Tensor, "n_members n_entries n_features"],
    message_bar: Tensor,
    source: Tensor,
    *,
    add: bool = False,
) -> None:
    r"""Derivative in the filters, :math:`\bar W_{ij} = \bar m_i \circ x_j`, written into the entries of a table.

    An entry that serves an edge and its reverse gets the sum of both.

    Args:
        table: Table of the edges.
        result: Entries that are written.
        message_bar: Derivative in the message of every atom, as a wrapped copy.
        source: Features x of every atom, as a wrapped copy.
        add: True to add to the entries, False to replace them.
    """
    rows = table.rows(result)
    if table.size is None:
        neighbors = source.index_select(1, table.source.flatten()).view_as(rows)
        _product(rows, message_bar.unsqueeze(1), neighbors, add=add)
        return
    n, n_rows, n_shared = table.size, rows.shape[1], table.n_shared_rows
    if n_rows:
        _product(rows, message_bar[:, None, :, :n], table.neighbors(source, n_rows), add=add)
    if n_shared:
        _product(rows[:, :n_shared], table.neighbors(message_bar, n_shared), source[:, None, :, :n], add=True)


def _product(result: Tensor, left: Tensor, right: Tensor, *, add: bool) -> None:
    if add:
        result.addcmul_(left, right)
    else:
        torch.mul(left, right, out=result)
