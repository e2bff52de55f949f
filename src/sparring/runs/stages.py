"""Codecs of the stages of a generation: how a result is written and read, and its numbers for ``metrics.json``."""

import csv
import io
import json
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
from sparring.committee_files import EXPECTED, write_committee
from sparring.evaluation import Errors
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.proposers.results import AttackResult
from sparring.runs import generation
from sparring.runs.data_stage import data_metrics, labels_of, read_data, write_data
from sparring.runs.failures import failure_of, write_failures
from sparring.runs.generation import Generation
from sparring.runs.loop import Attacked
from sparring.runs.manifests import TITLES
from sparring.runs.results import Chosen, Evaluated, Fitted, Labelled
from sparring.selection import SelectionStep
from sparring.support.files import write_bytes, write_text
from sparring.training.fitting import FitReport

__all__ = ["CODECS", "TITLES", "Codec"]

OUTCOME = ("best_step", "status")
PARTS = ("source", "unconditional")
PREDICTIONS = ("objective", "committee_energy", "energy_variance", "force_variance")
PATHS = ("objective", "energy", "energy_variance", "force_variance", "positions")


class Codec(NamedTuple):
    """One stage on disk.

    Attributes:
        write: Function that writes the result into the folder of the generation and returns the names of the files.
        read: Function that reads the result.
        metrics: Function that computes the numbers for ``metrics.json``.
    """

    write: Callable[[Path, Any], tuple[str, ...]]
    read: Callable[[Path], Any]
    metrics: Callable[[Any], Mapping[str, object]]


# --- fit ------------------------------------------------------------------------------------------------------------

COLUMNS = ("epoch", "member", "train_loss", "validation_loss", "learning_rate")


def write_fit(folder: Path, fitted: Fitted) -> tuple[str, ...]:
    """Write the committee, and the learning curves of its training."""
    report = fitted.report
    names = write_committee(folder, fitted.committee, fit=_fit_facts(report))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for epoch, rows in enumerate(zip(report.train_loss, report.validation_loss, report.learning_rate, strict=True)):
        for member, values in enumerate(zip(*rows, strict=True)):
            table.writerow([epoch + 1, member, *(repr(float(value)) for value in values)])
    write_text(folder / generation.CURVES, text.getvalue())
    return (*names, generation.CURVES)


def read_fit(folder: Path) -> Fitted:
    """Read the committee, and the report of its training."""
    saved = Generation(folder)
    committee, rows = saved.committee(), saved.curves()
    facts = json.loads(saved.committee_files[1].read_text(encoding="utf-8"))["fit"]
    n_members = 1 + max((int(row["member"]) for row in rows), default=len(facts["best_epoch"]) - 1)
    curves = {name: np.array([float(row[name]) for row in rows]).reshape(-1, n_members) for name in COLUMNS[2:]}
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
    """Write the committee's predictions for its own data, and its errors."""
    write_structures(folder / generation.PREDICTIONS, evaluated.predictions)
    numbers = {
        "errors": {name: _plain(part) for name, part in evaluated.errors.items()},
        "system": dict(evaluated.system),
    }
    write_text(folder / generation.EVALUATION, json.dumps(numbers, indent=1) + "\n")
    if evaluated.expected is None:
        return generation.PREDICTIONS, generation.EVALUATION
    write_text(folder / EXPECTED, json.dumps(evaluated.expected.to_dict(), indent=1) + "\n")
    return generation.PREDICTIONS, generation.EVALUATION, EXPECTED


def evaluation_metrics(evaluated: Evaluated) -> dict[str, object]:
    """Errors, and the evaluation that is special to the system."""
    errors = {name: _plain(part) for name, part in evaluated.errors.items()}
    return {"errors": errors, "system": dict(evaluated.system)}


def _plain(errors: Errors) -> dict[str, float | None]:
    """Errors as JSON; None where there are no labels to compare with, and nothing of stresses where there are none."""
    known = {name: None if math.isnan(value) else value for name, value in asdict(errors).items()}
    return {name: value for name, value in known.items() if value is not None or not name.startswith("stress")}


def _errors(part: Mapping[str, Any]) -> Errors:
    known: dict[str, Any] = {name: math.nan if value is None else value for name, value in part.items()}
    return Errors(**known)


