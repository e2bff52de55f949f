"""Reliability of a committee's uncertainty: σ of forces or energies compared with the true errors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float, Int

from sparring.selection import threshold_from
from sparring.validation.errors.calibration import Calibration, calibrate
from sparring.validation.errors.detection import Correlation, Detection, UndefinedError, correlate, detect

__all__ = ["Positive", "Reference", "Reliability", "assess", "root_mean_square"]

T = TypeVar("T")
Positive = Literal["beyond_training", "worst"]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Errors and variances of the training structures."""

    error: Float[np.ndarray, " n_structures"]
    variances: Mapping[str, Float[np.ndarray, " n_structures"]]


@dataclass(frozen=True, kw_only=True)
class Reliability:
    """Reliability of the uncertainty for one kind of error, of forces (eV/Å) or of energies (eV).

    Attributes:
        sigma: Value of σ of each structure.
        error: True error: root mean square over force components, or the absolute error of the energy.
        correlation: Rank correlation of both.
        detections: Structures whose error is too large, as found by each variance.
        calibration: Ratio of errors to σ.
        absent: Reasons why something could not be computed, by its name.
    """

    sigma: Float[np.ndarray, " n_structures"]
    error: Float[np.ndarray, " n_structures"]
    correlation: Correlation | None
    detections: tuple[Detection, ...]
    calibration: Calibration | None
    absent: Mapping[str, str]


def root_mean_square(
    difference: Float[np.ndarray, " n_values"], structure_index: Int[np.ndarray, " n_values"], n_structures: int
) -> Float[np.ndarray, " n_structures"]:
    """Root mean square of the differences of each structure."""
    sizes = np.bincount(structure_index, minlength=n_structures)
    squares = np.bincount(structure_index, difference**2, n_structures)
    root: Float[np.ndarray, " n_structures"] = np.sqrt(squares / sizes)
    return root


def assess(
    difference: Float[np.ndarray, " n_values"],
    structure_index: Int[np.ndarray, " n_values"],
    variances: Mapping[str, Float[np.ndarray, " n_structures"]],
    own: str,
    *,
    n_members: int,
    positive: Positive,
    percentile: float,
    reference: Reference | None = None,
) -> Reliability:
    """Compare a committee's uncertainty with its true error; what cannot be compared is absent, with the reason.

    Args:
        difference: Prediction less label: one energy a structure, or all its force components.
        structure_index: To which structure a difference belongs.
        variances: Variances of each structure, by name; each is tested as a detector.
        own: Name of the variance of this kind of error.
        n_members: Size of the committee.
        positive: Definition of unreliable structures, see :func:`sparring.validation.errors.compute.error_report`.
        percentile: Percentile of the errors, for their limit, and of the variances, for t of Eq. 8.
        reference: Errors and variances of the training structures.
    """
    sigma = np.sqrt(variances[own])
    error = root_mean_square(difference, structure_index, len(sigma))
    absent: dict[str, str] = {}

    def found_by(name: str) -> Detection:
        limit = _limit(error, reference, positive, percentile)
        t = None if reference is None else threshold_from(reference.variances[name], percentile)
        return detect(variances[name], error >= limit, name=name, error_limit=limit, threshold=t)

    def attempt(name: str, compute: Callable[[], T]) -> T | None:
        try:
            if n_members < 2:
                raise UndefinedError("one network alone has no uncertainty")
            return compute()
        except UndefinedError as reason:
            absent[name] = str(reason)
            return None

    return Reliability(
        sigma=sigma,
        error=error,
        correlation=attempt("correlation", lambda: correlate(sigma, error)),
        detections=attempt("detection", lambda: tuple(found_by(name) for name in variances)) or (),
        calibration=attempt("calibration", lambda: calibrate(sigma, difference, structure_index)),
        absent=absent,
    )


def _limit(error: Float[np.ndarray, " n"], reference: Reference | None, positive: Positive, percentile: float) -> float:
    if positive == "worst":
        return float(np.percentile(error, percentile))
    if reference is None:
        raise UndefinedError(
            "the training data of the committee, and so its usual errors, are not known; positive='worst' does not "
            "need them"
        )
    return float(np.percentile(reference.error, percentile))
