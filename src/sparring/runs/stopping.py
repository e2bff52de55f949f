"""The end of a run: what proposers can still find errs less than the user asked for."""

import math
from dataclasses import dataclass

import numpy as np

from sparring.expected_error import force_error
from sparring.runs.results import Labelled
from sparring.support.ranks import bounding_rank

__all__ = ["Stop", "error_found"]


def error_found(labelled: Labelled, confidence: float) -> float:
    r"""Error of the forces that the next structure found stays below with a confidence, in eV/Å.

    The labels of a round are structures that proposers found and a selection chose, and their committee was not trained
    on them. The next one is taken to be like them (:mod:`sparring.support.ranks`). Nothing is assumed about σ.

    Labels that failed for their geometry have an error above all others. Too few labels give infinity: a confidence c
    takes at least c / (1 - c).

    Args:
        labelled: Labels of a round with the predictions of its committee.
        confidence: Confidence, between 0 and 1.
    """
    errors = [force_error(atoms) for atoms in labelled.atoms]
    errors += [math.inf for _, failure in labelled.failures if failure.is_geometry]
    rank = bounding_rank(len(errors), confidence)
    if rank > len(errors):
        return math.inf
    return float(np.sort(np.nan_to_num(errors, nan=math.inf, posinf=math.inf))[rank - 1])


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
