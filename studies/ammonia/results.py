"""Results of the study of ammonia: a record of all committees, and what is missing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparring.runs.folder import read_metrics
from sparring.surfaces.landscape import Landscape
from sparring.units import KCAL_PER_MOL
from sparring.validation.records import read_record
from sparring.validation.survival.trials import Survival
from studies.ammonia.plan import TASKS, Study
from studies.ammonia.tasks import BarrierResult
from studies.common import records
from studies.common.records import ended_seeds, merge_records

__all__ = ["CAPS", "NOT_COMPUTED", "CommitteeRow", "Results", "Survivors", "collect"]

CAPS = (5.0, 10.0, 20.0, 40.0, 80.0)
"""Energies in kcal/mol above the ground state, below which errors are given."""

COMMAND = "python -m studies.ammonia run && python -m studies.ammonia report"
ENOUGH = {"barrier": 5, "landscape": 3, "stability": 3}
"""Number of seeds that every strategy should have."""
NOT_COMPUTED = ("not computed",)
"""Value of `barrier_why` for a barrier that has not been computed."""


@dataclass(frozen=True, kw_only=True)
class Survivors:
    """Number of trajectories at a temperature in K, and how many of them stayed physical to the end."""

    temperature: float
    n_copies: int
    n_stable: int


@dataclass(frozen=True, kw_only=True)
class CommitteeRow(records.CommitteeRow):
    """One committee; results that have not been computed are None. Energies are in eV.

    Attributes:
        n_structures: Number of labelled structures in its data set.
        barrier: Barrier by NEB; None also if there is no barrier.
        barrier_sigma: Standard deviation of the barrier over the members.
        barrier_converged: Convergence of the band.
        barrier_relaxed: Barrier from the relaxed pyramid to the relaxed planar molecule.
        barrier_why: Reasons for which there is no barrier.
        rmse_below: Error of the energy on the grid where the true energy is below each of `CAPS`.
        stable: Counts of stable trajectories by temperature.
    """

    n_structures: int
    barrier: float | None
    barrier_sigma: float | None
    barrier_converged: bool | None
    barrier_relaxed: float | None
    barrier_why: tuple[str, ...]
    rmse_below: Mapping[str, float]
    stable: tuple[Survivors, ...]

    @property
    def stable_fraction(self) -> float | None:
        """Mean over temperatures, all with the same weight."""
        fractions = [one.n_stable / one.n_copies for one in self.stable]
        return float(np.mean(fractions)) if fractions else None


@dataclass(frozen=True, kw_only=True)
class Results(records.Results[CommitteeRow]):
    """All results.

    Attributes:
        committees: Rows by strategy, generation and seed.
        truth_barrier: Barrier of the label method by NEB, in eV; None if it has not been computed.
        truth_relaxed: Barrier of the label method from the relaxed pyramid to the relaxed planar molecule, in eV.
    """

    committees: tuple[CommitteeRow, ...]
    truth_barrier: float | None
    truth_relaxed: float | None


# --- reading --------------------------------------------------------------------------------------------------------


def collect(study: Study, earlier: Results | None = None) -> Results:
    """Read all results in the folder of a study, and merge them with an earlier record."""
    rows: Sequence[CommitteeRow] = [_row(study, *committee) for committee in study.committees()]
    truth = study.folder / "results" / "truth" / "barrier.json"
    known = read_record(truth, BarrierResult) if truth.exists() else None
    height, relaxed = known.path.barrier if known and known.path else None, _relaxed_truth(study, rows)
    if earlier is not None:
        height = earlier.truth_barrier if height is None else height
        relaxed = earlier.truth_relaxed if relaxed is None else relaxed
        rows = merge_records(rows, earlier.committees, tuple(study.strategies), _n_results)
    return Results(
        command=COMMAND,
        truth_barrier=height,
        truth_relaxed=relaxed,
        committees=tuple(rows),
        missing=tuple(_missing(study, rows, height is not None)),
    )


def _n_results(row: CommitteeRow) -> int:
    return (row.barrier_why != NOT_COMPUTED) + bool(row.rmse_below) + len(row.stable)


def _relaxed_truth(study: Study, rows: Sequence[CommitteeRow]) -> float | None:
    for row in rows:
        system = read_metrics(study.generation(row.strategy, row.seed, row.generation))["system"]
        return float(system["barrier_reference"])
    return None


def _row(study: Study, strategy: str, seed: int, generation: int) -> CommitteeRow:
    metrics = read_metrics(study.generation(strategy, seed, generation))
    labels = study.labels_before(strategy, seed, generation)

    def result(task: str) -> Path:
        return study.result(strategy, seed, generation, task)

    barrier = read_record(file, BarrierResult) if (file := result("barrier")).exists() else None
    path = barrier.path if barrier else None
    stable = [read_record(file, Survival).trials[0] for file in sorted(result("x").parent.glob("stability-*.json"))]
    return CommitteeRow(
        strategy=strategy,
        seed=seed,
        generation=generation,
        n_requested=sum(counts["n_chosen"] for counts in labels),
        n_failed=sum(counts["n_failed"] for counts in labels),
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
    begun = [strategy for strategy in study.strategies if any(row.strategy == strategy for row in rows)]
    if len(begun) < len(study.strategies):
        yield f"all runs of {', '.join(strategy for strategy in study.strategies if strategy not in begun)}"
    for strategy in begun:
        n_runs = len(ended_seeds(study, rows, strategy))
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
