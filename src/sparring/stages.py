"""How the result of each stage of a generation is written, read, and summed up in numbers."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from ase import Atoms

from sparring.attacks import AttackResult, Status
from sparring.committee import Committee
from sparring.dataset import Dataset
from sparring.extxyz import read_labelled, read_structures, write_structures
from sparring.files import write_bytes, write_text
from sparring.labels import LabelError
from sparring.loop import Attacked, Chosen, Examined, Fitted, Labelled, State
from sparring.selection import SelectionStep
from sparring.splits import Splits
from sparring.structures import Structures
from sparring.training import FitReport
from sparring.validation.errors import Errors

__all__ = ["CODECS", "TITLES", "Codec", "read_committee", "write_committee"]

TITLES = {
    "data": "data",
    "fit": "training",
    "evaluate": "evaluation",
    "attack": "attack",
    "select": "selection",
    "label": "labelling",
}
"""The stages of a generation in their order, and what people call them."""

PATHS = ("objective", "energy", "energy_variance", "force_variance", "positions")


class Codec(NamedTuple):
    """One stage on disk.

    Attributes:
        write: Writes the result into the generation's folder and names the files.
        read: Reads it back.
        metrics: What of it goes into ``metrics.json``.
    """

    write: Callable[[Path, Any], tuple[str, ...]]
    read: Callable[[Path], Any]
    metrics: Callable[[Any], Mapping[str, object]]


# --- data -----------------------------------------------------------------------------------------------------------


def write_data(folder: Path, state: State) -> tuple[str, ...]:
    """The labelled structures, and who learns from which."""
    write_structures(folder / "dataset.extxyz", state.dataset.to_atoms())
    members = [
        {"train": list(train), "validation": list(validation)}
        for train, validation in zip(state.splits.train, state.splits.validation, strict=True)
    ]
    write_text(folder / "splits.json", json.dumps({"test": list(state.splits.test), "members": members}) + "\n")
    return "dataset.extxyz", "splits.json"


def read_data(folder: Path) -> State:
    """The state that a generation begins with."""
    dataset = Dataset.from_atoms(read_labelled(folder / "dataset.extxyz", allow_dummy=True))
    content = json.loads((folder / "splits.json").read_text(encoding="utf-8"))
    splits = Splits(
        test=tuple(content["test"]),
        train=tuple(tuple(member["train"]) for member in content["members"]),
        validation=tuple(tuple(member["validation"]) for member in content["members"]),
    )
    return State(int(folder.name.removeprefix("generation-")), dataset, splits)


# --- fit ------------------------------------------------------------------------------------------------------------

CURVES = ("epoch", "member", "train_loss", "validation_loss", "learning_rate")


def write_fit(folder: Path, fitted: Fitted) -> tuple[str, ...]:
    """The committee, and how it learnt."""
    report = fitted.report
    names = write_committee(folder, fitted.committee, fit=_fit_facts(report))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(CURVES)
    for epoch, rows in enumerate(zip(report.train_loss, report.validation_loss, report.learning_rate, strict=True)):
        for member, values in enumerate(zip(*rows, strict=True)):
            table.writerow([epoch + 1, member, *(repr(float(value)) for value in values)])
    write_text(folder / "training.csv", text.getvalue())
    return (*names, "training.csv")


def read_fit(folder: Path) -> Fitted:
    """The committee, and how it learnt."""
    committee = read_committee(folder)
    facts = json.loads((folder / "committee.json").read_text(encoding="utf-8"))["fit"]
    with (folder / "training.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    n_members = 1 + max(int(row["member"]) for row in rows)
    curves = {name: np.array([float(row[name]) for row in rows]).reshape(-1, n_members) for name in CURVES[2:]}
    report = FitReport(
        **curves,
        best_epoch=np.array(facts["best_epoch"]) - 1,
        rolled_back=tuple(facts["rolled_back"]),
        dropped=tuple(facts["dropped"]),
    )
    return Fitted(committee, report)


def _fit_facts(report: FitReport) -> dict[str, object]:
    return {
        "best_epoch": (report.best_epoch + 1).tolist(),  # as training.csv counts
        "rolled_back": list(report.rolled_back),
        "dropped": list(report.dropped),
    }


def write_committee(folder: Path, committee: Committee, **more: object) -> tuple[str, ...]:
    """Weights as safetensors, everything else as JSON."""
    weights, about = committee.state()
    write_bytes(folder / "committee.safetensors", safetensors.torch.save(weights))
    write_text(folder / "committee.json", json.dumps({**about, **more}, indent=1, ensure_ascii=False) + "\n")
    return "committee.safetensors", "committee.json"


def read_committee(folder: Path) -> Committee:
    """The committee of a folder.

    Raises:
        ValueError: If there is none, or its weights are damaged.
    """
    weights, about = folder / "committee.safetensors", folder / "committee.json"
    for file in (weights, about):
        if not file.exists():
            raise ValueError(f"{folder} holds no committee: there is no {file.name}; give a generation's folder")
    try:
        loaded = safetensors.torch.load(weights.read_bytes())
        return Committee.from_state(loaded, json.loads(about.read_text(encoding="utf-8")))
    except (safetensors.SafetensorError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{weights} and {about.name} cannot be read: {error}") from error


# --- evaluate -------------------------------------------------------------------------------------------------------


def write_examined(folder: Path, examined: Examined) -> tuple[str, ...]:
    """The committee's predictions of its own data, and the numbers made of them."""
    write_structures(folder / "predictions.extxyz", examined.predictions)
    numbers = {
        "errors": {name: asdict(part) for name, part in examined.errors.items()},
        "system": dict(examined.system),
    }
    write_text(folder / "evaluation.json", json.dumps(numbers, indent=1) + "\n")
    return "predictions.extxyz", "evaluation.json"


