"""What the loops of a double well have found: one record of all of them, and what it comes to."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from double_well_protocol import WELLS, Protocol

from sparring.systems.wells import grid_structures

__all__ = ["ERRORS", "NAMES", "Study", "content", "studies", "summary", "with_recorded"]

Of: TypeAlias = Callable[[Mapping[str, Any]], float]
"""A number of what is known of a generation."""

NAMES = {"adversarial": "adversarial", "random": "random", "md": "MD"}
ERRORS: dict[str, Of] = {
    "RMSE on the grid": lambda one: one["rmse"],
    "RMSE within ±1.2 Å": lambda one: one["rmse_inner"],
    "RMSE where E < 5 eV": lambda one: one["rmse_below"]["5"],
    "RMSE where E < 0": lambda one: one["rmse_below"]["0"],
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """All loops of one protocol that have been computed.

    Attributes:
        name: Of its folder.
        protocol: Its choices.
        groups: Files of loops, as they were written; the last may be what a record has of other loops.
        files: Where they are; a record is not one of them.
    """

    name: str
    protocol: Protocol
    groups: tuple[Mapping[str, Any], ...]
    files: tuple[Path, ...]

    def loops(self, strategy: str) -> list[Mapping[str, Any]]:
        """By their number."""
        found = [one for group in self.groups for one in group["loops"] if one["strategy"] == strategy]
        return sorted(found, key=lambda one: int(one["loop"]))

    @property
    def strategies(self) -> list[str]:
        """That have loops."""
        return [name for name in NAMES if self.loops(name)]

    @cached_property
    def lowest(self) -> float:
        """Energy of the deeper minimum, in eV: energies of samples are given above it."""
        well = WELLS[self.protocol.well]
        return float(well.energies(grid_structures(well, 401).positions.numpy()).min())

    def values(self, strategy: str, of: Of) -> np.ndarray:
        """Of every loop (rows) and generation (columns); NaN where there is none."""
        return np.array([[of(generation) for generation in loop["generations"]] for loop in self.loops(strategy)])

    def sampled(self, strategy: str, average: Callable[[np.ndarray], Any] = np.median) -> np.ndarray:
        """An average of the energies of each loop's new points above the minimum, by generation, in eV."""

        def of(generation: Mapping[str, Any]) -> float:
            energies = np.array(generation.get("sampled_energy", ()))
            return float(average(energies - self.lowest)) if len(energies) else float("nan")

        return self.values(strategy, of)


def studies(folder: Path) -> list[Study]:
    """What there is in a folder, the largest first.

    Raises:
        ValueError: If there is nothing.
    """
    found = []
    for here in sorted(folder.glob("*/protocol.json")):
        files = tuple(sorted(here.parent.glob("*-*-*.json")))
        if files:
            groups = tuple(json.loads(file.read_text(encoding="utf-8")) for file in files)
            protocol = Protocol(**json.loads(here.read_text(encoding="utf-8")))
            found.append(Study(name=here.parent.name, protocol=protocol, groups=groups, files=files))
    if not found:
        raise ValueError(f"{folder} holds no finished loops; compute some: python studies/double_well.py run")
    return _largest_first(found)


def with_recorded(found: Sequence[Study], record: Path) -> list[Study]:
    """The same, and the loops that only the record of an earlier report has, the largest study first."""
    known = {study.name: study for study in found}
    for name, before in json.loads(record.read_text(encoding="utf-8")).items():
        protocol = Protocol(**before["protocol"])
        study = known.get(name, Study(name=name, protocol=protocol, groups=(), files=()))
        have = {(loop["strategy"], loop["loop"]) for group in study.groups for loop in group["loops"]}
        more = [loop for loop in before["loops"] if (loop["strategy"], loop["loop"]) not in have]
        if more:
            share = len(more) / len(before["loops"])
            times = {time: share * before[time] for time in ("wall_time", "cpu_time")}
            known[name] = replace(study, groups=(*study.groups, {**before, "loops": more, **times}))
    return _largest_first(known.values())


