"""Results of the stages of a generation, and the state with which it begins."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.evaluation import Errors
from sparring.expected_error import ExpectedErrors
from sparring.labels import LabelError
from sparring.selection import SelectionStep
from sparring.starting_data.base import StartFailure
from sparring.training.fitting import FitReport
from sparring.training.splits import Splits

__all__ = ["Chosen", "Evaluated", "Fitted", "Labelled", "State"]


class State(NamedTuple):
    """Everything that a generation needs: the data of Algorithm 1 and their splits.

    Attributes:
        generation: Number of the generation, from 1.
        dataset: Labelled structures.
        splits: Test set, and training and validation set of each member.
        failures: Starting structures without a usable label; empty after the first generation.
        found: Labels of the generation before, with the predictions of its committee; None in the first.
    """

    generation: int
    dataset: Dataset
    splits: Splits
    failures: tuple[StartFailure, ...] = ()
    found: "Labelled | None" = None


class Fitted(NamedTuple):
    """A trained committee, and the report of its training."""

    committee: Committee
    report: FitReport


class Evaluated(NamedTuple):
    """Predictions of a committee for its own data, and the evaluation that is special to the system.

    Attributes:
        predictions: Data set with the committee's energies, forces and variances.
        force_variance: Force variance of each structure of the data set, in (eV/Å)².
        errors: Errors on the structures that members were trained on, and on those that no member has seen.
        system: Named results of the system's own evaluation.
        expected: Expected errors by labels that are known so far; None if there are too few.
    """

    predictions: list[Atoms]
    force_variance: Float[np.ndarray, " n_structures"]
    errors: Mapping[str, Errors]
    system: Mapping[str, object]
    expected: ExpectedErrors | None = None


class Chosen(NamedTuple):
    """Candidates that were chosen for labelling.

    Attributes:
        atoms: Chosen candidates.
        steps: Number of candidates that each step of the selection kept.
    """

    atoms: list[Atoms]
    steps: tuple[SelectionStep, ...]


class Labelled(NamedTuple):
    """Labels of the chosen candidates.

    Attributes:
        atoms: Labelled structures with the predictions of the committee before it was trained on them.
        failures: Failed labels by the number of their candidate.
        n_computed: Number of labels that were computed.
        n_reused: Number of labels that were in the store.
    """

    atoms: list[Atoms]
    failures: tuple[tuple[int, LabelError], ...]
    n_computed: int
    n_reused: int
