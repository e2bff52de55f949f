"""Sums over the neighbours of every atom, a table row at a time instead of an edge at a time."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.structures import Structures

__all__ = ["Slots", "listen", "tell"]


@dataclass(frozen=True, eq=False)
class Slots:
    """Edges as a table: the k-th neighbour of every atom in row k, so that sums over neighbours are sums of rows.

    Attributes:
        target: The atom that each edge ends at.
        place: Where in the flattened table each edge stands.
        source: The neighbour in each place; the atom itself in a place that no edge fills.
        filled: One where an edge stands and zero elsewhere; None if all places are filled.
        size: Atoms of each molecule if all have as many and see each other; then row k has the k-th atom after each,
            going round, and needs no gathering. None otherwise.
    """

    target: Int[Tensor, " n_edges"]
    place: Int[Tensor, " n_edges"]
    source: Int[Tensor, "n_rows n_atoms"]
    filled: Float[Tensor, " n_places"] | None
    size: int | None

    @classmethod
    def of(cls, structures: Structures) -> "Slots":
        """Lay out the edges of structures; they are sorted by target, and the reverse of each is among them."""
        assert structures.edges is not None
        source, target, shifts = structures.edges
        n_atoms = structures.n_atoms
        counts = torch.bincount(target, minlength=n_atoms)
        size = n_atoms // structures.n_structures
        alike = not structures.periodic and bool((structures.counts == size).all() & (counts == size - 1).all())
        if alike:
            row = (source - target).remainder(size) - 1
        else:
            row = torch.arange(len(target), device=target.device) - (counts.cumsum(0) - counts)[target]
        n_rows = int(counts.max())
        place = row * n_atoms + target
        table = torch.arange(n_atoms, device=target.device).repeat(n_rows).index_copy(0, place, source)
        filled = None
        if n_rows * n_atoms > len(target):
            filled = shifts.new_zeros(n_rows * n_atoms).index_fill(0, place, 1.0)
        return cls(target, place, table.reshape(n_rows, n_atoms), filled, size if alike else None)

    def spread(self, of_edges: Float[Tensor, "n_members n_edges"]) -> Float[Tensor, "n_members n_places"]:
        """Values of edges in their places, ones elsewhere."""
        empty = of_edges.new_ones(len(of_edges), self.source.numel())
        return empty.index_copy(1, self.place, of_edges)

    def collect(self, of_places: Float[Tensor, "n_members n_places"]) -> Float[Tensor, "n_members n_edges"]:
        """Values of places by edge."""
        return of_places.index_select(1, self.place)

    def neighbours(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> list[Tensor]:
        """For every row of the table, what the atoms that stand there have."""
        if self.size is None:
            return [of_atoms.index_select(1, row) for row in self.source]
        twice = torch.cat([self.shaped(of_atoms)] * 2, dim=2)
        return [twice[:, :, k : k + self.size] for k in range(1, self.size)]

    def rows(self, of_places: Float[Tensor, "n_members n_places n_features"]) -> list[Tensor]:
        """The rows of a table of features, each shaped as :meth:`neighbours` shapes its own."""
        return [self.shaped(row) for row in of_places.unflatten(1, self.source.shape).unbind(1)]

    def shaped(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """One row of a table, or values of atoms, with an axis of molecules where all are of one size."""
        return of_atoms if self.size is None else of_atoms.unflatten(1, (-1, self.size))


def listen(slots: Slots, said: Tensor, filters: Tensor, so_far: Tensor | None = None) -> Tensor:
    """Every atom's sum over its neighbours of filter times what they say, added to what there is so far, in place.

    Filters of an edge and its reverse are the same, so that this is its own adjoint.
    """
    total = slots.shaped(torch.zeros_like(said) if so_far is None else so_far)
    for row, neighbour in zip(slots.rows(filters), slots.neighbours(said), strict=True):
        total.addcmul_(row, neighbour)
    return total.reshape(said.shape)


def tell(slots: Slots, of_places: Tensor, heard_bar: Tensor, said: Tensor, *, add: bool = False) -> None:
    """What each filter is told: that of the atom that hears times what the neighbour says, written into a table."""
    hears = slots.shaped(heard_bar)
    for row, neighbour in zip(slots.rows(of_places), slots.neighbours(said), strict=True):
        if add:
            row.addcmul_(hears, neighbour)
        else:
            torch.mul(hears, neighbour, out=row)
