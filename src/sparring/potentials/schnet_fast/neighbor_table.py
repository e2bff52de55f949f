"""Sums over the neighbours of every atom, a table row at a time instead of an edge at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Edges

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
        return self.write_ring(self.new_ring(of_atoms), of_atoms)

    def new_ring(self, like: Float[Tensor, "n_members n_atoms n_features"], *n_layers: int) -> Tensor:
        """Room for a ring of such values, or for one in each layer."""
        n_members, n_atoms, n_features = like.shape
        of_molecules = (n_atoms,) if self.size is None else (n_atoms // self.size, 2 * self.size)
        return torch.empty(*n_layers, n_members, *of_molecules, n_features, dtype=like.dtype, device=like.device)

    def write_ring(self, ring: Tensor, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Fill the room, and give it back."""
        if self.size is None:
            return ring.copy_(of_atoms)
        ring.unflatten(2, (2, self.size)).copy_(self.shaped(of_atoms).unsqueeze(2))
        return ring

    def table(self, of_places: Float[Tensor, "n_members n_places n_features"]) -> Tensor:
        """Values of places with an axis of rows behind that of members, each row shaped as :meth:`shaped` does it."""
        table: Tensor = of_places.unflatten(1, self.source.shape)
        return table if self.size is None else table.unflatten(2, (-1, self.size))

    def after(self, ring: Tensor, n_rows: int) -> Tensor:
        """A view of a ring with an axis of rows behind that of members: in row k the k-th atom after each."""
        assert self.size is not None
        windows: Tensor = ring[:, :, 1 : self.size + n_rows].unfold(2, self.size, 1)
        return windows.permute(0, 2, 1, 4, 3)

    def shaped(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """One row of a table, or values of atoms, with an axis of molecules where all are of one size."""
        return of_atoms if self.size is None else of_atoms.unflatten(1, (-1, self.size))

    @property
    def n_for_both(self) -> int:
        """How many rows, the first ones, are those of reverse edges too; halfway round, each has a place of its own."""
        return 0 if self.size is None else (self.size - 1) // 2


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
    n, n_both = slots.size or 0, slots.n_for_both
    late = torch.zeros_like(said) if n_both > 1 else None
    # Rows are added one by one: their products at once would be one more table to write and to read.
    for k, row in enumerate(slots.table(filters).unbind(1), start=1):
        neighbour = said[:, :, k : k + n] if slots.size else said.index_select(1, slots.source[k - 1])
        total = row * neighbour if total is None else total.addcmul_(row, neighbour)
        if k > n_both:
            continue
        if late is not None:  # the k-th atom after each hears it through the same filter
            late[:, :, k : k + n].addcmul_(row, said[:, :, :n])
        else:
            total[:, :, k:].addcmul_(row[:, :, : n - k], said[:, :, : n - k])
            total[:, :, :k].addcmul_(row[:, :, n - k :], said[:, :, n - k : n])
    if total is None:  # nobody has a neighbour
        return filters.new_zeros(len(filters), slots.source.shape[1], filters.shape[2])
    if late is not None:
        total.add_(late[:, :, :n]).add_(late[:, :, n:])
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
    table = slots.table(of_places)
    if slots.size is None:
        neighbours = said.index_select(1, slots.source.flatten()).view_as(table)
        _product(table, hears.unsqueeze(1), neighbours, add=add)
        return
    n, n_rows, n_both = slots.size, table.shape[1], slots.n_for_both
    if n_rows:
        _product(table, hears[:, None, :, :n], slots.after(said, n_rows), add=add)
    if n_both:
        _product(table[:, :n_both], slots.after(hears, n_both), said[:, None, :, :n], add=True)


def _product(result: Tensor, one: Tensor, other: Tensor, *, add: bool) -> None:
    if add:
        result.addcmul_(one, other)
    else:
        torch.mul(one, other, out=result)
