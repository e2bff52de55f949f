"""Places in a sorted sample below which the next value lies with a given confidence (conformal prediction).

If the next of n + 1 values that are alike may have any rank with the same probability, it lies below the k-th smallest
of the first n with probability k / (n + 1): Angelopoulos and Bates, arXiv:2107.07511. Nothing is assumed about their
distribution.
"""

import math

__all__ = ["bounding_rank", "fewest_for"]

ROUNDING = 1e-9
"""Part of a rank by which 10 * 0.9 may be more than 9."""


def bounding_rank(n: int, confidence: float) -> int:
    """Rank k, from 1, of the value that bounds the next one; above n if so few values bound nothing.

    >>> bounding_rank(9, 0.9), bounding_rank(19, 0.9), bounding_rank(8, 0.9)
    (9, 18, 9)
    """
    return math.ceil((n + 1) * confidence - ROUNDING)


def fewest_for(confidence: float) -> int:
    """Smallest number of values of which one bounds the next.

    >>> fewest_for(0.9), fewest_for(0.8), fewest_for(0.5)
    (9, 4, 1)
    """
    return math.ceil(confidence / (1 - confidence) - ROUNDING)
