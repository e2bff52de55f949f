"""What the study of ammonia has found so far: a record of all committees, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ammonia_plan import TASKS, Study
from ammonia_tasks import BarrierResult
from keeping import rows_of_both, seeds_ended

from sparring.runs.folder import read_metrics, stages_done
from sparring.surfaces.landscape import Landscape
from sparring.units import KCAL_PER_MOL
from sparring.validation.records import read_record
from sparring.validation.stability.trials import Stability

__all__ = ["CAPS", "NOT_COMPUTED", "CommitteeRow", "Results", "Survivors", "collect"]

CAPS = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Energies in kcal/mol above the ground state, below which errors are given."""

COMMAND = "python studies/ammonia.py run && python studies/ammonia.py report"
ENOUGH = {"barrier": 5, "landscape": 3, "stability": 3}
"""How many seeds every strategy is to have."""
NOT_COMPUTED = ("not computed",)
"""Why there is no barrier yet."""


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """How many copies there were at a temperature in K, and how many stayed physical to the end."""

    temperature: float
    n_copies: int
    n_stable: int


@dataclass(frozen=True, kw_only=True)
class CommitteeRow:
    """One committee. What has not been computed is None; energies are in eV.

    Attributes:
        strategy: How its labels were found.
        seed: Of its run.
        generation: Its number in the run; the first is the same for all strategies.
        n_asked: Labels asked for, beyond the start.
        n_failed: Those of them that were refused, e.g. for their energy.
        n_structures: Labelled structures that it knows.
        energy_mae: On its own test structures.
        force_mae: Likewise, in eV/Å.
        barrier: By NEB; None also if there is none.
        barrier_sigma: Its standard deviation over the members.
        barrier_converged: Whether the band has.
        barrier_relaxed: From the relaxed pyramid to the relaxed planar molecule.
        barrier_why: Why there is no barrier, if there is none.
        rmse_below: Error of the energy on the grid where the true energy is below each of `CAPS`.
        stable: By temperature.
    """

    strategy: str
    seed: int
    generation: int
    n_asked: int
    n_failed: int
    n_structures: int
    energy_mae: float
    force_mae: float
    barrier: float | None
    barrier_sigma: float | None
    barrier_converged: bool | None
    barrier_relaxed: float | None
    barrier_why: tuple[str, ...]
    rmse_below: Mapping[str, float]
    stable: tuple[Survivors, ...]

    @property
    def stable_fraction(self) -> float | None:
        """The mean over temperatures, of which none may weigh more than another."""
        fractions = [one.n_stable / one.n_copies for one in self.stable]
        return float(np.mean(fractions)) if fractions else None


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that there is.

    Attributes:
        command: That makes it.
        truth_barrier: By NEB on the surface of the labels, in eV; None if that has not been computed.
        truth_relaxed: From the relaxed pyramid to the relaxed planar molecule; every run knows it.
        committees: In the order of strategies, generations and seeds.
        missing: What has not been computed, in words.
    """

    command: str
    truth_barrier: float | None
    truth_relaxed: float | None
    committees: tuple[CommitteeRow, ...]
    missing: tuple[str, ...]

    def of(self, strategy: str, generation: int) -> list[CommitteeRow]:
        """One row a seed."""
        return [row for row in self.committees if (row.strategy, row.generation) == (strategy, generation)]


# --- what there is --------------------------------------------------------------------------------------------------


def collect(study: Study, earlier: Results | None = None) -> Results:
    """Read all results of a study, whoever computed them, beside those of an earlier record."""
    rows: Sequence[CommitteeRow] = [
        _row(study, strategy, seed, generation)
        for strategy in study.strategies
        for generation in study.generations(strategy)
        for seed in study.seeds_of(strategy)
        if study.trained(strategy, seed, generation)
    ]
    truth = study.folder / "results" / "truth" / "barrier.json"
    known = read_record(truth, BarrierResult) if truth.exists() else None
    height, relaxed = known.path.barrier if known and known.path else None, _relaxed_truth(study, rows)
    if earlier is not None:
        height = earlier.truth_barrier if height is None else height
        relaxed = earlier.truth_relaxed if relaxed is None else relaxed
        rows = rows_of_both(rows, earlier.committees, tuple(study.strategies), _n_known)
    return Results(
        command=COMMAND,
        truth_barrier=height,
        truth_relaxed=relaxed,
        committees=tuple(rows),
        missing=tuple(_missing(study, rows, height is not None)),
    )


def _n_known(row: CommitteeRow) -> int:
    return (row.barrier_why != NOT_COMPUTED) + bool(row.rmse_below) + len(row.stable)


def _relaxed_truth(study: Study, rows: Sequence[CommitteeRow]) -> float | None:
    for row in rows:
        system = read_metrics(study.generation(row.strategy, row.seed, row.generation))["system"]
        return float(system["barrier_reference"])
    return None


def _row(study: Study, strategy: str, seed: int, generation: int) -> CommitteeRow:
    metrics = read_metrics(study.generation(strategy, seed, generation))
    asked = [
        read_metrics(folder)["labels"]
        for number in range(1, generation)
        if "label" in stages_done(folder := study.generation(strategy, seed, number))
    ]

    def result(task: str) -> Path:
        return study.result(strategy, seed, generation, task)

    barrier = read_record(file, BarrierResult) if (file := result("barrier")).exists() else None
    path = barrier.path if barrier else None
    stable = [read_record(file, Stability).trials[0] for file in sorted(result("x").parent.glob("stability-*.json"))]
    return CommitteeRow(
        strategy=strategy,
        seed=seed,
        generation=generation,
        n_asked=sum(labels["n_chosen"] for labels in asked),
        n_failed=sum(labels["n_failed"] for labels in asked),
        n_structures=metrics["n_structures"],
        energy_mae=metrics["errors"]["test"]["energy_mae"],
        force_mae=metrics["errors"]["test"]["force_mae"],
        barrier=path.barrier if path else None,
        barrier_sigma=path.barrier_sigma if path else None,
        barrier_converged=path.converged if path else None,
        barrier_relaxed=barrier.relaxed if barrier else None,
        barrier_why=barrier.why if barrier else NOT_COMPUTED,
        rmse_below=_rmse(result("landscape")),
        stable=tuple(
            Survivors(temperature=one.temperature, n_copies=one.n_copies, n_stable=one.n_stable)
            for one in sorted(stable, key=lambda trial: trial.temperature)
        ),
    )


def _rmse(file: Path) -> dict[str, float]:
    if not file.exists():
        return {}
    errors = read_record(file, Landscape).rmse_below([cap * KCAL_PER_MOL for cap in CAPS])
    return {f"{cap:g} kcal/mol": float(error) for cap, error in zip(CAPS, errors, strict=True)}


def _missing(study: Study, rows: Sequence[CommitteeRow], truth: bool) -> Iterable[str]:
    if not truth:
        yield "the barrier of the labels themselves"
    for strategy in study.strategies:
        n_runs = len(seeds_ended(study, rows, strategy))
        if n_runs < ENOUGH["barrier"]:
            yield f"{strategy}: {n_runs} of {ENOUGH['barrier']} runs have ended"
        for generation in study.generations(strategy):
            mine = [row for row in rows if (row.strategy, row.generation) == (strategy, generation)]
            n_stable = sum(len(row.stable) == len(study.temperatures) for row in mine)
            known = {
                "barrier": sum(row.barrier_why != NOT_COMPUTED for row in mine),
                "landscape": sum(bool(row.rmse_below) for row in mine),
                "stability": n_stable,
            }
            for task in TASKS[1:]:
                if known[task] < ENOUGH[task]:
                    yield f"{strategy}, generation {generation}: {task} of {known[task]} of {ENOUGH[task]} seeds"
