"""Predictions of a committee for many structures: means over its members, with their variances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.strain import has_stress, to_voigt
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.expected_error import ExpectedErrors

__all__ = ["StructurePredictions", "copy_uncertainties", "predict_structures", "with_uncertainties"]


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
        stress: Mean stresses in eV/Å³, NaN for structures without periods and a volume; None where none has both.
        stress_variance: Variances of the stresses in (eV/Å³)², likewise.
    """

    energy: Float[np.ndarray, " n_structures"]
    forces: tuple[Float[np.ndarray, "_ 3"], ...]
    energy_variance: Float[np.ndarray, " n_structures"]
    force_variance: Float[np.ndarray, " n_structures"]
    atom_variance: tuple[Float[np.ndarray, " _"], ...]
    expected: ExpectedErrors | None = None
    stress: Float[np.ndarray, "n_structures 3 3"] | None = None
    stress_variance: Float[np.ndarray, " n_structures"] | None = None

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
            stress=None if self.stress is None else self.stress[chosen],
            stress_variance=None if self.stress_variance is None else self.stress_variance[chosen],
        )

    def annotate(self, atoms: Sequence[Atoms]) -> list[Atoms]:
        """Copies of structures with ``committee_energy``, ``committee_forces`` and both variances.

        The array ``atom_uncertainty`` is the standard deviation of the force on each atom, in eV/Å. Structures that
        have a stress get ``committee_stress`` (six components as in ASE, eV/Å³) and ``stress_variance``. Where expected
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
            copy.info.update(self.of_stress(index))
            annotated.append(copy)
        if self.expected is not None:
            self.expected.note(annotated)
        return annotated

    def of_stress(self, index: int) -> dict[str, object]:
        """Stress of a structure and its variance, by their names in files; empty where there is none that is finite."""
        if self.stress is None or self.stress_variance is None or not np.isfinite(self.stress[index]).all():
            return {}
        return {
            "committee_stress": to_voigt(self.stress[index]),
            "stress_variance": float(self.stress_variance[index]),
        }


def predict_structures(committee: Committee, structures: Structures, *, n_at_once: int = 256) -> StructurePredictions:
    """Predictions of a committee for any number of structures, some at a time; with stresses where there are any.

    Raises:
        ValueError: If a structure has an element on which the committee was not trained.
    """
    committee.require_known(structures)
    committee, n = committee.without_domain(), structures.n_structures
    stressed = has_stress(structures).cpu().numpy()
    stress, stress_variance = np.full((n, 3, 3), np.nan), np.full(n, np.nan)
    summaries: list[tuple[np.ndarray, ...]] = []
    for start in range(0, n, n_at_once):
        rows = slice(start, min(start + n_at_once, n))
        part = structures.take(range(n)[rows])
        prediction = committee.predict(part, differentiable=False, stress=bool(stressed[rows].any()))
        summary = prediction.summary(part.structure_index.to(prediction.forces.device))
        summaries.append(tuple(values.cpu().numpy() for values in summary[:5]))
        if summary.stress is not None and summary.stress_variance is not None:
            stress[rows], stress_variance[rows] = summary.stress.cpu(), summary.stress_variance.cpu()
    stress[~stressed], stress_variance[~stressed] = np.nan, np.nan
    energy, forces, energy_variance, force_variance, atom_variance = map(np.concatenate, zip(*summaries, strict=True))
    ends = structures.counts.cumsum(0)[:-1].tolist()
    return StructurePredictions(
        energy=energy,
        forces=tuple(np.split(forces, ends)),
        energy_variance=energy_variance,
        force_variance=force_variance,
        atom_variance=tuple(np.split(atom_variance, ends)),
        expected=committee.expected,
        stress=stress if stressed.any() else None,
        stress_variance=stress_variance if stressed.any() else None,
    )


def with_uncertainties(atoms: Sequence[Atoms], committee: Committee) -> list[Atoms]:
    """Copies of structures with ``atom_uncertainty``, and ``committee_stress`` and ``stress_variance`` of crystals.

    All are from one prediction (:meth:`StructurePredictions.annotate`); numbers that are not finite are left out.

    Raises:
        ValueError: If a structure has an element on which the committee was not trained.
    """
    copies = [structure.copy() for structure in atoms]
    if copies:
        predicted = predict_structures(committee, Structures.from_atoms(copies, ignore_constraints=True))
        for index, (copy, variance) in enumerate(zip(copies, predicted.atom_variance, strict=True)):
            copy.info.update(predicted.of_stress(index))
            if np.isfinite(variance).all():
                copy.arrays["atom_uncertainty"] = np.sqrt(variance)
    return copies


def copy_uncertainties(source: Atoms, target: Atoms) -> None:
    """Give a structure what :func:`with_uncertainties` has written into another one of the same geometry."""
    target.info.update(
        {name: source.info[name] for name in ("committee_stress", "stress_variance") if name in source.info}
    )
    if "atom_uncertainty" in source.arrays:
        target.arrays["atom_uncertainty"] = source.arrays["atom_uncertainty"].copy()
