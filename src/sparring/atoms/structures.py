"""A batch of atomic structures as flat tensors, and its conversion from and to ASE."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.constraints import constraints_of, fixed_coordinates
from sparring.atoms.electronic_state import total_charge

__all__ = ["Edges", "Structures", "joined"]


class Edges(NamedTuple):
    """Directed pairs of neighbouring atoms, sorted by the target.

    Attributes:
        source: Index of the neighbour.
        target: Index of the central atom.
        shifts: Lattice translations of the neighbour to its image, in units of the cell.
    """

    source: Int[Tensor, " n_edges"]
    target: Int[Tensor, " n_edges"]
    shifts: Float[Tensor, "n_edges 3"]


@dataclass(frozen=True, kw_only=True)
class Structures:
    """Many structures in one flat batch; the atoms of a structure stand together.

    Attributes:
        positions: Cartesian coordinates in Å.
        atomic_numbers: Atomic numbers; 0 is ASE's dummy atom ``X``, the particle of a toy well.
        structure_index: Index of the structure of each atom, in non-decreasing order.
        cells: Lattice vectors as rows, in Å; zeros where there is no lattice.
        pbc: Lattice vectors along which a structure is periodic.
        periodic: Flag for batches with any periodic structure; a host value, which needs no synchronisation.
        edges: Neighbours; None until :func:`sparring.atoms.neighbors.with_edges` has found them.
        fixed: Mask of the coordinates that ASE's constraints fix; None where all atoms are free.
        charge: Total charges in e; None where all are zero.
        edge_cutoff: Distance up to which every pair of images is an edge, in Å; None if all pairs of molecules are.
        longer_edges: Flag for edges that may be longer than that.
    """

    positions: Float[Tensor, "n_atoms 3"]
    atomic_numbers: Int[Tensor, " n_atoms"]
    structure_index: Int[Tensor, " n_atoms"]
    cells: Float[Tensor, "n_structures 3 3"]
    pbc: Bool[Tensor, "n_structures 3"]
    periodic: bool
    edges: Edges | None = None
    fixed: Bool[Tensor, "n_atoms 3"] | None = None
    charge: Int[Tensor, " n_structures"] | None = None
    edge_cutoff: float | None = None
    longer_edges: bool = True

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return self.pbc.shape[0]

    @property
    def n_atoms(self) -> int:
        """Number of atoms in all structures together."""
        return self.atomic_numbers.shape[0]

    @property
    def counts(self) -> Int[Tensor, " n_structures"]:
        """Number of atoms of each structure."""
        zeros = self.structure_index.new_zeros(self.n_structures)
        return zeros.index_add(0, self.structure_index, torch.ones_like(self.structure_index))

    @property
    def first_atoms(self) -> Int[Tensor, " n_structures"]:
        """Index of the first atom of each structure."""
        counts = self.counts
        return counts.cumsum(0) - counts

    def element_counts(self, n_elements: int) -> Int[Tensor, "n_structures n_elements_and_charge"]:
        """Compositions as numbers: how many atoms of each element a structure has, and its charge in the last column.

        Atomic numbers from `n_elements` on are counted as atomic number 0, by a count that no molecule has, so that a
        molecule with an unknown element matches no row of known ones.
        """
        known = self.atomic_numbers < n_elements
        amount = torch.where(known, 1, 1_000_000)
        element = torch.where(known, self.atomic_numbers, 0)
        flat = amount.new_zeros(self.n_structures * n_elements)
        flat = flat.index_add(0, self.structure_index * n_elements + element, amount)
        charge = flat.new_zeros(self.n_structures) if self.charge is None else self.charge
        return torch.cat([flat.reshape(self.n_structures, n_elements), charge.unsqueeze(1)], dim=1)

    @classmethod
    def from_atoms(
        cls,
        atoms: Sequence[Atoms],
        *,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
        ignore_constraints: bool = False,
    ) -> "Structures":
        """Pack ASE's structures into one batch.

        Args:
            atoms: The structures.
            dtype: Precision of positions and cells.
            device: Device of the tensors.
            ignore_constraints: Flag to treat all atoms as free, where only energies and forces are needed.

        Raises:
            ValueError: If there is no structure, or one of them has no atoms, coordinates that are not finite, pbc
                along a lattice vector that is zero, a charge that is not an integer, or a constraint that cannot be
                kept.
        """
        if not atoms:
            raise ValueError("got no structures; a batch needs at least one")
        for index, one in enumerate(atoms):
            if len(one) == 0:
                raise ValueError(f"structure {index} has no atoms; leave it out")
            if not np.isfinite(one.positions).all():
                raise ValueError(f"structure {index} ({one.symbols}) has coordinates that are not finite")
            if (one.pbc & (one.cell.lengths() == 0)).any():
                raise ValueError(f"structure {index} ({one.symbols}) is periodic along a zero-length lattice vector")
        sizes = [len(one) for one in atoms]
        pbc = np.stack([one.pbc for one in atoms])
        return cls(
            positions=torch.as_tensor(np.concatenate([one.positions for one in atoms]), dtype=dtype, device=device),
            atomic_numbers=torch.as_tensor(np.concatenate([one.numbers for one in atoms]), device=device).long(),
            structure_index=torch.as_tensor(np.repeat(np.arange(len(atoms)), sizes), device=device),
            cells=torch.as_tensor(np.stack([one.cell.array for one in atoms]), dtype=dtype, device=device),
            pbc=torch.as_tensor(pbc, device=device),
            periodic=bool(pbc.any()),
            fixed=None if ignore_constraints else _fixed(atoms, device),
            charge=_charges(atoms, device),
        )

    def to_atoms(self) -> list[Atoms]:
        """Unpack the batch into ASE's structures (geometry and fixed atoms only)."""
        counts, first = self.counts.cpu(), self.first_atoms.cpu()
        positions, cells = (values.detach().cpu().double().numpy() for values in (self.positions, self.cells))
        numbers, pbc = self.atomic_numbers.cpu().numpy(), self.pbc.cpu().numpy()
        structures = [
            Atoms(numbers=numbers[start : start + n], positions=positions[start : start + n], cell=cells[i], pbc=pbc[i])
            for i, (start, n) in enumerate(zip(first.tolist(), counts.tolist(), strict=True))
        ]
        if self.fixed is not None:
            for atoms, fixed in zip(structures, self.fixed.cpu().split(counts.tolist()), strict=True):
                atoms.set_constraint(constraints_of(fixed.numpy()))
        return structures

    def with_positions(self, positions: Float[Tensor, "n_atoms 3"]) -> "Structures":
        """The same atoms at other positions.

        A molecule's edges are all its pairs of atoms, so they are kept. The neighbours of a
        periodic structure change as atoms move, so those edges are dropped: no edge is ever stale.
        """
        return replace(self, positions=positions, edges=None if self.periodic else self.edges)

    def with_free_positions(self, positions: Float[Tensor, "n_atoms 3"]) -> "Structures":
        """The same atoms at other positions, except fixed coordinates, which keep theirs exactly."""
        return self.with_positions(
            positions if self.fixed is None else torch.where(self.fixed, self.positions, positions)
        )

    def on_free(self, values: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_atoms 3"]:
        """The values, with zeros at fixed coordinates."""
        return values if self.fixed is None else torch.where(self.fixed, 0.0, values)

    def take(self, indices: Int[Tensor, " n_taken"] | Int[np.ndarray, " n_taken"] | Sequence[int]) -> "Structures":
        """The structures with these indices, in this order, repeats allowed; without edges."""
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.structure_index.device)
        counts = self.counts
        taken = counts[chosen]
        first_old, first_new = self.first_atoms, taken.cumsum(0) - taken
        structure_index = torch.repeat_interleave(torch.arange(len(chosen), device=chosen.device), taken)
        atoms = torch.arange(len(structure_index), device=chosen.device)
        atoms = atoms + (first_old[chosen] - first_new)[structure_index]
        return replace(
            self,
            positions=self.positions[atoms],
            atomic_numbers=self.atomic_numbers[atoms],
            structure_index=structure_index,
            cells=self.cells[chosen],
            pbc=self.pbc[chosen],
            edges=None,
            fixed=None if self.fixed is None else self.fixed[atoms],
            charge=None if self.charge is None else self.charge[chosen],
        )

    def to(self, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> "Structures":
        """The same batch in another precision or on another device."""
        edges = self.edges and Edges(
            self.edges.source.to(device=device),
            self.edges.target.to(device=device),
            self.edges.shifts.to(dtype=dtype, device=device),
        )
        return replace(
            self,
            positions=self.positions.to(dtype=dtype, device=device),
            atomic_numbers=self.atomic_numbers.to(device=device),
            structure_index=self.structure_index.to(device=device),
            cells=self.cells.to(dtype=dtype, device=device),
            pbc=self.pbc.to(device=device),
            edges=edges,
            fixed=None if self.fixed is None else self.fixed.to(device=device),
            charge=None if self.charge is None else self.charge.to(device=device),
        )


def _fixed(atoms: Sequence[Atoms], device: torch.device | str) -> Bool[Tensor, "n_atoms 3"] | None:
    masks = [fixed_coordinates(one, f"structure {index} ({one.symbols})") for index, one in enumerate(atoms)]
    if all(mask is None for mask in masks):
        return None
    pairs = zip(atoms, masks, strict=True)
    whole = [np.zeros((len(one), 3), dtype=bool) if mask is None else mask for one, mask in pairs]
    return torch.as_tensor(np.concatenate(whole), device=device)


def _charges(atoms: Sequence[Atoms], device: torch.device | str) -> Int[Tensor, " n_structures"] | None:
    charges = []
    for index, one in enumerate(atoms):
        try:
            charges.append(total_charge(one))
        except ValueError as error:
            formula = one.get_chemical_formula()
            raise ValueError(f"structure {index} ({formula}): {str(error).removeprefix(f'{formula}: ')}") from None
    return torch.tensor(charges, device=device) if any(charges) else None


def joined(batches: Sequence[Structures]) -> Structures:
    """Several batches as one, in their order and in the precision of the first, without edges.

    Raises:
        ValueError: If there is no batch.
    """
    if not batches:
        raise ValueError("there are no batches to join")
    first = batches[0]
    batches = [batch.to(dtype=first.positions.dtype, device=first.positions.device) for batch in batches]
    sizes = torch.cat([batch.counts for batch in batches])
    fixed, charge = None, None
    if any(batch.fixed is not None for batch in batches):
        fixed = torch.cat([_or_zeros(one.fixed, one.positions.bool()) for one in batches])
    if any(batch.charge is not None for batch in batches):
        charge = torch.cat([_or_zeros(one.charge, one.counts) for one in batches])
    return Structures(
        positions=torch.cat([batch.positions for batch in batches]),
        atomic_numbers=torch.cat([batch.atomic_numbers for batch in batches]),
        structure_index=torch.repeat_interleave(sizes),
        cells=torch.cat([batch.cells for batch in batches]),
        pbc=torch.cat([batch.pbc for batch in batches]),
        periodic=any(batch.periodic for batch in batches),
        fixed=fixed,
        charge=charge,
    )


def _or_zeros(values: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if values is None else values
