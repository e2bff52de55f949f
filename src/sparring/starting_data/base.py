"""Starting data of a run: labelled structures, and those without a usable label."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ase import Atoms
from ase.data import chemical_symbols

from sparring.atoms.dataset import Dataset
from sparring.labels.base import LabelError
from sparring.starting_data.isolated import atomic_energies, missing_elements

__all__ = ["StartFailure", "Starting", "count_reasons", "described", "in_words", "note_forces", "references"]

logger = logging.getLogger(__name__)


class StartFailure(NamedTuple):
    """A structure without a usable label: its source, and the failure."""

    structure: str
    error: LabelError


class Starting(NamedTuple):
    """Labelled starting structures, with isolated atoms, and the failures."""

    atoms: Sequence[Atoms]
    failures: tuple[StartFailure, ...] = ()


def described(info: Mapping[str, object]) -> str:
    """Source of a structure from its `info`, in a few words: "frame 3", "normal_mode of frame 3", "langevin"."""
    source, frame = str(info.get("source", "no source")), info.get("frame")
    if source == "file":
        return "file" if frame is None else f"frame {frame}"
    return source if frame is None else f"{source} of frame {frame}"


def count_reasons(failures: Sequence[StartFailure]) -> dict[str, int]:
    """Number of failures by reason, the most frequent first."""
    return dict(Counter(failure.error.reason for failure in failures).most_common())


def in_words(failures: Sequence[StartFailure]) -> str:
    """The failures in words: "3 failed (force 2, crashed 1); the first: ..."."""
    if not failures:
        return "none failed"
    counts = ", ".join(f"{reason} {count}" for reason, count in count_reasons(failures).items())
    return f"{len(failures)} failed ({counts}); the first: {failures[0].error}"


def references(isolated: Sequence[Atoms], dataset: Dataset) -> dict[int, float]:
    """Energies of the elements in eV from isolated atoms; none unless every element of the data set has one."""
    if not isolated:
        return {}
    energies = atomic_energies(isolated)
    missing = missing_elements(energies, dataset.structures.atomic_numbers.unique().tolist())
    if missing:
        logger.warning(
            "isolated atoms are left out, because there is no neutral one of %s; add it to use them", ", ".join(missing)
        )
        return {}
    shown = ", ".join(f"{chemical_symbols[number]} {energy:.4f} eV" for number, energy in energies.items())
    logger.warning("isolated atoms give the elements their energies, and are not trained on: %s", shown)
    return energies


def note_forces(dataset: Dataset) -> None:
    """Log how many structures have energies only, and how many have a stress."""
    n_without = len(dataset) - dataset.n_with_forces
    if n_without == len(dataset):
        logger.warning("no structure has forces: forces are learnt from %d energies only", n_without)
    elif n_without:
        logger.warning("%d of %d structures have an energy without forces; all are trained on", n_without, len(dataset))
    if dataset.n_with_stress:
        logger.warning("%d of %d structures have a stress", dataset.n_with_stress, len(dataset))