def examined_metrics(examined: Examined) -> dict[str, object]:
    """Errors, and what is special to the system."""
    errors = {name: asdict(part) for name, part in examined.errors.items()}
    return {"errors": errors, "system": dict(examined.system)}


def read_examined(folder: Path) -> Examined:
    """The committee's predictions of its own data, and the numbers made of them."""
    predictions = read_labelled(folder / "predictions.extxyz", allow_dummy=True)
    numbers = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return Examined(
        predictions=predictions,
        force_variance=np.array([float(atoms.info["force_variance"]) for atoms in predictions]),
        errors={name: Errors(**part) for name, part in numbers["errors"].items()},
        system=numbers["system"],
    )


# --- attack ---------------------------------------------------------------------------------------------------------


def attack_frames(result: AttackResult, seeds: Sequence[int]) -> list[Atoms]:
    """The best geometry of every path, with what the committee makes of it; nothing of one that never was finite."""
    best = result.best()
    frames = result.structures.to_atoms()
    for index, atoms in enumerate(frames):
        atoms.info.update(seed=seeds[index], best_step=int(result.best_step[index]), status=int(result.status[index]))
        seen = zip(("objective", "committee_energy", "energy_variance", "force_variance"), best, strict=True)
        atoms.info.update({name: float(values[index]) for name, values in seen if torch.isfinite(values[index])})
    return frames


def write_attacked(folder: Path, attacked: Attacked) -> tuple[str, ...]:
    """The best geometry of every path, and the paths."""
    result = attacked.result
    write_structures(folder / "attacks.extxyz", attack_frames(result, attacked.seeds))
    arrays = {name: getattr(result, name).cpu().numpy() for name in (*PATHS, "best_step", "status")}
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(folder / "paths.npz", content.getvalue())
    return "attacks.extxyz", "paths.npz"


def read_attacked(folder: Path) -> Attacked:
    """The best geometry of every path, and the paths."""
    frames = read_structures(folder / "attacks.extxyz", allow_dummy=True)
    with np.load(folder / "paths.npz", allow_pickle=False) as arrays:
        tensors = {name: torch.as_tensor(arrays[name]) for name in (*PATHS, "best_step", "status")}
    result = AttackResult(structures=Structures.from_atoms(frames), **tensors)
    return Attacked(result, tuple(int(atoms.info["seed"]) for atoms in frames))