def _largest_first(found: Iterable[Study]) -> list[Study]:
    def place(study: Study) -> tuple[int, int, str]:
        return -len(study.loops(study.strategies[0])), -study.protocol.n_coordinates, study.name

    return sorted(found, key=place)


def quartiles(values: np.ndarray) -> list[list[float | None]]:
    """Lower quartile, median and upper quartile of each column; None where no loop has a value."""
    rows: list[list[float | None]] = []
    for column in values.T:
        known = column[np.isfinite(column)]
        rows.append([round(float(q), 5) for q in np.percentile(known, (25, 50, 75))] if len(known) else [None] * 3)
    return rows


def summary(study: Study) -> dict[str, Any]:
    """Medians and quartiles by generation, and what adversarial sampling is compared with the others."""
    strategies = {}
    for strategy in study.strategies:
        by_generation = {
            "n_labels": quartiles(study.values(strategy, lambda one: one["n_labels"])),
            "sampled_median_above_minimum": quartiles(study.sampled(strategy)),
            "sampled_mean_above_minimum": quartiles(study.sampled(strategy, np.mean)),
            **{name: quartiles(study.values(strategy, of)) for name, of in ERRORS.items()},
        }
        strategies[strategy] = {"n_loops": len(study.loops(strategy)), "quartiles_by_generation": by_generation}
    compared = {
        strategy: comparison(study, strategy) for strategy in study.strategies[1:] if "adversarial" in study.strategies
    }
    return {"strategies": strategies, "compared_with_adversarial": compared}


def comparison(study: Study, other: str) -> dict[str, float]:
    """How many times larger than those of adversarial sampling the medians of another strategy are, in the end."""

    def ratio(of: Callable[[str], np.ndarray]) -> float:
        ours, theirs = (float(np.nanmedian(of(strategy))) for strategy in ("adversarial", other))
        return round(theirs / ours, 3)

    def last(of: Of, strategy: str) -> np.ndarray:
        return study.values(strategy, of)[:, -1]

    pairs = {}
    for strategy in ("adversarial", other):
        pairs[strategy] = {loop["loop"]: loop["generations"][-1]["rmse"] for loop in study.loops(strategy)}
    common = pairs["adversarial"].keys() & pairs[other].keys()
    return {
        **{name: ratio(partial(last, of)) for name, of in ERRORS.items()},
        "labels": ratio(partial(last, lambda one: one["n_labels"])),
        "median of sampled energies, all generations": ratio(study.sampled),
        "mean of sampled energies, all generations": ratio(lambda s: study.sampled(s, np.mean)),
        "median of sampled energies, last generation": ratio(lambda s: study.sampled(s)[:, -2]),
        "mean of sampled energies, last generation": ratio(lambda s: study.sampled(s, np.mean)[:, -2]),
        "the same, not above the minimum but as the formula has it": ratio(
            lambda s: study.sampled(s, np.mean)[:, -2] + study.lowest
        ),
        "share of loops in which it has the larger error": round(
            float(np.mean([pairs[other][i] > pairs["adversarial"][i] for i in common])), 3
        ),
    }


def content(study: Study) -> dict[str, Any]:
    """What of a study goes into the record: everything but the coordinates of points."""
    first = study.groups[0]
    loops = [
        {
            "loop": loop["loop"],
            "strategy": strategy,
            "generations": [
                {key: rounded(value) for key, value in generation.items() if key not in ("sampled", "threshold")}
                for generation in loop["generations"]
            ],
        }
        for strategy in study.strategies
        for loop in study.loops(strategy)
    ]
    return {
        "version": first["version"],
        "torch": first["torch"],
        "protocol": first["protocol"],
        "wall_time": sum(group["wall_time"] for group in study.groups),
        "cpu_time": sum(group["cpu_time"] for group in study.groups),
        "summary": summary(study),
        "loops": loops,
    }


def rounded(value: object) -> object:
    """Numbers to four digits behind the point."""
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, Sequence) and not isinstance(value, str) else value
