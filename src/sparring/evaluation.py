"""Errors of a committee against labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.expected_error import ExpectedErrors
from sparring.potentials.base import Backbone
from sparring.potentials.heads.backbone import energy_and_features, sum_features
from sparring.potentials.heads.evaluation import shares_backbone
from sparring.starting_data.isolated import without_isolated

__all__ = [
    "Differences",
    "Errors",
    "StructurePredictions",
    "align",
    "errors",
    "evaluate",
    "expected_errors",
    "last_layer_features",
    "predict_structures",
    "with_atom_uncertainty",
]

N_ATOMS = 512
"""Number of atoms whose features are evaluated at a time."""


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Mean absolute and root mean square errors; energies in eV a structure, forces in eV/Å a component.

    Errors of forces are those of structures that have some, and NaN where none has.
    """

    energy_mae: float
    energy_rmse: float
    force_mae: float
    force_rmse: float
    n_structures: int

    @classmethod
    def unknown(cls) -> "Errors":
        """Errors where there are no labels."""
        return cls(energy_mae=np.nan, energy_rmse=np.nan, force_mae=np.nan, force_rmse=np.nan, n_structures=0)


@dataclass(frozen=True, kw_only=True)
class StructurePredictions:
    """Predictions of a committee for many structures: means over its members, and variances (Eq. 4-7).

    Attributes:
        energy: Mean energies in eV.
        forces: Mean forces in eV/Å, one array for each structure.
        energy_variance: Variances of the energies in eV².
        force_variance: Variances of the forces in (eV/Å)².
        atom_variance: Variances of the force on each atom in (eV/Å)², one array for each structure.
        expected: Expected errors of the committee; None if unknown.
    """

    energy: Float[np.ndarray, " n_structures"]
    forces: tuple[Float[np.ndarray, "_ 3"], ...]
    energy_variance: Float[np.ndarray, " n_structures"]
    force_variance: Float[np.ndarray, " n_structures"]
    atom_variance: tuple[Float[np.ndarray, " _"], ...]
    expected: ExpectedErrors | None = None

    def take(self, indices: Sequence[int]) -> "StructurePredictions":
        """Some of the structures."""
        chosen = list(indices)
        return StructurePredictions(
            energy=self.energy[chosen],
            forces=tuple(self.forces[i] for i in chosen),
            energy_variance=self.energy_variance[chosen],
            force_variance=self.force_variance[chosen],
            atom_variance=tuple(self.atom_variance[i] for i in chosen),
            expected=self.expected,
        )

    def annotate(self, atoms: Sequence[Atoms]) -> list[Atoms]:
        """Copies of structures with ``committee_energy``, ``committee_forces`` and both variances.

        The array ``atom_uncertainty`` is the standard deviation of the force on each atom, in eV/Å. Where expected
        errors are known, they are there, too (:meth:`sparring.ExpectedErrors.note`).
        """
        annotated = []
        for index, structure in enumerate(atoms):
            copy = structure.copy()
            copy.info["committee_energy"] = float(self.energy[index])
            copy.info["energy_variance"] = float(self.energy_variance[index])
            copy.info["force_variance"] = float(self.force_variance[index])
            copy.arrays["committee_forces"] = self.forces[index]
            copy.arrays["atom_uncertainty"] = np.sqrt(self.atom_variance[index])
            annotated.append(copy)
        if self.expected is not None:
            self.expected.note(annotated)
        return annotated


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Predictions of a committee minus labels.

    Attributes:
        energy: Differences of energies in eV.
        force: Differences of all force components of all structures in one row, in eV/Å.
        owner: Structure of each component; a structure without forces has none.
        n_atoms: Number of atoms of each structure.
    """

    energy: Float[np.ndarray, " n_structures"]
    force: Float[np.ndarray, " n_components"]
    owner: Int[np.ndarray, " n_components"]
    n_atoms: Int[np.ndarray, " n_structures"]

    @classmethod
    def of(cls, predicted: StructurePredictions, dataset: Dataset, *, aligned: bool = False) -> "Differences":
        """Compare a committee's means with labels, aligned as by :func:`align` or not."""
        energy = predicted.energy - dataset.energy.numpy()
        structures, known = dataset.structures, dataset.atoms_with_forces.numpy()
        return cls(
            energy=align(energy, structures) if aligned else energy,
            force=(np.concatenate(predicted.forces) - dataset.forces.numpy())[known].ravel(),
            owner=np.repeat(structures.structure_index.cpu().numpy()[known], 3),
            n_atoms=structures.counts.cpu().numpy(),
        )

    def take(self, rows: Bool[np.ndarray, " n_structures"]) -> "Differences":
        """Differences of some structures."""
        components = rows[self.owner]
        owner = (np.cumsum(rows) - 1)[self.owner[components]]
        return Differences(
            energy=self.energy[rows], force=self.force[components], owner=owner, n_atoms=self.n_atoms[rows]
        )

    def errors(self) -> Errors:
        """Mean errors over structures and over force components."""
        return Errors(
            energy_mae=float(np.abs(self.energy).mean()),
            energy_rmse=float(np.sqrt(np.square(self.energy).mean())),
            force_mae=float(np.abs(self.force).mean()) if len(self.force) else np.nan,
            force_rmse=float(np.sqrt(np.square(self.force).mean())) if len(self.force) else np.nan,
            n_structures=len(self.energy),
        )