def attack_metrics(attacked: Attacked) -> dict[str, object]:
    """How many attacks there were, and how many were stopped."""
    result = attacked.result
    return {
        "attack": {
            "n_seeds": len(attacked.seeds),
            "n_not_finite": result.count(Status.NOT_FINITE),
            "n_overlap": result.count(Status.OVERLAP),
        }
    }


# --- select ---------------------------------------------------------------------------------------------------------


def write_chosen(folder: Path, chosen: Chosen) -> tuple[str, ...]:
    """The chosen candidates, and how many each step let through."""
    write_structures(folder / "selected.extxyz", chosen.atoms)
    write_text(folder / "selection.json", json.dumps([step._asdict() for step in chosen.steps], indent=1) + "\n")
    return "selected.extxyz", "selection.json"


def read_chosen(folder: Path) -> Chosen:
    """The chosen candidates, and how many each step let through."""
    atoms = read_structures(folder / "selected.extxyz", allow_dummy=True, allow_empty=True)
    steps = json.loads((folder / "selection.json").read_text(encoding="utf-8"))
    return Chosen(atoms, tuple(SelectionStep(**step) for step in steps))


# --- label ----------------------------------------------------------------------------------------------------------


def write_labelled(folder: Path, labelled: Labelled) -> tuple[str, ...]:
    """The newly labelled, and the failures with their reasons."""
    write_structures(folder / "labelled.extxyz", labelled.atoms)
    write_failures(folder / "failures.csv", labelled.failures)
    counts = {"n_computed": labelled.n_computed, "n_reused": labelled.n_reused}
    write_text(folder / "labels.json", json.dumps(counts) + "\n")
    return "labelled.extxyz", "failures.csv", "labels.json"


def read_labelled_stage(folder: Path) -> Labelled:
    """The newly labelled, and the failures with their reasons."""
    atoms = read_labelled(folder / "labelled.extxyz", allow_dummy=True, allow_empty=True)
    with (folder / "failures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    failures = tuple((int(row["candidate"]), _failure(row)) for row in rows)
    return Labelled(atoms, failures, **json.loads((folder / "labels.json").read_text(encoding="utf-8")))


def write_failures(file: Path, failures: Iterable[tuple[int, LabelError]]) -> None:
    """Labels that failed: the number of the structure, the reason, the message, and the folder with its files."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["candidate", "reason", "message", "files"])
    table.writerows([number, error.reason, error.message, error.files or ""] for number, error in failures)
    write_text(file, text.getvalue())


def read_failures(file: Path) -> list[LabelError]:
    """The failed labels of a file; none if it is not there."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return [_failure(row) for row in csv.DictReader(stream)]


def _failure(row: Mapping[str, str]) -> LabelError:
    # Runs before there were folders of failed labels have no such column.
    files = row.get("files")
    return LabelError(row["reason"], row["message"], Path(files) if files else None)  # type: ignore[arg-type]


def label_metrics(labelled: Labelled) -> dict[str, object]:
    """How many labels were asked for, computed, found and refused."""
    return {
        "labels": {
            "n_chosen": len(labelled.atoms) + len(labelled.failures),
            "n_computed": labelled.n_computed,
            "n_reused": labelled.n_reused,
            "n_failed": len(labelled.failures),
        }
    }


CODECS: dict[str, Codec] = {
    "data": Codec(write_data, read_data, lambda state: {"n_structures": len(state.dataset)}),
    "fit": Codec(
        write_fit,
        read_fit,
        lambda fitted: {"n_members": fitted.committee.n_members, "fit": _fit_facts(fitted.report)},
    ),
    "evaluate": Codec(write_examined, read_examined, examined_metrics),
    "attack": Codec(write_attacked, read_attacked, attack_metrics),
    "select": Codec(write_chosen, read_chosen, lambda chosen: {"selection": [step._asdict() for step in chosen.steps]}),
    "label": Codec(write_labelled, read_labelled_stage, label_metrics),
}
