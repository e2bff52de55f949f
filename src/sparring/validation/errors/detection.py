r"""Detection of structures with large errors by a variance: rank correlation, ROC curve and its area.

The classifier is Eq. 8 of Schwalbe-Koda et al. (doi:10.1038/s41467-021-25342-8): a structure is unfamiliar where
:math:`\sigma^2 \geq t`. A ROC curve shows what it does for every t; its area needs none.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import rankdata

__all__ = ["QUANTILE", "Choice", "Correlation", "Detection", "UndefinedError", "area_under", "correlate", "detect"]

CONFIDENCE = 0.95
"""Confidence of all intervals."""
QUANTILE = float(ndtri((1 + CONFIDENCE) / 2))
"""Half width of an interval in standard errors."""
FEWEST = 4
"""Ranks of three structures are too few: the interval of their correlation is not defined."""


class UndefinedError(ValueError):
    """The number is not defined for these data; the message has the reason."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """Spearman's rank correlation of an uncertainty with the true error, and its 95 % interval."""

    rho: float
    interval: tuple[float, float]
    n_structures: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Result of the classifier at one threshold t of the variance: the shares of both kinds that it calls unfamiliar.

    `accuracy` is the share of all structures that it puts on the right side.
    """

    threshold: float
    true_positive_rate: float
    false_positive_rate: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class Detection:
    """A variance as the detector of structures whose error is too large: these are the positives.

    Attributes:
        variance: Variance that is the detector, force or energy.
        error_limit: Smallest error of a positive; in eV/Å for forces, in eV for energies.
        n_positive: Number of structures that should be detected.
        n_negative: Number of the others.
        area: Area under the ROC curve: probability that a positive has a larger variance than a negative (ties: half).
        interval: 95 % interval of the area.
        threshold: Thresholds t of the variance, falling; every point of the curve is one. The origin, which is no
            variance's, is left out.
        true_positive_rate: Share of the positives with a variance of at least t.
        false_positive_rate: Share of the negatives with a variance of at least t.
        choice: Rates at the threshold of Eq. 8, if it is known.
    """

    variance: str
    error_limit: float
    n_positive: int
    n_negative: int
    area: float
    interval: tuple[float, float]
    threshold: Float[np.ndarray, " n_points"]
    true_positive_rate: Float[np.ndarray, " n_points"]
    false_positive_rate: Float[np.ndarray, " n_points"]
    choice: Choice | None


def correlate(sigma: Float[np.ndarray, " n"], error: Float[np.ndarray, " n"]) -> Correlation:
    r"""Spearman's rank correlation, with an interval by Fisher's transformation.

    .. math:: \operatorname{artanh} \rho \pm z \sqrt{(1 + \rho^2 / 2) / (n - 3)}

    Bonett and Wright (2000), doi:10.1007/BF02294183. Where all ranks agree (or all are reversed) it would have no
    width; the bound is then that of ranks with one pair of neighbours swapped.

    Raises:
        UndefinedError: If there are fewer than four structures, or all have the same σ or the same error.
    """
    n = len(sigma)
    if n < FEWEST:
        raise UndefinedError(f"a rank correlation needs at least {FEWEST} structures, got {n}")
    for name, values in (("σ", sigma), ("error", error)):
        if np.ptp(values) == 0:
            raise UndefinedError(f"all {n} structures have the same {name}, so there is nothing to rank")
    rho = float(np.corrcoef(rankdata(sigma), rankdata(error))[0, 1])
    almost = 1 - 12 / (n * (n**2 - 1))
    inner = float(np.clip(rho, -almost, almost))
    half = QUANTILE * math.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = math.tanh(math.atanh(inner) - half), math.tanh(math.atanh(inner) + half)
    return Correlation(
        rho=rho, interval=(-1.0 if rho < -almost else low, 1.0 if rho > almost else high), n_structures=n
    )


def detect(
    variance: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    *,
    name: str,
    error_limit: float,
    threshold: float | None = None,
) -> Detection:
    """The ROC curve of a variance, and the area under it.

    Args:
        variance: Variance of each structure; the greater, the less familiar.
        positive: True for structures that the classifier should call unfamiliar.
        name: Name of the variance.
        error_limit: Smallest error of a positive, for the record.
        threshold: Threshold t of Eq. 8, if it was chosen.

    Raises:
        UndefinedError: If all structures are of one kind.
    """
    n_positive, n = int(positive.sum()), len(positive)
    if not 0 < n_positive < n:
        kind = "reach" if n_positive else "stay below"
        raise UndefinedError(f"all {n} errors {kind} the limit, {error_limit:.4g}: there is only one class")
    order = np.argsort(-variance, kind="stable")
    falling, hits = variance[order], positive[order]
    # One threshold takes all structures of equal variance at once.
    last = np.append(np.flatnonzero(np.diff(falling)), n - 1)
    area = area_under(variance, positive)
    return Detection(
        variance=name,
        error_limit=error_limit,
        n_positive=n_positive,
        n_negative=n - n_positive,
        area=area,
        interval=_interval_of_area(area, n_positive, n - n_positive),
        threshold=falling[last],
        true_positive_rate=np.cumsum(hits)[last] / n_positive,
        false_positive_rate=np.cumsum(~hits)[last] / (n - n_positive),
        choice=None if threshold is None else _choose(variance, positive, threshold),
    )


def area_under(variance: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    r"""The area under a ROC curve, from the ranks R of the variances.

    .. math:: A = \frac{1}{n_+ n_-} \Big( \sum_{i \in +} R_i - \frac{n_+ (n_+ + 1)}{2} \Big)

    The statistic of Mann and Whitney; Hanley and McNeil (1982), doi:10.1148/radiology.143.1.7063747.
    """
    n_positive = int(positive.sum())
    above = rankdata(variance)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * (len(positive) - n_positive)))


def _choose(variance: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], threshold: float) -> Choice:
    unfamiliar = variance >= threshold
    return Choice(
        threshold=threshold,
        true_positive_rate=float(unfamiliar[positive].mean()),
        false_positive_rate=float(unfamiliar[~positive].mean()),
        accuracy=float((unfamiliar == positive).mean()),
    )


def _interval_of_area(area: float, n_positive: int, n_negative: int) -> tuple[float, float]:
    r"""All areas A that lie within z of their own standard errors from the one that was found.

    .. math:: s^2(A) = \frac{A (1 - A)}{n_+ n_-} \Big[ 1 + N \Big( \frac{1 - A}{2 - A} + \frac{A}{1 + A} \Big) \Big],
        \quad N = \frac{n_+ + n_-}{2} - 1

    Newcombe (2006), method 5, doi:10.1002/sim.2324. It has a width also where the two kinds are wholly apart.
    """
    mean_size = (n_positive + n_negative) / 2 - 1

    def beyond(other: float) -> float:
        shape = 1 + mean_size * ((1 - other) / (2 - other) + other / (1 + other))
        error = math.sqrt(max(other * (1 - other), 0.0) * shape / (n_positive * n_negative))
        return abs(area - other) - QUANTILE * error

    tiny = 1e-12
    low = _root(beyond, 0.0, min(area, 1 - tiny)) if area > tiny else 0.0
    high = _root(beyond, max(area, tiny), 1.0) if area < 1 - tiny else 1.0
    return low, high


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    return float(brentq(function, low, high))
