"""How the result of each stage of a generation is written, read, and summed up in numbers."""

import csv
import io
import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Int

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Status
from sparring.committee_files import read_committee, write_committee
from sparring.evaluation import Errors
from sparring.inputs.extxyz import read_labelled, read_structures, write_structures
from sparring.labels import LabelError
from sparring.proposers.results import AttackResult
from sparring.runs.data_stage import STARTING, data_metrics, read_data, write_data
from sparring.runs.failures import failure_of, read_failures, rows_of, write_failures
from sparring.runs.loop import Attacked, Chosen, Evaluated, Fitted, Labelled
from sparring.selection import SelectionStep
from sparring.support.files import write_bytes, write_text
from sparring.training.fitting import FitReport

__all__ = ["CODECS", "TITLES", "Codec", "label_failures", "starting_failures"]

logger = logging.getLogger(__name__)

TITLES = {
    "data": "data",
    "fit": "training",
    "evaluate": "evaluation",
    "attack": "attack",
    "select": "selection",
    "label": "labelling",
}
"""The stages of a generation in their order, and what people call them."""

OUTCOME = ("best_step", "status")
PREDICTIONS = ("objective", "committee_energy", "energy_variance", "force_variance")
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


# --- evaluate -------------------------------------------------------------------------------------------------------


def write_evaluated(folder: Path, evaluated: Evaluated) -> tuple[str, ...]:
    """The committee's predictions of its own data, and the numbers made of them."""
    write_structures(folder / "predictions.extxyz", evaluated.predictions)
    numbers = {
        "errors": {name: _plain(part) for name, part in evaluated.errors.items()},
        "system": dict(evaluated.system),
    }
    write_text(folder / "evaluation.json", json.dumps(numbers, indent=1) + "\n")
    return "predictions.extxyz", "evaluation.json"


def evaluation_metrics(evaluated: Evaluated) -> dict[str, object]:
    """Errors, and what is special to the system."""
    errors = {name: _plain(part) for name, part in evaluated.errors.items()}
    return {"errors": errors, "system": dict(evaluated.system)}


def _plain(errors: Errors) -> dict[str, float | None]:
    """Errors as JSON has them: None for those of forces where there are none to compare with."""
    return {name: None if math.isnan(value) else value for name, value in asdict(errors).items()}


def _errors(part: Mapping[str, Any]) -> Errors:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in part.items()}
    return Errors(**known)


def read_evaluated(folder: Path) -> Evaluated:
    """The committee's predictions of its own data, and the numbers made of them."""
    predictions = read_labelled(folder / "predictions.extxyz", allow_dummy=True)
    numbers = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return Evaluated(
        predictions=predictions,
        force_variance=np.array([float(atoms.info["force_variance"]) for atoms in predictions]),
        errors={name: _errors(part) for name, part in numbers["errors"].items()},
        system=numbers["system"],
    )


# --- attack ---------------------------------------------------------------------------------------------------------


def attack_frames(candidates: Candidates, seeds: Sequence[int], heirs: Sequence[Atoms] = ()) -> list[Atoms]:
    """Every candidate with the committee's predictions; those that are not finite are left out.

    Args:
        candidates: Candidates of a proposer.
        seeds: Number of the seed of each.
        heirs: The same geometries with what they inherit from their seeds; without it, they have the geometry only.
    """
    best_step, status = _outcome(candidates)
    predictions = (candidates.score, candidates.energy, candidates.energy_variance, candidates.force_variance)
    frames = [atoms.copy() for atoms in heirs] or candidates.structures.to_atoms()
    for index, atoms in enumerate(frames):
        atoms.info.update(seed=seeds[index], best_step=int(best_step[index]), status=int(status[index]))
        named = zip(PREDICTIONS, predictions, strict=True)
        atoms.info.update({name: float(values[index]) for name, values in named if np.isfinite(values[index])})
    return frames


