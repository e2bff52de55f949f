r"""Expected errors: what the σ of a committee has meant for labels that it was not trained on.

Members that learn the same data share errors that σ does not show. Labels that are bought anyway say how large the
errors are where σ has a value: a power law, as in calibrated adversarial geometry optimisation (Cezar et al. 2025,
doi:10.1038/s41524-025-01703-5),

.. math:: \hat e = a\, \sigma^b

whose ratios :math:`e / \hat e` of known structures bound the error of the next one with a given confidence, whatever
their distribution is (split conformal prediction: Angelopoulos and Bates, arXiv:2107.07511). That holds for structures
that are found in the same way, and for a committee trained in the same way; nothing holds for all structures.

Departures: logarithms are fitted, so that :math:`\hat e` is the median error, which one wild label does not move; with
few labels b stays near 1; and each ratio is that of a fit without its structure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float

from sparring.atoms.reference import ENERGY, FORCES, STRESS, forces_mask
from sparring.atoms.strain import from_voigt
from sparring.support.ranks import bounding_rank

__all__ = ["CONFIDENCE", "ExpectedErrors", "PowerLaw", "atom_errors", "force_error", "force_sigma", "stress_error"]

CONFIDENCE = 0.9
"""Confidence of bounds where none is named."""
LEAST = 5
"""Smallest number of structures to which a power law is fitted."""
STEEPEST, FLATTEST = 2.0, 0.1
SHRINKAGE = 1.0
"""Weight of the exponent 1 in a fit: as much as structures whose logarithms of σ have this sum of squares."""
ATOMS_OF_ALL = 10.0
"""Weight of all elements together in the factor of one: as much as so many of its own atoms."""


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    r"""The error to expect where σ has a value, :math:`\hat e = a\, \sigma^b`, and bounds of the error.

    Attributes:
        factor: a, in eV/Å (eV, eV/Å³) to the power 1 - b.
        exponent: b.
        ratios: Ratios of true to expected errors of the structures that bounds are taken from, in rising order.
        n: Number of structures that were fitted to.
    """

    factor: float
    exponent: float
    ratios: tuple[float, ...] = field(repr=False)
    n: int

    @classmethod
    def fit(
        cls,
        sigma: Float[np.ndarray, " n"],
        error: Float[np.ndarray, " n"],
        bounding: Bool[np.ndarray, " n"] | None = None,
    ) -> "PowerLaw | None":
        """Fit a power law to errors; None if there are too few that are known and above zero.

        Args:
            sigma: Value of σ of each structure.
            error: Its true error.
            bounding: Mask of the structures that bounds are taken from; all if there are too few of them.
        """
        known = np.isfinite(sigma) & np.isfinite(error) & (sigma > 0) & (error > 0)
        if known.sum() < LEAST:
            return None
        x, y = np.log(sigma[known]), np.log(error[known])
        bounds = np.ones(len(x), dtype=bool) if bounding is None else bounding[known]
        if bounds.sum() < LEAST:
            bounds = np.ones(len(x), dtype=bool)
        offset, exponent = _line(x, y)
        ratios = []
        for index in np.flatnonzero(bounds):
            others = np.arange(len(x)) != index
            a, b = _line(x[others], y[others])
            ratios.append(float(np.exp(y[index] - a - b * x[index])))
        return cls(factor=math.exp(offset), exponent=exponent, ratios=tuple(sorted(ratios)), n=len(x))

    def __call__(self, sigma: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Expected errors, each the median over structures of that σ."""
        return np.asarray(self.factor * sigma**self.exponent)

    def bound(self, sigma: Float[np.ndarray, "*n"], confidence: float = CONFIDENCE) -> Float[np.ndarray, "*n"]:
        """Errors that structures of the same kind stay below, with a confidence (:meth:`confidence_of`).

        Raises:
            ValueError: If the confidence is not between 0 and 1.
        """
        return np.asarray(self(sigma) * self.ratios[self.rank(confidence) - 1])

    def rank(self, confidence: float = CONFIDENCE) -> int:
        """Rank of the ratio by which expected errors are multiplied for a bound: the largest if there are few.

        Raises:
            ValueError: If the confidence is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"a confidence lies between 0 and 1, got {confidence:g}")
        return min(bounding_rank(len(self.ratios), confidence), len(self.ratios))

    def sigma_of(self, error: float) -> float:
        """The σ from which on an error is expected."""
        return float((error / self.factor) ** (1 / self.exponent))

    def confidence_of(self, confidence: float = CONFIDENCE) -> float:
        """The confidence that a bound really has: n structures give one of at most n / (n + 1)."""
        return min(confidence, len(self.ratios) / (len(self.ratios) + 1))


def _line(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Offset and slope of a line by least squares, with a slope near 1 where x hardly varies."""
    dx, dr = x - x.mean(), (y - x) - (y - x).mean()
    slope = 1 + float(dx @ dr) / (float(dx @ dx) + SHRINKAGE)
    slope = min(max(slope, FLATTEST), STEEPEST)
    return float(y.mean() - slope * x.mean()), slope


