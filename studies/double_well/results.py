"""Results of the loops of a double well: all loops in a folder, and their quartiles as a record."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from sparring.systems.wells import grid_structures
from studies.double_well.protocol import WELLS, Protocol

__all__ = ["ERRORS", "NAMES", "Record", "Study", "aggregate", "by_labels", "merge", "n_loops", "studies"]

Quantity: TypeAlias = Callable[[Mapping[str, Any]], float]
"""A function that gives one number of a generation."""
Record: TypeAlias = Mapping[str, Any]
"""The results of a study as JSON."""

NAMES = {"adversarial": "adversarial", "random": "random", "md": "MD"}
ERRORS: dict[str, Quantity] = {
    "RMSE on the grid": lambda one: one["rmse"],
    "RMSE within ±1.2 Å": lambda one: one["rmse_inner"],
    "RMSE where E < 5 eV": lambda one: one["rmse_below"]["5"],
    "RMSE where E < 0": lambda one: one["rmse_below"]["0"],
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """All loops of one protocol that have been computed.

    Attributes:
        name: Name of the folder.
        protocol: All choices.
        groups: Contents of the files.
        files: Files of the groups.
    """

    name: str
    protocol: Protocol
    groups: tuple[Mapping[str, Any], ...]
    files: tuple[Path, ...]

    def loops(self, strategy: str) -> list[Mapping[str, Any]]:
        """Loops of a strategy, by number."""
        found = [one for group in self.groups for one in group["loops"] if one["strategy"] == strategy]
        return sorted(found, key=lambda one: int(one["loop"]))

    @property
    def strategies(self) -> list[str]:
        """Strategies that have loops."""
        return [name for name in NAMES if self.loops(name)]

    @cached_property
    def lowest(self) -> float:
        """Energy of the deeper minimum, in eV: energies of samples are given above it."""
        well = WELLS[self.protocol.well]
        return float(well.energies(grid_structures(well, 401).positions.numpy()).min())

    def values(self, strategy: str, quantity: Quantity) -> np.ndarray:
        """A quantity of every loop (rows) and generation (columns)."""
        return np.array([[quantity(generation) for generation in loop["generations"]] for loop in self.loops(strategy)])

    def sampled(self, strategy: str, average: Callable[[np.ndarray], Any] = np.median) -> np.ndarray:
        """Average energy of each loop's new points above the minimum, by generation, in eV; nan without any."""

        def quantity(generation: Mapping[str, Any]) -> float:
            energies = np.array(generation.get("sampled_energy", ()))
            return float(average(energies - self.lowest)) if len(energies) else float("nan")

        return self.values(strategy, quantity)


def studies(folder: Path) -> list[Study]:
    """All studies in a folder, the largest first.

    Raises:
        ValueError: If the folder has no finished loops.
    """
    found = []
    for file in sorted(folder.glob("*/protocol.json")):
        files = tuple(sorted(file.parent.glob("*-*-*.json")))
        if files:
            groups = tuple(json.loads(group.read_text(encoding="utf-8")) for group in files)
            protocol = Protocol(**json.loads(file.read_text(encoding="utf-8")))
            found.append(Study(name=file.parent.name, protocol=protocol, groups=groups, files=files))
    if not found:
        raise ValueError(f"{folder} has no finished loops; compute some: python -m studies.double_well run")
    return _largest_first(found)


def _largest_first(studies: Iterable[Study]) -> list[Study]:
    return sorted(studies, key=lambda study: _rank(study.name, study.protocol, len(study.loops(study.strategies[0]))))


def _rank(name: str, protocol: Protocol, n_loops: int) -> tuple[int, int, str]:
    return -n_loops, -protocol.n_coordinates, name


# --- the record -----------------------------------------------------------------------------------------------------


def aggregate(study: Study) -> Record:
    """The record of a study: quartiles over its loops, as the page and its figures show them."""
    first = study.groups[0]
    return {
        "version": first["version"],
        "torch": first["torch"],
        "protocol": first["protocol"],
        "wall_time": sum(group["wall_time"] for group in study.groups),
        "cpu_time": sum(group["cpu_time"] for group in study.groups),
        "summary": summary(study),
        "curves": {strategy: curves(study, strategy) for strategy in study.strategies},
        "last_generation": {strategy: last_generation(study, strategy) for strategy in study.strategies},
    }


def last_generation(study: Study, strategy: str) -> dict[str, list[Any]]:
    """Number, error and labels of every loop in its last generation."""
    loops = study.loops(strategy)
    return {
        "loop": [loop["loop"] for loop in loops],
        "rmse": [round(loop["generations"][-1]["rmse"], 4) for loop in loops],
        "n_labels": [loop["generations"][-1]["n_labels"] for loop in loops],
    }


