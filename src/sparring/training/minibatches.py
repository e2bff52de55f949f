"""Minibatches in which every member sees structures of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Edges, Structures

__all__ = ["Batch", "Shelf"]


class Batch(NamedTuple):
    """One minibatch a member, with a leading axis of members.

    Attributes:
        structures: What is the same for all members.
        own: Fields of the structures that differ between members, positions among them.
        energy: Reference energies in eV.
        forces: Reference forces in eV/Å; zero on atoms that only fill up.
        weight: 1 / 3n for each atom of a structure of n, and zero for atoms that only fill up or have no forces.
        owner: The structure of each atom.
        structure_weight: Factor of each structure's loss; None where all weigh the same.
    """

    structures: Structures
    own: Mapping[str, object]
    energy: Float[Tensor, "n_members n_batch"]
    forces: Float[Tensor, "n_members n_atoms 3"]
    weight: Float[Tensor, "n_members n_atoms"]
    owner: Int[Tensor, "n_members n_atoms"]
    structure_weight: Float[Tensor, "n_members n_batch"] | None = None

    @property
    def positions(self) -> Float[Tensor, "n_members n_atoms 3"]:
        """In Å."""
        positions = self.own["positions"]
        assert isinstance(positions, Tensor)
        return positions

    def part(self, members: slice, structures: slice, atoms: slice) -> "Batch":
        """What is known of some members' structures, where all members share their topology."""
        return self._replace(
            energy=self.energy[members, structures],
            forces=self.forces[members, atoms],
            weight=self.weight[members, atoms],
            owner=self.owner[members, atoms] - structures.start,
            structure_weight=None if self.structure_weight is None else self.structure_weight[members, structures],
        )


