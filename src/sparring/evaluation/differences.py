"""Errors of a committee against labels."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from sparring.atoms.dataset import Dataset
from sparring.atoms.strain import has_stress
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation.predictions import StructurePredictions, predict_structures
from sparring.expected_error import ExpectedErrors
from sparring.starting_data.isolated import without_isolated

__all__ = ["Differences", "Errors", "align", "errors", "evaluate", "expected_errors"]


@dataclass(frozen=True, kw_only=True)
class Errors:
    """Mean absolute and root mean square errors; energies in eV, components of forces in eV/Å, of stresses in eV/Å³.

    Errors of forces and stresses are those of structures that have some, and NaN where none has. Stresses have nine
    components, so that errors do not change when a crystal turns. Of environments, forces on the core count alone.
    """

    energy_mae: float
    energy_rmse: float
    force_mae: float
    force_rmse: float
    n_structures: int
    stress_mae: float = math.nan
    stress_rmse: float = math.nan

    @classmethod
    def unknown(cls) -> "Errors":
        """Errors where there are no labels."""
        return cls(energy_mae=math.nan, energy_rmse=math.nan, force_mae=math.nan, force_rmse=math.nan, n_structures=0)


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Predictions of a committee minus labels.

    Attributes:
        energy: Differences of energies in eV, of structures whose energy counts (:attr:`sparring.Dataset.has_energy`).
        energy_owner: Structure of each of these.
        force: Differences of all force components of all structures in one row, in eV/Å.
        owner: Structure of each component; a structure without forces has none.
        n_atoms: Number of atoms of each structure.
        stress: Differences of all nine components of the stresses of all structures in one row, in eV/Å³.
        stress_owner: Structure of each of these; a structure without a stress has none.
    """

    energy: Float[np.ndarray, " n_energies"]
    energy_owner: Int[np.ndarray, " n_energies"]
    force: Float[np.ndarray, " n_components"]
    owner: Int[np.ndarray, " n_components"]
    n_atoms: Int[np.ndarray, " n_structures"]
    stress: Float[np.ndarray, " n_stress_components"]
    stress_owner: Int[np.ndarray, " n_stress_components"]

    @classmethod
    def of(cls, predicted: StructurePredictions, dataset: Dataset, *, aligned: bool = False) -> "Differences":
        """Compare a committee's means with labels, aligned as by :func:`align` or not."""
        counted = np.flatnonzero(dataset.has_energy.numpy())
        energy = (predicted.energy - dataset.energy.numpy())[counted]
        structures, known = dataset.structures, dataset.atoms_with_forces.numpy()
        stress, stress_owner = _stress_differences(predicted, dataset)
        return cls(
            energy=align(energy, structures.take(counted)) if aligned and len(counted) else energy,
            energy_owner=counted,
            force=(np.concatenate(predicted.forces) - dataset.forces.numpy())[known].ravel(),
            owner=np.repeat(structures.structure_index.cpu().numpy()[known], 3),
            n_atoms=structures.counts.cpu().numpy(),
            stress=stress,
            stress_owner=stress_owner,
        )

    def take(self, rows: Bool[np.ndarray, " n_structures"]) -> "Differences":
        """Differences of some structures."""
        of_energy, components, of_stress = rows[self.energy_owner], rows[self.owner], rows[self.stress_owner]
        place = np.cumsum(rows) - 1
        return Differences(
            energy=self.energy[of_energy],
            energy_owner=place[self.energy_owner[of_energy]],
            force=self.force[components],
            owner=place[self.owner[components]],
            n_atoms=self.n_atoms[rows],
            stress=self.stress[of_stress],
            stress_owner=place[self.stress_owner[of_stress]],
        )

    def errors(self) -> Errors:
        """Mean errors over structures, and over components of forces and of stresses."""
        (energy_mae, energy_rmse), (force_mae, force_rmse), (stress_mae, stress_rmse) = (
            (float(np.abs(one).mean()), float(np.sqrt(np.square(one).mean()))) if len(one) else (math.nan, math.nan)
            for one in (self.energy, self.force, self.stress)
        )
        return Errors(
            energy_mae=energy_mae,
            energy_rmse=energy_rmse,
            force_mae=force_mae,
            force_rmse=force_rmse,
            n_structures=len(self.n_atoms),
            stress_mae=stress_mae,
            stress_rmse=stress_rmse,
        )


def _stress_differences(
    predicted: StructurePredictions, dataset: Dataset
) -> tuple[Float[np.ndarray, " n_stress_components"], Int[np.ndarray, " n_stress_components"]]:
    """Differences of the stresses of structures that have one, and the structure of each component."""
    if predicted.stress is None or dataset.stress is None:
        return np.zeros(0), np.zeros(0, dtype=int)
    labels = dataset.stress.cpu().numpy()
    known = np.isfinite(labels).all((1, 2)) & has_stress(dataset.structures).cpu().numpy() & dataset.has_energy.numpy()
    return (predicted.stress - labels)[known].ravel(), np.repeat(np.flatnonzero(known), 9)


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
