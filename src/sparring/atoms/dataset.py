"""Labelled structures, on which committees are trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float
from torch import Tensor

from sparring.atoms.reference import ENERGY, FORCES, FORCES_MASK, STRESS, checked_stress, forces_mask, has_volume
from sparring.atoms.strain import from_voigt, to_voigt
from sparring.atoms.structures import Structures

__all__ = ["ENERGY", "FORCES", "STRESS", "Dataset"]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Structures with the energies, forces and stresses that a labeller gave them, in the order in which they arrived.

    Attributes:
        structures: The geometries, in double precision.
        energy: Total energies in eV.
        forces: Forces in eV/Å; zero where a structure has an energy only.
        info: Further data of each structure: charge, multiplicity, source.
        has_forces: Mask of the structures that have forces; None where all have.
        atomic_energies: Energies in eV of isolated atoms, by atomic number; they are no structures of the data set.
        arrays: Further data of the atoms of each structure: initial moments, tags, columns of a user's own; empty
            where there are none.
        stress: Stresses in eV/Å³, NaN for structures without; None where none has one.
        force_mask: Mask of the atoms whose forces count, as those of the core of an environment; None where all do. Of
            a structure with atoms whose forces do not, energy and stress do not count either.
    """

    structures: Structures
    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_atoms 3"]
    info: tuple[Mapping[str, object], ...]
    arrays: tuple[Mapping[str, np.ndarray], ...] = ()
    has_forces: Bool[Tensor, " n_structures"] | None = None
    atomic_energies: Mapping[int, float] = field(default_factory=dict)
    stress: Float[Tensor, "n_structures 3 3"] | None = None
    force_mask: Bool[Tensor, " n_atoms"] | None = None

    def __len__(self) -> int:
        """Number of structures."""
        return self.structures.n_structures

    @property
    def n_with_forces(self) -> int:
        """Number of structures that have forces."""
        return len(self) if self.has_forces is None else int(self.has_forces.sum())

    @property
    def n_with_stress(self) -> int:
        """Number of structures that have a stress."""
        return 0 if self.stress is None else int(torch.isfinite(self.stress).all(-1).all(-1).sum())

    @property
    def atoms_with_forces(self) -> Bool[Tensor, " n_atoms"]:
        """Mask of the atoms that have a force that counts."""
        mask = torch.ones(self.structures.n_atoms, dtype=torch.bool) if self.force_mask is None else self.force_mask
        if self.has_forces is None:
            return mask
        return self.has_forces[self.structures.structure_index.to(self.has_forces.device)] & mask

    @property
    def has_energy(self) -> Bool[Tensor, " n_structures"]:
        """Mask of the structures whose energy counts: those in which the forces of all atoms do."""
        if self.force_mask is None:
            return torch.ones(len(self), dtype=torch.bool)
        left_out = (~self.force_mask).long()
        counts = left_out.new_zeros(len(self)).index_add(
            0, self.structures.structure_index.to(left_out.device), left_out
        )
        return counts == 0

    @classmethod
    def from_atoms(cls, atoms: Sequence[Atoms]) -> "Dataset":
        """Collect labelled structures: ``info["REF_energy"]`` in eV and ``arrays["REF_forces"]`` in eV/Å, if any.

        A structure without forces is trained on by its energy alone. One that is periodic in three directions may have
        a stress, too: ``info["REF_stress"]`` in eV/Å³, six components (xx, yy, zz, yz, xz, xy) or a symmetric matrix,
        positive under tension. A mask of the atoms whose forces count, ``arrays["REF_forces_mask"]``, is that of an
        environment (:func:`sparring.cut_environment`).

        Raises:
            ValueError: If a label is missing, has the wrong shape or is not finite, or a mask leaves nothing.
        """
        structures = Structures.from_atoms(atoms)
        for index, one in enumerate(atoms):
            _require_label(one, _name(index, one))
        forces = [one.arrays.get(FORCES, np.zeros((len(one), 3))) for one in atoms]
        has_forces = torch.tensor([FORCES in one.arrays for one in atoms], dtype=torch.bool)
        return cls(
            structures=structures,
            energy=torch.tensor([float(one.info[ENERGY]) for one in atoms], dtype=torch.float64),
            forces=torch.as_tensor(np.concatenate(forces), dtype=torch.float64),
            info=tuple({key: value for key, value in one.info.items() if key not in (ENERGY, STRESS)} for one in atoms),
            has_forces=None if bool(has_forces.all()) else has_forces,
            arrays=tuple(_further_arrays(one) for one in atoms),
            stress=_stresses(atoms),
            force_mask=_some_masked(torch.as_tensor(np.concatenate([forces_mask(one) for one in atoms]))),
        )

    def to_atoms(self) -> list[Atoms]:
        """The labelled structures as ASE's."""
        atoms = self.structures.to_atoms()
        forces = self.forces.split(self.structures.counts.tolist())
        known = [True] * len(self) if self.has_forces is None else self.has_forces.tolist()
        arrays_of_each = self.arrays or ({},) * len(self)
        stresses = [None] * len(self) if self.stress is None else to_voigt(self.stress.numpy())
        masks = self.atoms_with_forces.split(self.structures.counts.tolist())
        whole = self.has_energy.tolist()
        rows = zip(atoms, self.energy.tolist(), forces, stresses, self.info, arrays_of_each, known, strict=True)
        for (one, energy, force, stress, info, arrays, has), mask, all_count in zip(rows, masks, whole, strict=True):
            one.info.update({ENERGY: energy, **info})
            if stress is not None and np.isfinite(stress).all():
                one.info[STRESS] = stress
            if has:
                one.arrays[FORCES] = force.numpy().copy()
            if not all_count:
                one.arrays[FORCES_MASK] = mask.numpy().copy()
            one.arrays.update({name: array.copy() for name, array in arrays.items()})
        return atoms

    def __add__(self, other: "Dataset") -> "Dataset":
        """Both, the other's structures behind these."""
        both = Dataset.from_atoms([*self.to_atoms(), *other.to_atoms()])
        return replace(both, atomic_energies={**other.atomic_energies, **self.atomic_energies})

    def take(self, indices: Sequence[int]) -> "Dataset":
        """Some of the structures, in the order named."""
        counts = self.structures.counts
        rows = torch.split(torch.arange(self.structures.n_atoms), counts.tolist())
        has_forces = None if self.has_forces is None else self.has_forces[list(indices)]
        return replace(
            self,
            structures=self.structures.take(indices),
            energy=self.energy[list(indices)],
            forces=torch.cat([self.forces[:0], *(self.forces[rows[i]] for i in indices)]),
            info=tuple(self.info[i] for i in indices),
            has_forces=None if has_forces is None or bool(has_forces.all()) else has_forces,
            arrays=tuple(self.arrays[i] for i in indices) if self.arrays else (),
            stress=None if self.stress is None else _some(self.stress[list(indices)]),
            force_mask=None
            if self.force_mask is None
            else _some_masked(torch.cat([self.force_mask[:0], *(self.force_mask[rows[i]] for i in indices)])),
        )


