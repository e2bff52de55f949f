"""Sums over the neighbours of every atom, edge by edge or in a dense table, with any leading axes of members."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Edges, Structures

__all__ = ["DenseTable", "EdgeList", "Neighborhoods", "dense_or_edges"]


@runtime_checkable
class Neighborhoods(Protocol):
    """Edges of a batch of structures, in the order in which values of edges are computed."""

    @property
    def source(self) -> Int[Tensor, " n_edges"]:
        """Neighbor of each edge."""

    @property
    def filled(self) -> Float[Tensor, " n_edges"] | None:
        """One for each edge, zero for entries without one; None if there are no such entries."""

    def vectors(self, structures: Structures, positions: Float[Tensor, "*members n_atoms 3"], cells: Tensor) -> Tensor:
        """Vectors from each atom to its neighbours in Å, ``(..., n_edges, 3)``; of length 1 in empty entries.

        Args:
            structures: Structures.
            positions: Their positions in Å.
            cells: Their lattice vectors in Å, with axes of members if members have cells of their own.
        """

    def outer_sum(self, left: Float[Tensor, "*members n_edges n_left"], right: Tensor) -> Tensor:
        r"""Sums of outer products :math:`\sum_j a_{ij} \otimes b_{ij}`, ``(..., n_atoms, n_left, n_right)``."""

    def sum(self, values: Float[Tensor, "*members n_edges n_values"]) -> Tensor:
        """Sums of values of edges, ``(..., n_atoms, n_values)``."""


@dataclass(frozen=True, eq=False)
class EdgeList:
    """Edges as they are, for batches in which atoms have very different numbers of neighbours.

    Attributes:
        edges: Edges of the structures.
        n_atoms: Number of atoms.
    """

    edges: Edges
    n_atoms: int
    filled: None = None

    @property
    def source(self) -> Int[Tensor, " n_edges"]:
        """Neighbor of each edge."""
        return self.edges.source

    def vectors(self, structures: Structures, positions: Float[Tensor, "*members n_atoms 3"], cells: Tensor) -> Tensor:
        """Vectors from each atom to its neighbours in Å."""
        source, target, shifts = self.edges
        vectors = positions.index_select(-2, source) - positions.index_select(-2, target)
        return vectors if not structures.periodic else vectors + _translations(structures, cells, target, shifts)

    def outer_sum(self, left: Float[Tensor, "*members n_edges n_left"], right: Tensor) -> Tensor:
        """Sums of outer products over the neighbours of every atom."""
        products = (left.unsqueeze(-1) * right.unsqueeze(-2)).flatten(-2)
        sums: Tensor = self.sum(products).unflatten(-1, (left.shape[-1], right.shape[-1]))
        return sums

    def sum(self, values: Float[Tensor, "*members n_edges n_values"]) -> Tensor:
        """Sums over the neighbours of every atom."""
        zeros = values.new_zeros(*values.shape[:-2], self.n_atoms, values.shape[-1])
        return zeros.index_add(-2, self.edges.target, values)


@dataclass(frozen=True, eq=False)
class DenseTable:
    """A row of as many entries for every atom as the one with most neighbours needs, so that sums are matrix products.

    Attributes:
        source: Neighbor in each entry; the atom itself in an empty one.
        target: Atom of each entry.
        shifts: Cell shifts of each entry.
        filled: One for entries with an edge and zero for the others; None if all have one.
        n_atoms: Number of atoms.
    """

    source: Int[Tensor, " n_entries"]
    target: Int[Tensor, " n_entries"]
    shifts: Float[Tensor, "n_entries 3"]
    filled: Float[Tensor, " n_entries"] | None
    n_atoms: int

    @classmethod
    def of(cls, edges: Edges, n_atoms: int, n_slots: int) -> "DenseTable":
        """Table of edges that are sorted by target.

        Args:
            edges: Edges of the structures.
            n_atoms: Number of atoms.
            n_slots: Largest number of neighbours of an atom.
        """
        source, target, shifts = edges
        first = torch.searchsorted(target, torch.arange(n_atoms, device=target.device))
        entry = target * n_slots + torch.arange(len(target), device=target.device) - first[target]
        targets = torch.arange(n_atoms, device=target.device).repeat_interleave(n_slots)
        filled = shifts.new_zeros(len(targets)).index_fill(0, entry, 1.0)
        return cls(
            source=targets.index_copy(0, entry, source),
            target=targets,
            shifts=shifts.new_zeros(len(targets), 3).index_copy(0, entry, shifts),
            filled=None if len(target) == len(targets) else filled,
            n_atoms=n_atoms,
        )

    def vectors(self, structures: Structures, positions: Float[Tensor, "*members n_atoms 3"], cells: Tensor) -> Tensor:
        """Vectors from each atom to its neighbours in Å; of length 1 in empty entries."""
        vectors = positions.index_select(-2, self.source) - positions.index_select(-2, self.target)
        if structures.periodic:
            vectors = vectors + _translations(structures, cells, self.target, self.shifts)
        if self.filled is None:
            return vectors
        return torch.where(self.filled.unsqueeze(-1) > 0, vectors, vectors.new_tensor([1.0, 0.0, 0.0]))

    def outer_sum(self, left: Float[Tensor, "*members n_entries n_left"], right: Tensor) -> Tensor:
        """Sums of outer products over the neighbours of every atom."""
        rows = left.unflatten(-2, (self.n_atoms, -1)).transpose(-1, -2)
        sums: Tensor = rows @ right.unflatten(-2, (self.n_atoms, -1))
        return sums

    def sum(self, values: Float[Tensor, "*members n_entries n_values"]) -> Tensor:
        """Sums over the neighbours of every atom."""
        sums: Tensor = values.unflatten(-2, (self.n_atoms, -1)).sum(-2)
        return sums


def dense_or_edges(structures: Structures) -> Neighborhoods:
    """A dense table, unless more than half of its entries would be empty. Waits for the device."""
    edges, n_atoms = structures.edges, structures.n_atoms
    assert edges is not None
    n_slots = int(torch.bincount(edges.target, minlength=n_atoms).max()) if len(edges.target) else 0
    if not n_slots or n_atoms * n_slots > 2 * len(edges.target):
        return EdgeList(edges, n_atoms)
    return DenseTable.of(edges, n_atoms, n_slots)


def _translations(structures: Structures, cells: Tensor, target: Tensor, shifts: Tensor) -> Tensor:
    """Translations of neighbours to their images, ``(..., n_edges, 3)``."""
    of_edges = cells.index_select(-3, structures.structure_index.index_select(0, target))
    return (shifts.unsqueeze(1) @ of_edges).squeeze(-2)
