"""The stage `data` on disk: labelled structures, splits, and failed labels of starting structures."""

import json
from pathlib import Path

from sparring.inputs.extxyz import write_structures
from sparring.runs.failures import failure_of, write_failures
from sparring.runs.generation import DATASET, FAILURES, ISOLATED, SPLITS, STARTING_FAILURES, Generation
from sparring.runs.results import Labelled, State
from sparring.starting_data.base import StartFailure, count_reasons
from sparring.starting_data.isolated import reference_atoms
from sparring.support.files import write_text

__all__ = ["data_metrics", "labels_of", "read_data", "write_data"]


def write_data(folder: Path, state: State) -> tuple[str, ...]:
    """Write the labelled structures, the splits, and failed labels of starting structures."""
    write_structures(folder / DATASET, state.dataset.to_atoms())
    members = [
        {"train": list(train), "validation": list(validation)}
        for train, validation in zip(state.splits.train, state.splits.validation, strict=True)
    ]
    write_text(folder / SPLITS, json.dumps({"test": list(state.splits.test), "members": members}) + "\n")
    names = [DATASET, SPLITS]
    if state.dataset.atomic_energies:
        write_structures(folder / ISOLATED, reference_atoms(state.dataset.atomic_energies))
        names.append(ISOLATED)
    if state.failures:
        failures = [(one.structure, one.error) for one in state.failures]
        write_failures(folder / STARTING_FAILURES, failures, name="structure")
        # For users; the stage `label` writes it again with its own failures at the end.
        write_failures(folder / FAILURES, failures)
        names.append(STARTING_FAILURES)
    return tuple(names)


def read_data(folder: Path) -> State:
    """The state at the beginning of a generation."""
    saved = Generation(folder)
    failures = tuple(StartFailure(row["structure"], failure_of(row)) for row in saved.starting_rows())
    return State(saved.number, saved.dataset(), saved.splits(), failures, _found_before(saved))


def _found_before(saved: Generation) -> Labelled | None:
    """The labels of the generation before; None if there is none in the run folder."""
    before = saved.before
    return labels_of(before) if "label" in before.stages_done else None


def labels_of(saved: Generation) -> Labelled:
    """The labelled candidates of a generation, and the failed labels."""
    return Labelled(saved.labelled(), saved.label_failures(), **saved.counts())


def data_metrics(state: State) -> dict[str, object]:
    """Number of structures, and of starting structures whose labels failed."""
    metrics: dict[str, object] = {"n_structures": len(state.dataset)}
    if state.dataset.has_forces is not None:
        metrics["n_with_forces"] = state.dataset.n_with_forces
    if state.dataset.stress is not None:
        metrics["n_with_stress"] = state.dataset.n_with_stress
    if state.failures:
        reasons = count_reasons(state.failures)
        metrics["start"] = {"n_labelled": len(state.dataset), "n_failed": len(state.failures), "reasons": reasons}
    return metrics