def _outcome(candidates: Candidates) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Best step and status of every candidate."""
    zeros = np.zeros(candidates.structures.n_structures, dtype=np.int64)
    paths, status = candidates.paths, candidates.status
    return zeros if paths is None else paths.best_step.cpu().numpy(), zeros if status is None else status


def write_attacked(folder: Path, attacked: Attacked) -> tuple[str, ...]:
    """The candidates, and the paths to them; without paths, each is a path of one point."""
    candidates = attacked.candidates
    write_structures(folder / "attacks.extxyz", attack_frames(candidates, attacked.seeds, attacked.heirs))
    if (paths := candidates.paths) is not None:
        arrays = {name: getattr(paths, name).cpu().numpy() for name in PATHS}
    else:
        points = (candidates.score, candidates.energy, candidates.energy_variance, candidates.force_variance)
        positions = candidates.structures.positions.detach().cpu().numpy()
        arrays = {name: values[np.newaxis] for name, values in zip(PATHS, (*points, positions), strict=True)}
    arrays["best_step"], arrays["status"] = _outcome(candidates)
    if paths is not None and paths.cells is not None:
        arrays["cells"] = paths.cells.cpu().numpy()
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_bytes(folder / "paths.npz", content.getvalue())
    return "attacks.extxyz", "paths.npz"


def read_attacked(folder: Path) -> Attacked:
    """The candidates, and the paths to them."""
    frames = read_structures(folder / "attacks.extxyz", allow_dummy=True)
    with np.load(folder / "paths.npz", allow_pickle=False) as arrays:
        strained = ("cells",) if "cells" in arrays else ()  # only where the space of the attack changes them
        tensors = {name: torch.as_tensor(arrays[name]) for name in (*PATHS, "best_step", "status", *strained)}
    candidates = AttackResult(structures=Structures.from_atoms(frames), **tensors).candidates()
    seeds = tuple(int(atoms.info["seed"]) for atoms in frames)
    for atoms in frames:
        atoms.info = {name: value for name, value in atoms.info.items() if name not in ("seed", *OUTCOME, *PREDICTIONS)}
    return Attacked(candidates, seeds, tuple(frames))


def attack_metrics(attacked: Attacked) -> dict[str, object]:
    """Number of candidates, and of those whose search was stopped."""
    candidates = attacked.candidates
    return {
        "attack": {
            "n_seeds": len(attacked.seeds),
            "n_not_finite": candidates.count(Status.NOT_FINITE),
            "n_overlap": candidates.count(Status.OVERLAP),
            "n_energy_fell": int(candidates.energy_fell().sum()),
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
    starting = [(row["structure"], failure_of(row)) for row in rows_of(folder / STARTING)]
    write_failures(folder / "failures.csv", [*starting, *labelled.failures])
    counts = {"n_computed": labelled.n_computed, "n_reused": labelled.n_reused}
    write_text(folder / "labels.json", json.dumps(counts) + "\n")
    return "labelled.extxyz", "failures.csv", "labels.json"


def read_labelled_stage(folder: Path) -> Labelled:
    """The newly labelled, and the failures with their reasons."""
    atoms = read_labelled(folder / "labelled.extxyz", allow_dummy=True, allow_empty=True)
    failures = label_failures(folder)
    return Labelled(atoms, failures, **json.loads((folder / "labels.json").read_text(encoding="utf-8")))


def label_failures(folder: Path) -> tuple[tuple[int, LabelError], ...]:
    """The failed labels of a generation by the number of their candidate."""
    # In the first generation, those of starting structures come before.
    rows = rows_of(folder / "failures.csv")[len(rows_of(folder / STARTING)) :]
    return tuple((int(row["candidate"]), failure_of(row)) for row in rows)


def starting_failures(folder: Path) -> list[LabelError]:
    """The failed labels of structures that a run was to begin with; none in later generations."""
    return read_failures(folder / STARTING)


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
    "data": Codec(write_data, read_data, data_metrics),
    "fit": Codec(
        write_fit,
        read_fit,
        lambda fitted: {"n_members": fitted.committee.n_members, "fit": _fit_facts(fitted.report)},
    ),
    "evaluate": Codec(write_evaluated, read_evaluated, evaluation_metrics),
    "attack": Codec(write_attacked, read_attacked, attack_metrics),
    "select": Codec(write_chosen, read_chosen, lambda chosen: {"selection": [step._asdict() for step in chosen.steps]}),
    "label": Codec(write_labelled, read_labelled_stage, label_metrics),
}
