r"""Calibration of a committee's σ: the ratio of its errors to σ.

A σ is calibrated if :math:`\langle e^2 \rangle = \langle \sigma^2 \rangle` for any group of structures. The value
expected for the mean of M members depends on their correlations. Were they unbiased and independent,
the error of their mean would be :math:`\sigma / \sqrt M`; were the truth one more member, it would be
:math:`\sigma \sqrt{1 + 1/M}`. Members trained on the same data share errors that no variance shows, so a ratio
above either is common: Kahle and Zipoli (2022), doi:10.1103/PhysRevE.105.015311.

Two numbers summarise it. The ratio of RMS error to RMS σ is dominated by structures with large values, the scale
weights all structures equally; if they differ much, a single scale factor cannot recalibrate σ.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr

from sparring.validation.errors.detection import QUANTILE, UndefinedError

__all__ = ["Calibration", "calibrate", "independent_ratio"]

MOST_BINS, IN_A_BIN = 10, 8
LEVELS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, kw_only=True)
class Calibration:
    r"""Ratio of errors to σ; in eV/Å for forces, in eV for energies.

    Attributes:
        scale: Root mean square of :math:`e/\sigma`. Every σ times this one number makes a normal distribution of errors
            most likely; above one, the committee is overconfident. With few members it is larger, because σ
            itself is uncertain: :math:`e^2/\sigma^2` of one value has the mean (M-1)/(M-3) if σ is right.
        interval: 95 % interval of the scale.
        ratio: RMS error divided by RMS σ.
        bin_sigma: RMS σ of structures with similar σ, rising; as many structures in every bin.
        bin_error: Their RMS error.
        bin_size: Numbers of structures in the bins.
        bin_deviation: Mean over the bins of :math:`|\sigma - e| / \sigma`, called ENCE.
        expected: Shares of errors that should lie within as many σ as of a normal distribution hold that share.
        observed: Shares that do.
        miscalibration: Area between the two, from 0 (calibrated) to 0.5.
    """

    scale: float
    interval: tuple[float, float]
    ratio: float
    bin_sigma: Float[np.ndarray, " n_bins"]
    bin_error: Float[np.ndarray, " n_bins"]
    bin_size: Int[np.ndarray, " n_bins"]
    bin_deviation: float
    expected: Float[np.ndarray, " n_levels"]
    observed: Float[np.ndarray, " n_levels"]
    miscalibration: float


def independent_ratio(n_members: int) -> float:
    r"""The ratio of error to σ of members that err independently: :math:`1/\sqrt M`."""
    return 1 / math.sqrt(n_members)


def calibrate(
    sigma: Float[np.ndarray, " n_structures"],
    difference: Float[np.ndarray, " n_values"],
    structure_index: Int[np.ndarray, " n_values"],
    *,
    n_bins: int | None = None,
) -> Calibration:
    r"""Compare σ with the differences from the labels.

    Bins and their mean deviation (ENCE) follow Levi et al. (2022), doi:10.3390/s22155540; the curve of expected and
    observed shares and the area between them Kuleshov et al. (2018), arXiv:1807.00263, with the central intervals of
    Tran et al. (2020), doi:10.1088/2632-2153/ab7e1a. Of forces, all components of a structure share its one
    :math:`\sigma_F`.

    Args:
        sigma: Value of σ for each structure.
        difference: Prediction less label: one energy a structure, or all its force components.
        structure_index: To which structure a difference belongs.
        n_bins: Number of bins of equal size [default: at most 10, of at least 8 structures].

    Raises:
        UndefinedError: If there are fewer than two structures, or a σ is zero.
        ValueError: If there are more bins than structures.
    """
    n = len(sigma)
    if n < 2:
        raise UndefinedError(f"a calibration needs at least 2 structures, got {n}")
    if not sigma.all():
        raise UndefinedError(f"cannot calibrate: σ is zero for {int((sigma == 0).sum())} of {n} structures")
    n_bins = n_bins or int(np.clip(n // IN_A_BIN, 1, MOST_BINS))
    if not 1 <= n_bins <= n:
        raise ValueError(f"{n} structures can be divided into 1 to {n} bins, got n_bins={n_bins}")
    square = np.bincount(structure_index, difference**2, n) / np.bincount(structure_index, minlength=n)
    scale, interval = _scale(square / sigma**2)
    bins = np.array_split(np.argsort(sigma, kind="stable"), n_bins)
    bin_sigma = np.array([np.sqrt(np.mean(sigma[rows] ** 2)) for rows in bins])
    bin_error = np.array([np.sqrt(np.mean(square[rows])) for rows in bins])
    observed = _shares(np.abs(difference) / sigma[structure_index])
    return Calibration(
        scale=scale,
        interval=interval,
        ratio=float(np.sqrt(square.mean() / np.mean(sigma**2))),
        bin_sigma=bin_sigma,
        bin_error=bin_error,
        bin_size=np.array([len(rows) for rows in bins]),
        bin_deviation=float(np.mean(np.abs(1 - bin_error / bin_sigma))),
        expected=LEVELS.copy(),
        observed=observed,
        miscalibration=float(np.trapezoid(np.abs(observed - LEVELS), LEVELS)),
    )


def _scale(square: Float[np.ndarray, " n"]) -> tuple[float, tuple[float, float]]:
    """The root of a mean, with the interval of its logarithm by linearisation (the delta method)."""
    mean = float(square.mean())
    if mean == 0:
        return 0.0, (0.0, 0.0)
    half = QUANTILE * float(np.std(square, ddof=1)) / (math.sqrt(len(square)) * mean)
    return math.sqrt(mean), (math.sqrt(mean * math.exp(-half)), math.sqrt(mean * math.exp(half)))


def _shares(z: Float[np.ndarray, " n_values"]) -> Float[np.ndarray, " n_levels"]:
    """The share of values within the central interval of each level of a normal distribution."""
    observed: Float[np.ndarray, " n_levels"] = np.searchsorted(np.sort(2 * ndtr(z) - 1), LEVELS, side="right") / len(z)
    return observed
