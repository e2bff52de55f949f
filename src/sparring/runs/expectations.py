"""New labels against the errors that were expected before them, and the error that each round of labels found.

The labels of a generation are the only structures that are found by proposers and not learnt by the committee that is
judged: they test its σ, its expected errors and their bounds. All is computed from saved files.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float
from scipy.stats import betabinom

from sparring.expected_error import CONFIDENCE, force_error, force_sigma
from sparring.runs.generation import Generation
from sparring.runs.results import Labelled
from sparring.runs.saved_run import SavedRun
from sparring.runs.stopping import error_found
from sparring.support.ranks import bounding_rank

__all__ = ["Expectation", "NewLabels", "new_labels", "new_labels_of_run", "ratio_on_test_set"]


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """Comparison of new labels with the errors that were expected before them.

    Attributes:
        source: Source of the structures; empty for all labels of a generation.
        n_labels: Number of labels with an expected error.
        n_within: Number of these whose error is within the bound.
        confidence: Confidence that the bound had.
        ratio: Median ratio of true to expected errors.
        probability: Probability of at most so many within the bound, if the labels are like the structures that set it.
    """

    source: str
    n_labels: int
    n_within: int
    confidence: float
    ratio: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class NewLabels:
    """Labels that one generation bought, and the errors of its committee, which was not trained on them.

    Errors are root mean squares of the components of the forces of a structure, in eV/Å.

    Attributes:
        generation: Number of the generation.
        source: Source of each structure.
        sigma: σ_F of each in eV/Å.
        error: True error of each; NaN without forces.
        expected: Expected error of each; NaN where nothing was known before.
        factor: Ratio of the bound to the expected error; NaN where nothing was known before.
        confidence: Confidence that the bound has.
        n_bounding: Number of structures that set the bound.
        by_test: True if these include test structures, which are like the data and not like what proposers find.
        n_refused: Number of further labels that failed for their geometry.
        stop_confidence: Confidence of the error found.
        error_found: Error that the next structure found stays below with that confidence; infinite if labels were too
            few, or too many were refused.
    """

    generation: int
    source: tuple[str, ...]
    sigma: Float[np.ndarray, " n_labels"]
    error: Float[np.ndarray, " n_labels"]
    expected: Float[np.ndarray, " n_labels"]
    factor: float
    confidence: float
    n_bounding: int
    by_test: bool
    n_refused: int
    stop_confidence: float
    error_found: float

    @property
    def median_error(self) -> float:
        """Median error, with refused labels above all others."""
        errors = np.array([*self.error[np.isfinite(self.error)], *[math.inf] * self.n_refused])
        return float(np.median(errors)) if len(errors) else math.nan

    @property
    def sigma_ratio(self) -> float:
        """Median ratio of errors to σ_F; NaN if no label has both."""
        return _median_ratio(self.error, self.sigma)

    def expectation(self, source: str = "") -> Expectation | None:
        """Labels of a source, or of all, within the bound that was known before them; None if none has one."""
        known = np.isfinite(self.error) & np.isfinite(self.expected) & (self.expected > 0)
        if source:
            known &= np.array([one == source for one in self.source], dtype=bool)
        n_labels = int(known.sum())
        if not n_labels:
            return None
        ratio = self.error[known] / self.expected[known]
        n_within = int((ratio <= self.factor * (1 + 1e-9)).sum())
        # The share of all structures below the k-th smallest of n ratios has a beta distribution of k and n + 1 - k.
        rank = min(bounding_rank(self.n_bounding, CONFIDENCE), self.n_bounding)
        return Expectation(
            source=source,
            n_labels=n_labels,
            n_within=n_within,
            confidence=self.confidence,
            ratio=float(np.median(ratio)),
            probability=float(betabinom.cdf(n_within, n_labels, rank, self.n_bounding + 1 - rank)),
        )

    @property
    def by_source(self) -> tuple[Expectation, ...]:
        """The same for each source of a portfolio; empty if there is one source."""
        sources = list(dict.fromkeys(self.source))
        found = (self.expectation(source) for source in (sources if len(sources) > 1 else ()))
        return tuple(one for one in found if one is not None)


def new_labels_of_run(run: SavedRun, confidence: float = CONFIDENCE) -> tuple[NewLabels, ...]:
    """The new labels of all generations that have some, in their order.

    Args:
        run: A run.
        confidence: Confidence of the error found.
    """
    found = (new_labels(one, confidence) for one in run.generations())
    return tuple(one for one in found if one is not None)


def new_labels(generation: Generation, confidence: float = CONFIDENCE) -> NewLabels | None:
    """The new labels of a generation; None if it has bought none yet.

    Args:
        generation: A generation.
        confidence: Confidence of the error found.
    """
    frames, failures = generation.labelled(), generation.label_failures()
    if not frames and not failures:
        return None
    expected = generation.expected_errors() if frames else None
    sigma, error = _sigma_and_error(frames)
    law = None if expected is None else expected.forces
    return NewLabels(
        generation=generation.number,
        source=tuple(str(atoms.info.get("source", "")) for atoms in frames),
        sigma=sigma,
        error=error,
        expected=np.full(len(frames), math.nan) if law is None else law(sigma),
        factor=math.nan if law is None else law.ratios[law.rank() - 1],
        confidence=math.nan if law is None else law.confidence_of(CONFIDENCE),
        n_bounding=0 if law is None else len(law.ratios),
        # Bounds are those of the labels, unless there were too few of them.
        by_test=law is not None and expected is not None and len(law.ratios) > expected.n_labels,
        n_refused=sum(error.is_geometry for _, error in failures),
        stop_confidence=confidence,
        error_found=error_found(Labelled(frames, failures, 0, 0), confidence),
    )


def ratio_on_test_set(generation: Generation) -> tuple[float, int]:
    """Median ratio of errors of forces to σ_F on the test structures of a generation, and their number."""
    frames = [atoms for atoms in generation.predictions() if atoms.info.get("split") == "test"]
    sigma, error = _sigma_and_error(frames)
    return _median_ratio(error, sigma), int(_comparable(error, sigma).sum())


def _sigma_and_error(frames: Sequence[Atoms]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    return np.array([force_sigma(atoms) for atoms in frames]), np.array([force_error(atoms) for atoms in frames])


def _comparable(error: Float[np.ndarray, " n"], sigma: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    return np.asarray(np.isfinite(error) & np.isfinite(sigma) & (sigma > 0))


def _median_ratio(error: Float[np.ndarray, " n"], sigma: Float[np.ndarray, " n"]) -> float:
    known = _comparable(error, sigma)
    return float(np.median(error[known] / sigma[known])) if known.any() else math.nan