def read_evaluated(folder: Path) -> Evaluated:
    """Read the committee's predictions for its own data, and its errors."""
    saved = Generation(folder)
    predictions, numbers = saved.predictions(), saved.evaluation()
    return Evaluated(
        predictions=predictions,
        force_variance=np.array([float(atoms.info["force_variance"]) for atoms in predictions]),
        errors={name: _errors(part) for name, part in numbers["errors"].items()},
        system=numbers["system"],
        expected=saved.expected_errors(),
    )


# --- attack ---------------------------------------------------------------------------------------------------------


def attack_frames(candidates: Candidates, seeds: Sequence[int], heirs: Sequence[Atoms] = ()) -> list[Atoms]:
    """Every candidate with the committee's predictions; those that are not finite are left out.

    Args:
        candidates: Candidates of a proposer.
        seeds: Number of the seed of each.
        heirs: The same geometries with what they inherit from their seeds; without it, they have the geometry only.
    """
    _, status = _outcome(candidates)
    frames = [atoms.copy() for atoms in heirs] or candidates.structures.to_atoms()
    for index, atoms in enumerate(frames):
        atoms.info.update(seed=seeds[index], status=int(status[index]))
        atoms.info.update({name: value for name, value in candidates.numbers(index).items() if np.isfinite(value)})
        if candidates.source is not None:
            atoms.info["source"] = candidates.source[index]
        if candidates.unconditional is not None:
            atoms.info["unconditional"] = bool(candidates.unconditional[index])
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
    saved = Generation(folder)
    frames = read_structures(saved.file("attacks.extxyz"), allow_dummy=True)
    with np.load(saved.file("paths.npz"), allow_pickle=False) as arrays:
        strained = ("cells",) if "cells" in arrays else ()  # only where the space of the attack changes them
        tensors = {name: torch.as_tensor(arrays[name]) for name in (*PATHS, "best_step", "status", *strained)}
    candidates = AttackResult(structures=Structures.from_atoms(frames), **tensors).candidates()
    infos = [atoms.info for atoms in frames]
    candidates = candidates._replace(
        source=tuple(str(info["source"]) for info in infos) if all("source" in info for info in infos) else None,
        unconditional=np.array([info["unconditional"] for info in infos], dtype=bool)
        if all("unconditional" in info for info in infos)
        else None,
    )
    seeds = tuple(int(info["seed"]) for info in infos)
    ours = ("seed", *OUTCOME, *PREDICTIONS, *PARTS)
    for atoms in frames:
        atoms.info = {name: value for name, value in atoms.info.items() if name not in ours}
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
    """Write the chosen candidates, and the number that each step of the selection kept."""
    write_structures(folder / generation.SELECTED, chosen.atoms)
    write_text(folder / generation.SELECTION, json.dumps([step._asdict() for step in chosen.steps], indent=1) + "\n")
    return generation.SELECTED, generation.SELECTION


def read_chosen(folder: Path) -> Chosen:
    """Read the chosen candidates, and the number that each step of the selection kept."""
    saved = Generation(folder)
    return Chosen(saved.selected(), tuple(SelectionStep(**step) for step in saved.selection()))


# --- label ----------------------------------------------------------------------------------------------------------


def write_labelled(folder: Path, labelled: Labelled) -> tuple[str, ...]:
    """Write the labelled candidates, and the failed labels after those of starting structures."""
    write_structures(folder / generation.LABELLED, labelled.atoms)
    starting = [(row["structure"], failure_of(row)) for row in Generation(folder).starting_rows()]
    write_failures(folder / generation.FAILURES, [*starting, *labelled.failures])
    counts = {"n_computed": labelled.n_computed, "n_reused": labelled.n_reused}
    write_text(folder / generation.COUNTS, json.dumps(counts) + "\n")
    return generation.LABELLED, generation.FAILURES, generation.COUNTS


def read_labelled_stage(folder: Path) -> Labelled:
    """Read the labelled candidates, and the failed labels."""
    return labels_of(Generation(folder))


def label_metrics(labelled: Labelled) -> dict[str, object]:
    """Numbers of labels that were requested, computed, reused and failed."""
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
