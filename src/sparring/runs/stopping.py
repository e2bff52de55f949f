"""The end of a run: what proposers can still find errs less than the user asked for."""

import math
from dataclasses import dataclass

import numpy as np

from sparring.expected_error import force_error
from sparring.runs.results import Labelled

__all__ = ["Stop", "error_found"]


def error_found(labelled: Labelled, confidence: float) -> float:
    r"""Error of the forces that the next structure found stays below with a confidence, in eV/Å.

    The labels of a round are structures that proposers found and a selection chose, and their committee was not trained
    on them. If the next one is like them, its error is among theirs at any place with the same probability, so that it
    lies below the k-th smallest of n with probability k / (n + 1) (conformal prediction). Nothing is assumed about σ.

    Labels that failed for their geometry have an error above all others. Too few labels give infinity: a confidence c
    takes at least c / (1 - c).

    Args:
        labelled: Labels of a round with the predictions of its committee.
        confidence: Confidence, between 0 and 1.
    """
    errors = [force_error(atoms) for atoms in labelled.atoms]
    errors += [math.inf for _, failure in labelled.failures if failure.is_geometry]
    place = math.ceil((len(errors) + 1) * confidence - 1e-9)
    if place > len(errors):
        return math.inf
    return float(np.sort(np.nan_to_num(errors, nan=math.inf, posinf=math.inf))[place - 1])


@dataclass(frozen=True, kw_only=True)
class Stop:
    """The errors at which a run ends before its last generation.

    Attributes:
        force_error: Root mean square error of the components of the forces of a structure, in eV/Å.
        confidence: Confidence that the next structure that proposers find errs less.
    """

    force_error: float
    confidence: float

    def __post_init__(self) -> None:
        if not (self.force_error > 0 and 0 < self.confidence < 1):
            raise ValueError(
                f"a run stops at an error above zero with a confidence between 0 and 1, got {self.force_error:g} eV/Å "
                f"and {self.confidence:g}"
            )

    def met(self, labelled: Labelled) -> bool:
        """True if the labels of a round show that what proposers still find errs less."""
        return error_found(labelled, self.confidence) < self.force_error