def predict_structures(committee: Committee, structures: Structures, *, n_at_once: int = 256) -> StructurePredictions:
    """Predictions of a committee for any number of structures, some at a time.

    Raises:
        ValueError: If a structure has an element on which the committee was not trained.
    """
    committee.require_known(structures)
    committee, parts = committee.without_domain(), []
    for start in range(0, structures.n_structures, n_at_once):
        part = structures.take(range(start, min(start + n_at_once, structures.n_structures)))
        prediction = committee.predict(part, differentiable=False)
        summary = prediction.summary(part.structure_index.to(prediction.forces.device))
        energy, forces, energy_variance, force_variance, atom_variance = (
            values.cpu().numpy()
            for values in summary[:5]  # without stresses
        )
        sizes = part.counts.cumsum(0)[:-1].tolist()
        parts.append(
            StructurePredictions(
                energy=energy,
                forces=tuple(np.split(forces, sizes)),
                energy_variance=energy_variance,
                force_variance=force_variance,
                atom_variance=tuple(np.split(atom_variance, sizes)),
            )
        )
    return StructurePredictions(
        energy=np.concatenate([part.energy for part in parts]),
        forces=tuple(forces for part in parts for forces in part.forces),
        energy_variance=np.concatenate([part.energy_variance for part in parts]),
        force_variance=np.concatenate([part.force_variance for part in parts]),
        atom_variance=tuple(variances for part in parts for variances in part.atom_variance),
        expected=committee.expected,
    )


def with_atom_uncertainty(atoms: Sequence[Atoms], committee: Committee) -> list[Atoms]:
    """Copies of structures with the array ``atom_uncertainty`` in eV/Å, from one prediction for all.

    A structure for which it is not finite is copied without it.

    Raises:
        ValueError: If a structure has an element on which the committee was not trained.
    """
    copies = [structure.copy() for structure in atoms]
    if copies:
        predicted = predict_structures(committee, Structures.from_atoms(copies, ignore_constraints=True))
        for copy, variance in zip(copies, predicted.atom_variance, strict=True):
            if np.isfinite(variance).all():
                copy.arrays["atom_uncertainty"] = np.sqrt(variance)
    return copies


def errors(predicted: StructurePredictions, dataset: Dataset, *, aligned: bool = False) -> Errors:
    """Errors of a committee's mean predictions.

    Args:
        predicted: Predictions of the committee.
        dataset: Labelled structures.
        aligned: True to remove first a difference of the reference energies of elements, see :func:`align`.
    """
    return Differences.of(predicted, dataset, aligned=aligned).errors()


def align(difference: Float[np.ndarray, " n_structures"], structures: Structures) -> Float[np.ndarray, " n_structures"]:
    """Energy differences without the part that is linear in the composition.

    Another code, or another treatment of core electrons, has another zero of energy for every element, which does
    not affect energy differences between structures of one composition.
    """
    owner, numbers = structures.structure_index.cpu().numpy(), structures.atomic_numbers.cpu().numpy()
    elements = np.unique(numbers)
    counts = np.zeros((structures.n_structures, len(elements)))
    np.add.at(counts, (owner, np.searchsorted(elements, numbers)), 1.0)
    offsets, *_ = np.linalg.lstsq(counts, difference, rcond=1e-10)
    return np.asarray(difference - counts @ offsets)


def evaluate(committee: Committee, dataset: Dataset, *, aligned: bool = False) -> Errors:
    """Errors of a committee on labelled structures; isolated atoms among them are left out.

    Args:
        committee: Committee to evaluate.
        dataset: Labelled structures; energies may be of another code if ``aligned``.
        aligned: True to remove a difference of the reference energies of elements, by least squares.

    Raises:
        ValueError: If a structure has an element, a charge or a multiplicity on which the committee was not trained.
    """
    committee.require_known(dataset)
    dataset = without_isolated(dataset)
    return errors(predict_structures(committee, dataset.structures), dataset, aligned=aligned)


def expected_errors(committee: Committee, dataset: Dataset) -> ExpectedErrors | None:
    """Expected errors of a committee by labels that it was not trained on; None if fewer than five have forces.

    They hold for structures that are found as these were. ``committee.with_expected`` makes predictions, files and the
    ASE calculator show them.

    Args:
        committee: Committee.
        dataset: Labelled structures; isolated atoms among them are left out.
    """
    dataset = without_isolated(dataset)
    predicted = predict_structures(committee.without_domain(), dataset.structures)
    return ExpectedErrors.of(predicted.annotate(dataset.to_atoms()))


def last_layer_features(committee: Committee, structures: Structures) -> Float[Tensor, "n_structures n_features"]:
    r"""Features of structures that the last layers of the members read out, in double precision, without a graph.

    .. math:: \varphi = \frac{1}{\sqrt M} \left(\varphi^{(1)}, \ldots, \varphi^{(M)}\right), \qquad
        \varphi^{(m)} = \sum_i f_i^{(m)}

    Features of members stand side by side: each has axes of its own, so that their mean would mean nothing, while this
    makes inner products the mean over the members. Members that share a backbone have one set of features.

    Args:
        committee: Committee whose members have features of atoms.
        structures: Structures.

    Raises:
        ValueError: If a member has no features.
    """
    members = committee.members[:1] if shares_backbone(committee.members) else committee.members
    for member in members:
        if not (isinstance(member, Backbone) or callable(getattr(member, "features", None))):
            name = getattr(member, "__name__", type(member).__name__)
            raise ValueError(
                f"{name} has no features of atoms, by which max_det and lcmd compare structures; give it a method "
                "energy_and_features(structures), or use distinct"
            )
    sizes = structures.counts.cumsum(0).cpu().numpy() // N_ATOMS
    parts = []
    for part in np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(sizes)) + 1):
        prepared = committee.prepare(structures.take(part))
        with torch.no_grad():
            found = [sum_features(energy_and_features(member, prepared)[1], prepared) for member in members]
        parts.append(torch.cat(found, dim=1) / len(members) ** 0.5)
    return torch.cat(parts)
