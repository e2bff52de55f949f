"""Sums over the neighbours of every atom, a table row at a time instead of an edge at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.structures import Edges

__all__ = ["Slots", "listen", "tell"]


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges as a table: the k-th neighbour of every atom in row k, so that sums over neighbours are sums of rows.

    Attributes:
        place: Where in the flattened table each edge stands.
        source: The neighbour in each place; the atom itself in a place that no edge fills.
        filled: One where an edge stands and zero elsewhere; None if all places are filled.
        size: Atoms of each molecule if all have as many and see each other; then row k has the k-th atom after each,
            going round, and needs no gathering. None otherwise.
    """

    place: Int[Tensor, " n_edges"]
    source: Int[Tensor, "n_rows n_atoms"]
    filled: Float[Tensor, " n_places"] | None
    size: int | None

    @classmethod
    def of(cls, edges: Edges, n_atoms: int, *, size: int | None) -> "Slots":
        """Lay out edges that are sorted by target and contain the reverse of each.

        Args:
            edges: The edges.
            n_atoms: Number of atoms.
            size: Of each molecule, where all are of one size and edges are all their pairs.
        """
        source, target, shifts = edges
        counts = torch.bincount(target, minlength=n_atoms)
        if size is None:
            row = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target]
            n_rows = int(counts.max())
        else:
            row, n_rows = (source - target).remainder(size) - 1, size - 1
        place = row * n_atoms + target
        table = torch.arange(n_atoms, device=target.device).repeat(n_rows).index_copy(0, place, source)
        filled = None
        if n_rows * n_atoms > len(target):
            filled = shifts.new_zeros(n_rows * n_atoms).index_fill(0, place, 1.0)
        return cls(place, table.reshape(n_rows, n_atoms), filled, size)

    def spread(self, of_edges: Float[Tensor, "n_members n_edges"]) -> Float[Tensor, "n_members n_places"]:
        """Values of edges in their places, ones elsewhere."""
        empty = of_edges.new_ones(len(of_edges), self.source.numel())
        return empty.index_copy(1, self.place, of_edges)

    def collect(self, of_places: Float[Tensor, "n_members n_places"]) -> Float[Tensor, "n_members n_edges"]:
        """Values of places by edge."""
        return of_places.index_select(1, self.place)

    def ring(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Values of atoms as :meth:`neighbours` reads them: twice over, where all molecules are of one size."""
        return of_atoms if self.size is None else torch.cat([self.shaped(of_atoms)] * 2, dim=2)

    def atoms(self, ring: Tensor) -> Tensor:
        """Values of atoms out of a ring, shaped as :meth:`shaped` shapes them."""
        return ring if self.size is None else ring[:, :, : self.size]

    def neighbours(self, ring: Tensor) -> list[Tensor]:
        """For every row of the table, what the atoms that stand there have."""
        if self.size is None:
            return [ring.index_select(1, row) for row in self.source]
        return [ring[:, :, k : k + self.size] for k in range(1, self.size)]

    def rows(self, of_places: Float[Tensor, "n_members n_places n_features"]) -> list[Tensor]:
        """The rows of a table of features, each shaped as :meth:`neighbours` shapes its own."""
        return [self.shaped(row) for row in of_places.unflatten(1, self.source.shape).unbind(1)]

    def shaped(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """One row of a table, or values of atoms, with an axis of molecules where all are of one size."""
        return of_atoms if self.size is None else of_atoms.unflatten(1, (-1, self.size))


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
    for row, neighbour in zip(slots.rows(filters), slots.neighbours(said), strict=True):
        total = row * neighbour if total is None else total.addcmul_(row, neighbour)
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
        hears: What each atom that hears has, shaped by the slots.
        said: By every atom, as a ring.
        add: Whether to add to what is in the table.
    """
    for row, neighbour in zip(slots.rows(of_places), slots.neighbours(said), strict=True):
        if add:
            row.addcmul_(hears, neighbour)
        else:
            torch.mul(hears, neighbour, out=row)