def merge(current: Mapping[str, Record], earlier: Mapping[str, Record]) -> dict[str, Record]:
    """Records of both by name, the largest study first; of two with one name the one with more loops."""
    merged = dict(current)
    for name, record in earlier.items():
        if name not in merged or sum(n_loops(record).values()) > sum(n_loops(merged[name]).values()):
            merged[name] = record

    def rank(item: tuple[str, Record]) -> tuple[int, int, str]:
        name, record = item
        return _rank(name, Protocol(**record["protocol"]), next(iter(n_loops(record).values())))

    return dict(sorted(merged.items(), key=rank))


def n_loops(record: Record) -> dict[str, int]:
    """Number of loops by strategy."""
    return {strategy: one["n_loops"] for strategy, one in record["summary"]["strategies"].items()}


def curves(study: Study, strategy: str) -> dict[str, Any]:
    """Curves of Fig. 2b: error, labels and sampled energy by generation, and the error by the number of labels."""
    rmse = study.values(strategy, lambda one: one["rmse"])
    n_labels = study.values(strategy, lambda one: one["n_labels"])
    generation = np.arange(1, rmse.shape[1] + 1)
    return {
        "error": curve(generation, rmse),
        "labels": curve(generation, n_labels),
        "energy": curve(generation[:-1], study.sampled(strategy)[:, :-1]),
        "error_by_labels": curve(*by_labels(n_labels, rmse)),
    }


def curve(x: np.ndarray, values: np.ndarray) -> dict[str, list[Any]]:
    """Quartiles of loops (rows) at each x (columns), where at least half of the loops have a value."""
    known = np.isfinite(values).sum(0) * 2 >= len(values)
    return {"x": x[known].tolist(), "quartiles": quartiles(values[:, known])}


def by_labels(n_labels: np.ndarray, rmse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The error of each loop's newest committee at each number of labels; nan after the last committee."""
    counts = np.arange(n_labels.min(), n_labels.max() + 1)
    rows = np.full((len(rmse), len(counts)), np.nan)
    for row, (loop, errors) in enumerate(zip(n_labels, rmse, strict=True)):
        newest = np.searchsorted(loop, counts, side="right") - 1
        rows[row] = np.where(counts <= loop[-1], errors[newest], np.nan)
    return counts, rows


def quartiles(values: np.ndarray) -> list[list[float | None]]:
    """Lower quartile, median and upper quartile of each column; None where no loop has a value."""
    rows: list[list[float | None]] = []
    for column in values.T:
        known = column[np.isfinite(column)]
        rows.append([round(float(q), 5) for q in np.percentile(known, (25, 50, 75))] if len(known) else [None] * 3)
    return rows


def summary(study: Study) -> dict[str, Any]:
    """Medians and quartiles by generation, and ratios of the other strategies to adversarial sampling."""
    strategies = {}
    for strategy in study.strategies:
        by_generation = {
            "n_labels": quartiles(study.values(strategy, lambda one: one["n_labels"])),
            "sampled_median_above_minimum": quartiles(study.sampled(strategy)),
            "sampled_mean_above_minimum": quartiles(study.sampled(strategy, np.mean)),
            **{name: quartiles(study.values(strategy, quantity)) for name, quantity in ERRORS.items()},
        }
        strategies[strategy] = {"n_loops": len(study.loops(strategy)), "quartiles_by_generation": by_generation}
    compared = {
        strategy: comparison(study, strategy) for strategy in study.strategies[1:] if "adversarial" in study.strategies
    }
    return {"strategies": strategies, "compared_with_adversarial": compared}


def comparison(study: Study, other: str) -> dict[str, float]:
    """Ratios of the medians of another strategy to those of adversarial sampling, in the last generation."""

    def ratio(values: Callable[[str], np.ndarray]) -> float:
        ours, theirs = (float(np.nanmedian(values(strategy))) for strategy in ("adversarial", other))
        return round(theirs / ours, 3)

    def last(quantity: Quantity, strategy: str) -> np.ndarray:
        return study.values(strategy, quantity)[:, -1]

    pairs = {}
    for strategy in ("adversarial", other):
        pairs[strategy] = {loop["loop"]: loop["generations"][-1]["rmse"] for loop in study.loops(strategy)}
    common = pairs["adversarial"].keys() & pairs[other].keys()
    return {
        **{name: ratio(partial(last, quantity)) for name, quantity in ERRORS.items()},
        "labels": ratio(partial(last, lambda one: one["n_labels"])),
        "median of sampled energies, all generations": ratio(study.sampled),
        "mean of sampled energies, all generations": ratio(lambda s: study.sampled(s, np.mean)),
        "median of sampled energies, last generation": ratio(lambda s: study.sampled(s)[:, -2]),
        "mean of sampled energies, last generation": ratio(lambda s: study.sampled(s, np.mean)[:, -2]),
        "mean of sampled energies in the zero of Eq. 15, last generation": ratio(
            lambda s: study.sampled(s, np.mean)[:, -2] + study.lowest
        ),
        "share of loops with the larger error": round(
            float(np.mean([pairs[other][i] > pairs["adversarial"][i] for i in common])), 3
        ),
    }
