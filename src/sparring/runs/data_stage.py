"""The stage `data` on disk: the labelled structures, who learns from which, and what a run could not begin with."""

import json
from dataclasses import replace
from pathlib import Path

from sparring.atoms.dataset import Dataset
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.runs.failures import failure_of, rows_of, write_failures
from sparring.runs.loop import State
from sparring.starting_data.base import StartFailure, count_reasons
from sparring.starting_data.isolated import atomic_energies, reference_atoms
from sparring.support.files import write_text
from sparring.training.splits import Splits

__all__ = ["STARTING", "data_metrics", "read_data", "write_data"]

ISOLATED, STARTING = "isolated_atoms.extxyz", "starting_failures.csv"


def write_data(folder: Path, state: State) -> tuple[str, ...]:
    """The labelled structures, and who learns from which."""
    write_structures(folder / "dataset.extxyz", state.dataset.to_atoms())
    members = [
        {"train": list(train), "validation": list(validation)}
        for train, validation in zip(state.splits.train, state.splits.validation, strict=True)
    ]
    write_text(folder / "splits.json", json.dumps({"test": list(state.splits.test), "members": members}) + "\n")
    names = ["dataset.extxyz", "splits.json"]
    if state.dataset.atomic_energies:
        write_structures(folder / ISOLATED, reference_atoms(state.dataset.atomic_energies))
        names.append(ISOLATED)
    if state.failures:
        failures = [(one.structure, one.error) for one in state.failures]
        write_failures(folder / STARTING, failures, name="structure")
        # For people; labelling adds its own to it.
        write_failures(folder / "failures.csv", failures)
        names.append(STARTING)
    return tuple(names)


def read_data(folder: Path) -> State:
    """The state that a generation begins with."""
    dataset = Dataset.from_atoms(read_labelled(folder / "dataset.extxyz", allow_dummy=True))
    if (folder / ISOLATED).exists():
        dataset = replace(dataset, atomic_energies=atomic_energies(read_structures(folder / ISOLATED)))
    content = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    splits = Splits(
        test=tuple(content["test"]),
        train=tuple(tuple(member["train"]) for member in content["members"]),
        validation=tuple(tuple(member["validation"]) for member in content["members"]),
    )
    failures = tuple(StartFailure(row["structure"], failure_of(row)) for row in rows_of(folder / STARTING))
    return State(int(folder.name.removeprefix("generation-")), dataset, splits, failures)


def data_metrics(state: State) -> dict[str, object]:
    """How many structures there are, and what a run could not begin with."""
    metrics: dict[str, object] = {"n_structures": len(state.dataset)}
    if state.dataset.has_forces is not None:
        metrics["n_with_forces"] = state.dataset.n_with_forces
    if state.failures:
        reasons = count_reasons(state.failures)
        metrics["start"] = {"n_labelled": len(state.dataset), "n_failed": len(state.failures), "reasons": reasons}
    return metrics
