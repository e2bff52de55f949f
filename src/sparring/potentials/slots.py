"""Sums over the neighbours of every atom, a table row at a time instead of an edge at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.structures import Edges

__all__ = ["Slots", "listen", "tell"]


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges as a table: the k-th neighbour of every atom in row k, so that sums over neighbours are sums of rows.

    Where all molecules are of one size, and atoms of a molecule all see each other, row k has the k-th atom after each,
    going round, which needs no gathering. The first half of these rows knows all pairs: filters of an edge and its
    reverse are the same, so one place is for both of them.

    Attributes:
        edge: Which edges have a place of their own; None if all have.
        place: Where in the flattened table each of them stands.
        source: The neighbour in each place; the atom itself in a place that no edge fills.
        filled: One where an edge stands and zero elsewhere; None if all places are filled.
        size: Atoms of each molecule, if all have as many and see each other; None otherwise.
        n_edges: How many edges there are.
    """

    edge: Int[Tensor, " n_placed"] | None
    place: Int[Tensor, " n_placed"]
    source: Int[Tensor, "n_rows n_atoms"]
    filled: Float[Tensor, " n_places"] | None
    size: int | None
    n_edges: int

    @classmethod
    def of(cls, edges: Edges, n_atoms: int, *, size: int | None) -> "Slots":
        """Lay out edges that are sorted by target and contain the reverse of each.

        Args:
            edges: The edges.
            n_atoms: Number of atoms.
            size: Of each molecule, where all are of one size and edges are all their pairs.
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
        place = row * n_atoms + target
        table = torch.arange(n_atoms, device=target.device).repeat(n_rows).index_copy(0, place, source)
        filled = None
        if n_rows * n_atoms > len(place):
            filled = shifts.new_zeros(n_rows * n_atoms).index_fill(0, place, 1.0)
        return cls(edge, place, table.reshape(n_rows, n_atoms), filled, size, n_edges)

    def spread(self, of_edges: Float[Tensor, "n_members n_edges"]) -> Float[Tensor, "n_members n_places"]:
        """Values of edges in their places, ones elsewhere."""
        empty = of_edges.new_ones(len(of_edges), self.source.numel())
        return empty.index_copy(1, self.place, of_edges if self.edge is None else of_edges.index_select(1, self.edge))

    def collect(self, of_places: Float[Tensor, "n_members n_places"]) -> Float[Tensor, "n_members n_edges"]:
        """Derivatives in what stands in the places by edge; an edge whose reverse has the place of both has zero."""
        placed = of_places.index_select(1, self.place)
        if self.edge is None:
            return placed
        return placed.new_zeros(len(placed), self.n_edges).index_copy(1, self.edge, placed)

    def ring(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Values of atoms as neighbours are read from: twice over, where all molecules are of one size."""
        return of_atoms if self.size is None else torch.cat([self.shaped(of_atoms)] * 2, dim=2)

    def rows(self, of_places: Float[Tensor, "n_members n_places n_features"]) -> Iterator[tuple[int, Tensor]]:
        """The rows of a table, counted from one, each shaped as :meth:`shaped` shapes values of atoms."""
        table = of_places.unflatten(1, self.source.shape)
        return ((k, self.shaped(row)) for k, row in enumerate(table.unbind(1), start=1))

    def shaped(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """One row of a table, or values of atoms, with an axis of molecules where all are of one size."""
        return of_atoms if self.size is None else of_atoms.unflatten(1, (-1, self.size))

    def for_both(self, k: int) -> bool:
        """Whether a row is that of reverse edges too; halfway round, both have a place of their own."""
        return self.size is not None and 2 * k < self.size


def listen(
    slots: Slots,
    said: Tensor,
    filters: Float[Tensor, "n_members n_places n_features"],
    so_far: Float[Tensor, "n_members n_atoms n_features"] | None = None,
) -> Float[Tensor, "n_members n_atoms n_features"]:
    """Every atom's sum over its neighbours of filter times what they say, added to what there is so far, in place.

    Filters of an edge and its reverse are the same, so that this is its own adjoint.

    Args:
        slots: The layout.
        said: By every atom, as a ring.
        filters: Of every place.
        so_far: Of every atom.
    """
    total = None if so_far is None else slots.shaped(so_far)
    n = slots.size or 0
    for k, row in slots.rows(filters):
        neighbour = said.index_select(1, slots.source[k - 1]) if slots.size is None else said[:, :, k : k + n]
        total = row * neighbour if total is None else total.addcmul_(row, neighbour)
        if slots.for_both(k):  # the k-th atom after each hears it through the same filter
            total[:, :, k:].addcmul_(row[:, :, : n - k], said[:, :, : n - k])
            total[:, :, :k].addcmul_(row[:, :, n - k :], said[:, :, n - k : n])
    if total is None:  # nobody has a neighbour
        return filters.new_zeros(len(filters), slots.source.shape[1], filters.shape[2])
    return total.view(len(filters), -1, filters.shape[2])


def tell(
    slots: Slots,
    of_places: Float[Tensor, "n_members n_places n_features"],
    hears: Tensor,
    said: Tensor,
    *,
    add: bool = False,
) -> None:
    """What each filter is told, that of the atom that hears times what the neighbour says, written into a table.

    Args:
        slots: The layout.
        of_places: The table.
        hears: What each atom that hears has, as a ring.
        said: By every atom, as a ring.
        add: Whether to add to what is in the table.
    """
    n = slots.size or 0
    for k, row in slots.rows(of_places):
        if slots.size is None:
            listener, neighbour = hears, said.index_select(1, slots.source[k - 1])
        else:
            listener, neighbour = hears[:, :, :n], said[:, :, k : k + n]
        if add:
            row.addcmul_(listener, neighbour)
        else:
            torch.mul(listener, neighbour, out=row)
        if slots.for_both(k):
            row.addcmul_(hears[:, :, k : k + n], said[:, :, :n])