@dataclass(frozen=True, kw_only=True)
class ExpectedErrors:
    """Expected errors of a committee: of forces, energies and stresses of structures, and of forces on atoms.

    Attributes:
        forces: Root mean square error of the components of the forces of a structure, in eV/Å, from its σ_F.
        energy: Absolute error of the energy of a structure, in eV, from its σ_E; None where it is not known.
        elements: Factor of the power law of forces for atoms of each element; others have that of structures.
        n_labels: Number of labels among the structures, bought in the generation before.
        n_test: Number of test structures among them.
        stress: Root mean square error of the nine components of the stress of a crystal, in eV/Å³, from its σ_S; None
            where it is not known.
    """

    forces: PowerLaw
    energy: PowerLaw | None
    elements: Mapping[str, float]
    n_labels: int
    n_test: int
    stress: PowerLaw | None = None

    @classmethod
    def of(cls, labels: Sequence[Atoms], test: Sequence[Atoms] = ()) -> "ExpectedErrors | None":
        """The expected errors by structures with labels and predictions; None if too few have forces.

        Bounds are taken from the labels, if there are enough of them: test structures are like the data, and say
        nothing about what proposers find.

        Args:
            labels: Labels that a committee was not trained on, with its predictions as
                :meth:`sparring.evaluation.StructurePredictions.annotate` gives them.
            test: Test structures of a committee, likewise.
        """
        frames = [*labels, *test]
        bounding = np.arange(len(frames)) < len(labels)
        forces = PowerLaw.fit(
            np.array([_sigma(atoms, "force_variance") for atoms in frames]),
            np.array([force_error(atoms) for atoms in frames]),
            bounding,
        )
        if forces is None:
            return None
        energy = PowerLaw.fit(
            np.array([_sigma(atoms, "energy_variance") for atoms in frames]),
            np.array([_energy_error(atoms) for atoms in frames]),
            bounding,
        )
        stress = PowerLaw.fit(
            np.array([_sigma(atoms, "stress_variance") for atoms in frames]),
            np.array([stress_error(atoms) for atoms in frames]),
            bounding,
        )
        elements = _elements(frames, forces)
        return cls(
            forces=forces, energy=energy, elements=elements, n_labels=len(labels), n_test=len(test), stress=stress
        )

    def of_atoms(self, sigma: Float[np.ndarray, " n_atoms"], symbols: Sequence[str]) -> Float[np.ndarray, " n_atoms"]:
        """Expected errors of the forces on atoms, root mean square over components, in eV/Å.

        Args:
            sigma: σ of each atom in eV/Å.
            symbols: Chemical symbol of each.
        """
        factors = np.array([self.elements.get(symbol, self.forces.factor) for symbol in symbols])
        return np.asarray(factors * sigma**self.forces.exponent)

    def note(self, frames: Sequence[Atoms]) -> None:
        """Write expected errors beside the variances of frames.

        They are ``expected_force_error`` (eV/Å), ``expected_energy_error`` (eV) and ``expected_stress_error`` (eV/Å³).
        """
        for atoms in frames:
            atoms.info["expected_force_error"] = float(self.forces(_sigma(atoms, "force_variance")))
            if self.energy is not None:
                atoms.info["expected_energy_error"] = float(self.energy(_sigma(atoms, "energy_variance")))
            if self.stress is not None and "stress_variance" in atoms.info:
                atoms.info["expected_stress_error"] = float(self.stress(_sigma(atoms, "stress_variance")))

    def to_dict(self) -> dict[str, object]:
        """The same as plain numbers, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "ExpectedErrors":
        """The expected errors of a file."""
        laws = {
            name: None
            if content.get(name) is None
            else PowerLaw(**{**content[name], "ratios": tuple(content[name]["ratios"])})
            for name in ("forces", "energy", "stress")
        }
        return cls(**{**content, **laws})


def force_error(atoms: Atoms) -> float:
    """Root mean square error of the components of predicted forces, in eV/Å; NaN without labels or predictions.

    Of an environment, forces on its core count alone.
    """
    errors = atom_errors(atoms)
    return math.nan if errors is None else float(np.sqrt(np.square(errors[forces_mask(atoms)]).mean()))


def _energy_error(atoms: Atoms) -> float:
    """Absolute error of an energy in eV; NaN for environments."""
    whole = bool(forces_mask(atoms).all())
    return abs(atoms.info["committee_energy"] - atoms.info[ENERGY]) if whole else math.nan


def atom_errors(atoms: Atoms) -> Float[np.ndarray, " n_atoms"] | None:
    """Error of the predicted force on each atom, root mean square over components, in eV/Å; None if it is not known."""
    if not {"committee_forces", FORCES} <= set(atoms.arrays):
        return None
    return np.asarray(np.sqrt(np.square(atoms.arrays["committee_forces"] - atoms.arrays[FORCES]).mean(1)))


def stress_error(atoms: Atoms) -> float:
    """Root mean square error of the components of a predicted stress, in eV/Å³; NaN without label or prediction."""
    if not {"committee_stress", STRESS} <= set(atoms.info) or not forces_mask(atoms).all():
        return math.nan
    difference = np.asarray(atoms.info["committee_stress"]) - np.asarray(atoms.info[STRESS])
    return float(np.sqrt(np.square(from_voigt(difference)).mean()))


def force_sigma(atoms: Atoms) -> float:
    """σ_F of a structure with predictions, in eV/Å; NaN without."""
    return float(_sigma(atoms, "force_variance"))


def _sigma(atoms: Atoms, variance: str) -> Float[np.ndarray, ""]:
    return np.asarray(np.sqrt(np.maximum(float(atoms.info.get(variance, math.nan)), 0.0)))


def _elements(frames: Sequence[Atoms], law: PowerLaw) -> dict[str, float]:
    """Factor of each element: the median ratio of its atoms' errors to the power of their σ, near that of all."""
    sums: dict[str, list[float]] = {}
    for atoms in frames:
        error, sigma = atom_errors(atoms), atoms.arrays.get("atom_uncertainty")
        if error is None or sigma is None:
            continue
        for symbol, one, of, counts in zip(atoms.symbols, error, sigma, forces_mask(atoms), strict=True):
            if counts and one > 0 and of > 0:
                sums.setdefault(symbol, []).append(math.log(one) - law.exponent * math.log(of))
    of_all = math.log(law.factor)
    return {
        symbol: math.exp((sum(logs) + ATOMS_OF_ALL * of_all) / (len(logs) + ATOMS_OF_ALL))
        for symbol, logs in sorted(sums.items())
    }