def _stresses(atoms: Sequence[Atoms]) -> Float[Tensor, "n_structures 3 3"] | None:
    rows = [
        checked_stress(STRESS, one.info[STRESS], _name(index, one))
        if STRESS in one.info and has_volume(one)
        else np.full(6, np.nan)
        for index, one in enumerate(atoms)
    ]
    return _some(torch.as_tensor(from_voigt(np.stack(rows))))


def _some(stress: Float[Tensor, "n_structures 3 3"]) -> Float[Tensor, "n_structures 3 3"] | None:
    return stress if bool(torch.isfinite(stress).any()) else None


def _some_masked(mask: Bool[Tensor, " n_atoms"]) -> Bool[Tensor, " n_atoms"] | None:
    return None if bool(mask.all()) else mask


def _further_arrays(atoms: Atoms) -> dict[str, np.ndarray]:
    own = ("numbers", "positions", FORCES, FORCES_MASK)
    return {name: array.copy() for name, array in atoms.arrays.items() if name not in own}


def _name(index: int, atoms: Atoms) -> str:
    return f"structure {index} ({atoms.get_chemical_formula()})"


def _require_label(atoms: Atoms, name: str) -> None:
    if ENERGY not in atoms.info:
        raise ValueError(f"{name} has no energy: info[{ENERGY!r}] is missing; label it first (sparring label)")
    forces = np.asarray(atoms.arrays.get(FORCES, np.zeros((len(atoms), 3))))
    if forces.shape != (len(atoms), 3):
        raise ValueError(f"{name}: {FORCES} must be ({len(atoms)}, 3), got {forces.shape}")
    if not all(np.isfinite(values).all() for values in (float(atoms.info[ENERGY]), forces)):
        raise ValueError(f"{name} has an energy or forces that are not finite; leave it out or label it again")
    mask = np.asarray(atoms.arrays.get(FORCES_MASK, np.ones(len(atoms))))
    if mask.shape != (len(atoms),) or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"{name}: {FORCES_MASK} must be true or false for each of {len(atoms)} atoms")
    if not mask.any() or (FORCES not in atoms.arrays and not mask.all()):
        why = "no forces" if mask.any() else "no atom whose forces count"
        raise ValueError(f"{name} has a {FORCES_MASK} and {why}, so that nothing can be learnt from it; leave it out")