@dataclass(frozen=True)
class Shelf:
    """A data set laid out so that minibatches are gathered without a Python loop over structures.

    Where all structures are one molecule, all minibatches share their topology, and only positions differ between
    members. Otherwise each member has its own, filled up to the size of the largest by one more structure, a ghost,
    that nobody scores.
    """

    structures: Structures
    energy: Tensor
    forces: Tensor
    atoms_first: Tensor
    atoms_count: Tensor
    edges_first: Tensor
    edges_count: Tensor
    uniform: bool
    force_weight: Tensor | None = None
    """One for each structure that has forces and zero for the others; None where all have."""
    structure_weight: Tensor | None = None
    """Factor of each structure's loss; None where all weigh the same."""

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        cutoff: float | None,
        dtype: torch.dtype,
        device: torch.device | str,
        structure_weight: Float[Tensor, " n_structures"] | None = None,
    ) -> "Shelf":
        """Lay out a data set; edges are found once and for all, from positions in double precision."""
        structures = replace(dataset.structures.to(device=device), fixed=None, charge=None)  # a fit moves no atom
        if cutoff is None:
            structures = replace(structures, edges=_no_edges(structures))
        else:
            structures = with_edges(structures, cutoff)
        assert structures.edges is not None
        counts = structures.counts
        owner = structures.structure_index[structures.edges.target]
        edges_count = torch.bincount(owner, minlength=structures.n_structures)
        sizes = counts.unique()
        uniform = len(sizes) == 1 and not structures.periodic
        if uniform:
            numbers = structures.atomic_numbers.reshape(-1, int(sizes))
            uniform = bool((numbers == numbers[0]).all())
        return cls(
            structures=structures.to(dtype=dtype),
            energy=dataset.energy.to(device),
            forces=dataset.forces.to(device=device, dtype=dtype),
            atoms_first=counts.cumsum(0) - counts,
            atoms_count=counts,
            edges_first=edges_count.cumsum(0) - edges_count,
            edges_count=edges_count,
            uniform=uniform,
            force_weight=None if dataset.has_forces is None else dataset.has_forces.to(device=device, dtype=dtype),
            structure_weight=None if structure_weight is None else structure_weight.to(device),
        )

    def gather(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        """The minibatch of each member."""
        batch = self._alike(indices) if self.uniform else self._mixed(indices)
        if self.structure_weight is None:
            return batch
        return batch._replace(structure_weight=self.structure_weight[indices])

    def _alike(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        size = self.structures.n_atoms // self.structures.n_structures
        atoms = (indices.unsqueeze(-1) * size + torch.arange(size, device=indices.device)).flatten(1)
        n_batch = indices.shape[1]
        if n_batch not in self._shared:
            self._shared[n_batch] = self._rows(indices[0])
        shared = self._shared[n_batch]
        weight = self.forces.new_full(atoms.shape, 1 / (3 * size))
        if self.force_weight is not None:
            weight = weight * self.force_weight[indices].repeat_interleave(size, dim=1)
        return Batch(
            structures=shared,
            own={"positions": self.structures.positions[atoms]},
            energy=self.energy[indices],
            forces=self.forces[atoms],
            weight=weight,
            owner=shared.structure_index.expand(atoms.shape),
        )

    @cached_property
    def _shared(self) -> dict[int, Structures]:
        """What minibatches of each size share: always the same object, so that others remember what they made of it."""
        return {}

    def _rows(self, chosen: Int[Tensor, " n_batch"]) -> Structures:
        """Structures with their edges, for one member."""
        structures, edges = self.structures, self.structures.edges
        assert edges is not None
        atoms, owner, atoms_before = _ranges(self.atoms_first[chosen], self.atoms_count[chosen])
        rows, edge_owner, _ = _ranges(self.edges_first[chosen], self.edges_count[chosen])
        moved = (atoms_before - self.atoms_first[chosen])[edge_owner]
        return replace(
            structures,
            positions=structures.positions[atoms],
            atomic_numbers=structures.atomic_numbers[atoms],
            structure_index=owner,
            cells=structures.cells[chosen],
            pbc=structures.pbc[chosen],
            edges=Edges(edges.source[rows] + moved, edges.target[rows] + moved, edges.shifts[rows]),
        )

    def _mixed(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        parts = [self._rows(chosen) for chosen in indices]
        n_atoms = max(part.n_atoms for part in parts) + 2
        n_edges = max(len(part.edges.target) for part in parts if part.edges is not None)
        padded = [_with_ghost(part, n_atoms, n_edges) for part in parts]
        names = ("positions", "atomic_numbers", "structure_index", "cells", "pbc")
        own: dict[str, object] = {name: torch.stack([getattr(part, name) for part in padded]) for name in names}
        edges = [part.edges for part in padded if part.edges is not None]
        own["edges"] = Edges(*(torch.stack(columns) for columns in zip(*edges, strict=True)))
        forces = self.forces.new_zeros(len(parts), n_atoms, 3)
        weight = self.forces.new_zeros(len(parts), n_atoms)
        for member, (part, chosen) in enumerate(zip(parts, indices, strict=True)):
            atoms, owner, _ = _ranges(self.atoms_first[chosen], self.atoms_count[chosen])
            forces[member, : part.n_atoms] = self.forces[atoms]
            weight[member, : part.n_atoms] = 1 / (3 * self.atoms_count[chosen][owner]).to(weight)
            if self.force_weight is not None:
                weight[member, : part.n_atoms] *= self.force_weight[chosen][owner]
        owner = torch.stack([part.structure_index for part in padded])
        return Batch(padded[0], own, self.energy[indices], forces, weight, owner)


def _no_edges(structures: Structures) -> Edges:
    nothing = structures.structure_index[:0]
    return Edges(nothing, nothing, structures.positions[:0])


def _ranges(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows first..first+count of each of several ranges, the range that each row is of, and the rows before it."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    before = count.cumsum(0) - count
    return torch.arange(len(owner), device=count.device) + (first - before)[owner], owner, before


def _with_ghost(structures: Structures, n_atoms: int, n_edges: int) -> Structures:
    """Fill up with one structure of spare atoms; spare edges join two of them that stand 1 Å apart."""
    edges = structures.edges
    assert edges is not None
    n_spare, n_spare_edges = n_atoms - structures.n_atoms, n_edges - len(edges.target)
    spare = structures.positions.new_zeros(n_spare, 3)
    spare[1:, 0] = 1.0
    first = edges.target.new_full((n_spare_edges,), structures.n_atoms)
    return replace(
        structures,
        positions=torch.cat([structures.positions, spare]),
        atomic_numbers=torch.cat([structures.atomic_numbers, structures.atomic_numbers.new_ones(n_spare)]),
        structure_index=torch.cat(
            [structures.structure_index, structures.structure_index.new_full((n_spare,), structures.n_structures)]
        ),
        cells=torch.cat([structures.cells, structures.cells.new_zeros(1, 3, 3)]),
        pbc=torch.cat([structures.pbc, structures.pbc.new_zeros(1, 3)]),
        edges=Edges(
            torch.cat([edges.source, first + 1]),
            torch.cat([edges.target, first]),
            torch.cat([edges.shifts, edges.shifts.new_zeros(n_spare_edges, 3)]),
        ),
    )
