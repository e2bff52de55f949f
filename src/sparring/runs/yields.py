"""The yield of each proposer of a portfolio in each generation: labels spent, and the errors that they uncovered."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.atoms.reference import ENERGY, FORCES, forces_mask
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun

__all__ = ["Yield", "yields", "yields_of_run"]


@dataclass(frozen=True, kw_only=True)
class Yield:
    """Candidates and labels of one proposer in one generation.

    Errors are those of the committee before it was trained on the labels, as means over structures: what a label of
    this proposer uncovers.

    Attributes:
        generation: Number of the generation.
        source: Source of the structures of the proposer.
        n_candidates: Number of candidates.
        n_chosen: Number of candidates that were chosen, each of which was to be labelled.
        n_refused: Number of labels that failed or were out of bounds.
        energy_error: Mean absolute error of the energy in eV; NaN without labels.
        force_error: Mean absolute error of components of forces in eV/Å; NaN without labels.
    """

    generation: int
    source: str
    n_candidates: int
    n_chosen: int
    n_refused: int
    energy_error: float
    force_error: float


def yields_of_run(run: Path) -> tuple[Yield, ...]:
    """Yields of all generations of a run; none if it has a single proposer.

    Raises:
        ConfigError: If the configuration of the run cannot be read.
    """
    saved = SavedRun(run)
    if saved.config().propose is None:
        return ()
    return tuple(one for generation in saved.generations() for one in yields(generation))


def yields(generation: Generation) -> tuple[Yield, ...]:
    """Yield of each proposer of a generation, in the order of the portfolio; none before candidates are labelled."""
    labelled, failures = generation.labelled(), generation.label_failures()
    if not (labelled or failures) or "label" not in generation.stages_done:
        return ()
    candidates = Counter(_source(atoms) for atoms in generation.attacks())
    chosen = generation.selected()
    source_of = {int(atoms.info["candidate"]): _source(atoms) for atoms in chosen}
    refused = Counter(source_of[candidate] for candidate, _ in failures)
    n_chosen = Counter(source_of.values())
    found = []
    for source in candidates:
        own = [atoms for atoms in labelled if _source(atoms) == source]
        found.append(
            Yield(
                generation=generation.number,
                source=source,
                n_candidates=candidates[source],
                n_chosen=n_chosen[source],
                n_refused=refused[source],
                energy_error=_mean([abs(_energy_error(atoms)) for atoms in own]),
                force_error=_mean([_force_error(atoms) for atoms in own]),
            )
        )
    return tuple(found)


def _source(atoms: Atoms) -> str:
    return str(atoms.info.get("source", ""))


def _energy_error(atoms: Atoms) -> float:
    difference = float(atoms.info["committee_energy"]) - float(atoms.info[ENERGY])
    return difference if forces_mask(atoms).all() else math.nan


def _force_error(atoms: Atoms) -> float:
    """Mean absolute error of the components of forces; NaN where the label has none."""
    if FORCES not in atoms.arrays:
        return math.nan
    return float(np.abs(atoms.arrays["committee_forces"] - atoms.arrays[FORCES])[forces_mask(atoms)].mean())


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan
