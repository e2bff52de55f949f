"""Minibatches with structures of its own for every member."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.strain import has_stress, volumes
from sparring.atoms.structures import Edges, Structures
from sparring.support.cache import Cache
from sparring.training.batches import Batch

__all__ = ["PackedDataset", "Rows", "virials_of"]


@dataclass(frozen=True)
class Rows:
    """Sets of structures, one for each member, as rows of a matrix that are filled up by their first structure.

    Attributes:
        indices: Structures of each row.
        sizes: Number of structures of each row, without padding.
        n_structures: The same as a tensor.
    """

    indices: Int[Tensor, "n_members n_max"]
    sizes: tuple[int, ...]
    n_structures: Float[Tensor, " n_members"]

    @classmethod
    def of(cls, sets: Sequence[Sequence[int] | Tensor], device: torch.device) -> "Rows":
        """Rows of sets of any size."""
        sizes = tuple(len(indices) for indices in sets)
        columns = [torch.as_tensor(indices) for indices in sets]
        padded = [torch.cat([row, row[:1].expand(max(sizes) - len(row))]) for row in columns]
        return cls(torch.stack(padded).to(device), sizes, torch.tensor(sizes, dtype=torch.float64, device=device))

    def batches(
        self, size: int
    ) -> Iterator[tuple[Int[Tensor, "n_rows n_batch"], Float[Tensor, "n_rows n_batch"] | None]]:
        """Minibatches of the first rows, up to the last one that is not used up, with the weights of their structures.

        The weight is 1 / n for each of n structures of a row, and zero for padding; None where no row has padding.
        """
        for first in range(0, max(self.sizes), size):
            counts = [min(max(one - first, 0), size) for one in self.sizes]
            n_rows = max(row for row, count in enumerate(counts) if count) + 1
            chosen, counts = self.indices[:n_rows, first : first + max(counts)], counts[:n_rows]
            if min(counts) == max(counts):
                yield chosen, None
                continue
            column = torch.arange(chosen.shape[1])
            share = [(column < count).double() / max(count, 1) for count in counts]
            yield chosen, torch.stack(share).to(chosen.device)


@dataclass(frozen=True)
class PackedDataset:
    """A data set in flat tensors, from which minibatches are gathered without a Python loop over structures.

    Where all structures are of one molecule, all minibatches share their edges, and only positions differ between
    members. Otherwise each member has edges of its own, and its batch is filled up to the size of the largest by a
    padding structure that has no part in the loss.

    Attributes:
        structures: Structures with their edges.
        energy: Energies in eV.
        forces: Forces in eV/Å.
        atoms_first: Index of the first atom of each structure.
        atoms_count: Number of atoms of each structure.
        edges_first: Index of the first edge of each structure.
        edges_count: Number of edges of each structure.
        uniform: True if all structures are of one molecule, atom by atom.
        atom_weight: Weight of the forces on each atom: 1 / 3n in a structure with forces on n atoms, zero without.
        has_energy: One for structures whose energy counts and zero for the others; None if all do.
        complete: One for structures with an energy and all forces and zero for the others; None if all have.
        structure_weight: Weight of each structure's loss; None for equal weights.
        virial: Derivatives of the energies in the strain, in eV, zero where they are not known; None if none is.
        virial_weight: Weight of each virial: 1 / 9n² in a structure of n atoms, zero where it is not known.
        padded: True for minibatches that can be evaluated in one pass; False for those of one member at a time, which
            have no padding.
    """

    structures: Structures
    energy: Tensor
    forces: Tensor
    atoms_first: Tensor
    atoms_count: Tensor
    edges_first: Tensor
    edges_count: Tensor
    uniform: bool
    atom_weight: Tensor
    has_energy: Tensor | None = None
    complete: Tensor | None = None
    structure_weight: Tensor | None = None
    virial: Tensor | None = None
    virial_weight: Tensor | None = None
    padded: bool = True
    # Batches of one size share their edges, always as the same object, by which layouts of edges are found again.
    _shared: Cache[Structures] = field(default_factory=Cache, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        *,
        cutoff: float | None,
        dtype: torch.dtype,
        device: torch.device | str,
        structure_weight: Float[Tensor, " n_structures"] | None = None,
        padded: bool = True,
    ) -> "PackedDataset":
        """Pack a data set; edges are found once, from positions in double precision."""
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
        atom_weight, has_energy, complete = _known_labels(dataset)
        virial, virial_weight = virials_of(dataset)
        return cls(
            structures=structures.to(dtype=dtype),
            energy=dataset.energy.to(device),
            forces=dataset.forces.to(device=device, dtype=dtype),
            atoms_first=counts.cumsum(0) - counts,
            atoms_count=counts,
            edges_first=edges_count.cumsum(0) - edges_count,
            edges_count=edges_count,
            uniform=uniform,
            atom_weight=atom_weight.to(device=device, dtype=dtype),
            has_energy=None if has_energy is None else has_energy.to(device=device, dtype=dtype),
            complete=None if complete is None else complete.to(device=device, dtype=dtype),
            structure_weight=None if structure_weight is None else structure_weight.to(device),
            virial=None if virial is None else virial.to(device=device, dtype=dtype),
            virial_weight=None if virial_weight is None else virial_weight.to(device=device, dtype=dtype),
            padded=padded,
        )

    def gather(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        """The minibatch of each member."""
        batch = self._uniform_batch(indices) if self.uniform else self._padded_batch(indices)
        if self.structure_weight is not None:
            batch = batch._replace(structure_weight=self.structure_weight[indices])
        if self.has_energy is not None:
            batch = batch._replace(energy_weight=self.has_energy[indices])
        if self.virial is None or self.virial_weight is None:
            return batch
        return batch._replace(virial=self.virial[indices], virial_weight=self.virial_weight[indices])

    def of_atoms(self, values: Float[Tensor, "n_all_atoms ..."], indices: Int[Tensor, "n_members n_batch"]) -> Tensor:
        """Values of the atoms of each member's minibatch, (n_members, n_atoms, ...); zero for padding atoms."""
        if self.uniform:
            size = self.structures.n_atoms // self.structures.n_structures
            return values[(indices.unsqueeze(-1) * size + torch.arange(size, device=indices.device)).flatten(1)]
        rows = [values[_ranges(self.atoms_first[chosen], self.atoms_count[chosen])[0]] for chosen in indices]
        n_atoms = max(len(row) for row in rows) + 2 * self.padded
        gathered = values.new_zeros(len(rows), n_atoms, *values.shape[1:])
        for member, row in enumerate(rows):
            gathered[member, : len(row)] = row
        return gathered

    def _uniform_batch(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        n_batch = indices.shape[1]
        shared = self._shared.get(n_batch, lambda: self._rows(indices[0]))
        forces = self.of_atoms(self.forces, indices)
        weight = self.of_atoms(self.atom_weight, indices)
        return Batch(
            structures=shared,
            per_member={"positions": self.of_atoms(self.structures.positions, indices)},
            energy=self.energy[indices],
            forces=forces,
            weight=weight,
            owner=shared.structure_index.expand(weight.shape),
        )

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

    def _padded_batch(self, indices: Int[Tensor, "n_members n_batch"]) -> Batch:
        parts = [self._rows(chosen) for chosen in indices]
        n_atoms = max(part.n_atoms for part in parts) + 2 * self.padded
        n_edges = max(len(part.edges.target) for part in parts if part.edges is not None)
        padded = [_with_padding(part, n_atoms, n_edges) for part in parts] if self.padded else parts
        names = ("positions", "atomic_numbers", "structure_index", "cells", "pbc")
        per_member: dict[str, object] = {name: torch.stack([getattr(part, name) for part in padded]) for name in names}
        edges = [part.edges for part in padded if part.edges is not None]
        per_member["edges"] = Edges(*(torch.stack(columns) for columns in zip(*edges, strict=True)))
        owner = torch.stack([part.structure_index for part in padded])
        forces, weight = (self.of_atoms(values, indices) for values in (self.forces, self.atom_weight))
        return Batch(padded[0], per_member, self.energy[indices], forces, weight, owner)


def _known_labels(
    dataset: Dataset,
) -> tuple[Float[Tensor, " n_atoms"], Bool[Tensor, " n_structures"] | None, Bool[Tensor, " n_structures"] | None]:
    """Weights of the forces on atoms, and masks of energies that count and of complete labels; None where all do."""
    owner, counted = dataset.structures.structure_index, dataset.atoms_with_forces.double()
    n_counted = counted.new_zeros(len(dataset)).index_add(0, owner, counted)
    has_energy = dataset.has_energy
    complete = has_energy if dataset.has_forces is None else has_energy & dataset.has_forces
    masks = [None if bool(mask.all()) else mask for mask in (has_energy, complete)]
    return counted / (3 * n_counted.clamp(min=1))[owner], masks[0], masks[1]


def virials_of(
    dataset: Dataset,
) -> tuple[Float[Tensor, "n_structures 3 3"] | None, Float[Tensor, " n_structures"] | None]:
    """Virials of the structures in eV, and their weights 1 / 9n² for n atoms; None where no structure has a stress."""
    structures = dataset.structures
    if dataset.stress is None:
        return None, None
    known = dataset.stress.isfinite().all(-1).all(-1) & has_stress(structures) & dataset.has_energy
    if not bool(known.any()):
        return None, None
    virial = torch.where(known[:, None, None], dataset.stress * volumes(structures.cells)[:, None, None], 0.0)
    return virial, known.double() / (9 * structures.counts.square())


def _no_edges(structures: Structures) -> Edges:
    nothing = structures.structure_index[:0]
    return Edges(nothing, nothing, structures.positions[:0])


def _ranges(first: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows first..first+count of several ranges, the range of each row, and the number of rows before each range."""
    owner = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    before = count.cumsum(0) - count
    return torch.arange(len(owner), device=count.device) + (first - before)[owner], owner, before


def _with_padding(structures: Structures, n_atoms: int, n_edges: int) -> Structures:
    """Append one padding structure of an element of the batch; its edges all join two atoms that are 1 Å apart."""
    edges = structures.edges
    assert edges is not None
    n_pad, n_pad_edges = n_atoms - structures.n_atoms, n_edges - len(edges.target)
    padding = structures.positions.new_zeros(n_pad, 3)
    padding[1:, 0] = 1.0
    first = edges.target.new_full((n_pad_edges,), structures.n_atoms)
    return replace(
        structures,
        positions=torch.cat([structures.positions, padding]),
        atomic_numbers=torch.cat([structures.atomic_numbers, structures.atomic_numbers[:1].expand(n_pad)]),
        structure_index=torch.cat(
            [structures.structure_index, structures.structure_index.new_full((n_pad,), structures.n_structures)]
        ),
        cells=torch.cat([structures.cells, structures.cells.new_zeros(1, 3, 3)]),
        pbc=torch.cat([structures.pbc, structures.pbc.new_zeros(1, 3)]),
        edges=Edges(
            torch.cat([edges.source, first + 1]),
            torch.cat([edges.target, first]),
            torch.cat([edges.shifts, edges.shifts.new_zeros(n_pad_edges, 3)]),
        ),
    )
