"""Labelled structures: what a committee learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor

from sparring.structures import Structures

__all__ = ["ENERGY", "FORCES", "Dataset"]

ENERGY, FORCES = "REF_energy", "REF_forces"


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Structures with the energies and forces that a labeller gave them, in the order in which they arrived.

    Attributes:
        structures: The geometries, in double precision.
        energy: Total energies in eV.
        forces: Forces in eV/Å.
        info: What else is known of each structure: charge, multiplicity, where it came from.
        arrays: What else is known of the atoms of each structure: initial moments, tags, columns of a user's own.
    """

    structures: Structures
    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_atoms 3"]
    info: tuple[Mapping[str, object], ...]
    arrays: tuple[Mapping[str, np.ndarray], ...]

    def __len__(self) -> int:
        """Number of structures."""
        return self.structures.n_structures

    @classmethod
    def from_atoms(cls, atoms: Sequence[Atoms]) -> "Dataset":
        """Collect labelled structures: ``info["REF_energy"]`` in eV and ``arrays["REF_forces"]`` in eV/Å.

        Raises:
            ValueError: If a label is missing, has the wrong shape or is not finite.
        """
        structures = Structures.from_atoms(atoms)
        for index, one in enumerate(atoms):
            _require_label(one, f"structure {index} ({one.get_chemical_formula()})")
        return cls(
            structures=structures,
            energy=torch.tensor([float(one.info[ENERGY]) for one in atoms], dtype=torch.float64),
            forces=torch.as_tensor(np.concatenate([one.arrays[FORCES] for one in atoms]), dtype=torch.float64),
            info=tuple({key: value for key, value in one.info.items() if key != ENERGY} for one in atoms),
            arrays=tuple(_further_arrays(one) for one in atoms),
        )

    def to_atoms(self) -> list[Atoms]:
        """The labelled structures as ASE's."""
        atoms = self.structures.to_atoms()
        forces = self.forces.split(self.structures.counts.tolist())
        rows = zip(atoms, self.energy.tolist(), forces, self.info, self.arrays, strict=True)
        for one, energy, force, info, arrays in rows:
            one.info.update({ENERGY: energy, **info})
            one.arrays[FORCES] = force.numpy().copy()
            one.arrays.update({name: array.copy() for name, array in arrays.items()})
        return atoms

    def __add__(self, other: "Dataset") -> "Dataset":
        """Both, the other's structures behind these."""
        return Dataset.from_atoms([*self.to_atoms(), *other.to_atoms()])

    def take(self, indices: Sequence[int]) -> "Dataset":
        """Some of the structures, in the order named."""
        counts = self.structures.counts
        rows = torch.split(torch.arange(self.structures.n_atoms), counts.tolist())
        return replace(
            self,
            structures=self.structures.take(indices),
            energy=self.energy[list(indices)],
            forces=torch.cat([self.forces[:0], *(self.forces[rows[i]] for i in indices)]),
            info=tuple(self.info[i] for i in indices),
            arrays=tuple(self.arrays[i] for i in indices),
        )


def _further_arrays(atoms: Atoms) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in atoms.arrays.items() if name not in ("numbers", "positions", FORCES)}


def _require_label(atoms: Atoms, name: str) -> None:
    if ENERGY not in atoms.info:
        raise ValueError(f"{name} has no energy: info[{ENERGY!r}] is missing; label it first (sparring label)")
    if FORCES not in atoms.arrays:
        raise ValueError(f"{name} has no forces: arrays[{FORCES!r}] is missing; label it first (sparring label)")
    forces = np.asarray(atoms.arrays[FORCES])
    if forces.shape != (len(atoms), 3):
        raise ValueError(f"{name}: {FORCES} must be ({len(atoms)}, 3), got {forces.shape}")
    if not (np.isfinite(float(atoms.info[ENERGY])) and np.isfinite(forces).all()):
        raise ValueError(f"{name} has an energy or forces that are not finite; leave it out or label it again")
