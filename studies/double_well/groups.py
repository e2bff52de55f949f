"""Loops in groups: each group has a file of its own, and is resumed from the generation that it has reached."""

import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

import sparring
from sparring.support.files import write_bytes, write_text
from sparring.training.splits import Splits
from studies.double_well.loops import GridPrediction, run_loops
from studies.double_well.protocol import LoopState, Protocol

__all__ = ["CHANGES", "compute", "run", "study_name"]

CHANGES: dict[str, dict[str, Any]] = {
    "2d": {},
    "1d": {"well": "1d", "n_start": 66},
}
"""Choices of the protocol that depend on the well."""


def study_name(protocol: Protocol) -> str:
    """Name of the loops of one protocol: their folder, and the name in the report."""
    name = f"{protocol.well}-{protocol.n_units}"
    usual = Protocol(**CHANGES[protocol.well], n_units=protocol.n_units)
    if protocol == usual:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(asdict(protocol)).encode()).hexdigest()[:6]}"


def run(
    protocol: Protocol, folder: Path, *, n_loops: int, group: int, strategies: Sequence[str], first_loop: int = 0
) -> None:
    """Compute the groups of a study that are missing."""
    study = folder / study_name(protocol)
    study.mkdir(parents=True, exist_ok=True)
    write_text(study / "protocol.json", json.dumps(asdict(protocol), indent=1) + "\n")
    for first in range(first_loop, first_loop + n_loops, group):
        numbers = range(first, min(first + group, first_loop + n_loops))
        name = f"{'+'.join(strategies)}-{numbers[0]:03d}-{numbers[-1]:03d}"
        file = study / f"{name}.json"
        if file.exists():
            print(f"{file}: already done", flush=True)
            continue
        print(f"{file}: {len(numbers)} loops", flush=True)
        compute(protocol, study / name, numbers, strategies)


def compute(protocol: Protocol, path: Path, numbers: Sequence[int], strategies: Sequence[str]) -> None:
    """Compute one group, or resume it, and write it to ``path`` with the endings .json and .npz."""
    part, grids = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.npz")
    before: dict[str, Any] = {"loops": [], "wall": 0.0, "cpu": 0.0}
    if part.exists():
        before = json.loads(part.read_text(encoding="utf-8"))
    began, cpu = time.time() - before["wall"], time.process_time() - before["cpu"]
    arrays = dict(np.load(grids, allow_pickle=False)) if part.exists() else {}

    def save(loops: Sequence[LoopState], predictions: Sequence[GridPrediction]) -> None:
        for one in predictions:
            key = f"{one.strategy}/{one.generation}"
            arrays[f"{key}/energy"], arrays[f"{key}/spread"] = one.energy.astype("f4"), one.spread.astype("f4")
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_bytes(grids, content.getvalue())
        times = {"wall": time.time() - began, "cpu": time.process_time() - cpu}
        write_text(part, json.dumps({"loops": [to_json(loop) for loop in loops], **times}) + "\n")

    loops = run_loops(
        protocol,
        numbers,
        strategies,
        resumed=[from_json(loop, protocol) for loop in before["loops"]],
        grid_of=numbers[0],
        log=lambda line: print(f"{time.time() - began:7.0f} s  {line}", flush=True),
        save=save,
    )
    content = {
        "version": sparring.__version__,
        "torch": torch.__version__,
        "protocol": asdict(protocol),
        "wall_time": round(time.time() - began, 1),
        "cpu_time": round(time.process_time() - cpu, 1),
        "loops": [{"loop": one.number, "strategy": one.strategy, "generations": one.record} for one in loops],
    }
    write_text(path.with_name(f"{path.name}.json"), json.dumps(content) + "\n")
    part.unlink()


def to_json(loop: LoopState) -> dict[str, Any]:
    """A loop as JSON; all members share their split."""
    splits = {"test": loop.splits.test, "train": loop.splits.train[0], "validation": loop.splits.validation[0]}
    return {**loop._asdict(), "points": loop.points.tolist(), "splits": splits}


def from_json(content: dict[str, Any], protocol: Protocol) -> LoopState:
    """The loop that `to_json` has written."""
    ids = {name: tuple(values) for name, values in content["splits"].items()}
    train, validation = ((ids[name],) * protocol.n_members for name in ("train", "validation"))
    splits = Splits(test=ids["test"], train=train, validation=validation)
    points, record = np.array(content["points"]), tuple(content["record"])
    return LoopState(content["number"], content["strategy"], points, splits, record)
