"""Survival of copies in dynamics: the number of stable ones, and when and why the others failed."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import binomtest

from sparring.dynamics.barostat import CELL_TIME_CONSTANT, PRESSURE
from sparring.dynamics.ensembles import FRICTION, TIME_CONSTANT
from sparring.dynamics.trajectories import AT_PRESSURE
from sparring.units import quantity
from sparring.validation.survival.failures import Failure

__all__ = ["Failure", "Settings", "Survival", "SurvivalAtTemperature", "in_words"]

CONFIDENCE = 0.95


def in_words(
    ensemble: str,
    *,
    friction: float = FRICTION,
    time_constant: float = TIME_CONSTANT,
    pressure: float | None = None,
    cell_time_constant: float = CELL_TIME_CONSTANT,
) -> str:
    """An ensemble with what matters to it; for the arguments see :func:`.ensemble_of`."""
    bar = (PRESSURE if pressure is None else pressure) / quantity("1 bar", "pressure")
    of_chain = f", time constant {time_constant:g} fs"
    at_pressure = f", {bar:.6g} bar{of_chain}, of the cell {cell_time_constant:g} fs"
    more = {"nose_hoover": of_chain, "langevin": f", friction {friction:g} 1/fs"}
    return ensemble + (at_pressure if ensemble in AT_PRESSURE else more.get(ensemble, ""))


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the dynamics.

    Attributes:
        formula: Chemical formula of the start.
        duration: Length of a trajectory in fs.
        timestep: Time step in fs.
        ensemble: Description of the ensemble.
        criteria: Descriptions of the criteria.
        seed: Random seed of velocities and noise.
    """

    formula: str
    duration: float
    timestep: float
    ensemble: str
    criteria: tuple[str, ...]
    seed: int


@dataclass(frozen=True, kw_only=True)
class SurvivalAtTemperature:
    """Survival of the copies at one temperature.

    Attributes:
        temperature: Temperature in K.
        n_copies: Number of copies.
        n_stable: Number of copies that did not fail.
        fraction: Fraction of stable copies.
        interval: Wilson's 95 % interval of the probability to be stable.
        median_failure_time: Time in fs by which half of all copies had failed; NaN if fewer failed. All trajectories
            have the same length, so that this is the median of the survival curve of Kaplan and Meier.
        failures: Failures in order of time.
    """

    temperature: float
    n_copies: int
    n_stable: int
    fraction: float
    interval: tuple[float, float]
    median_failure_time: float
    failures: tuple[Failure, ...]

    @classmethod
    def of(cls, temperature: float, n_copies: int, failures: Sequence[Failure]) -> "SurvivalAtTemperature":
        """The summary of failures, which are in order of time."""
        n_stable, half = n_copies - len(failures), -(-n_copies // 2)
        return cls(
            temperature=temperature,
            n_copies=n_copies,
            n_stable=n_stable,
            fraction=n_stable / n_copies,
            interval=_wilson(n_stable, n_copies),
            median_failure_time=failures[half - 1].time if len(failures) >= half else math.nan,
            failures=tuple(failures),
        )

    @property
    def reasons(self) -> tuple[tuple[str, int], ...]:
        """Reasons of failures with their numbers, the commonest first."""
        return tuple(Counter(failure.reason for failure in self.failures).most_common())

    def survival(self, times: Float[np.ndarray, " n_times"]) -> Float[np.ndarray, " n_times"]:
        """Fraction of the copies that have not failed at these times, in fs (Kaplan and Meier)."""
        return _survival(self.failures, self.n_copies, times)

    def survival_interval(self, times: Float[np.ndarray, " n_times"]) -> Float[np.ndarray, "2 n_times"]:
        """Wilson's 95 % interval of the probability to survive until these times, in fs."""
        return _intervals(self.survival(times), self.n_copies)


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Survival of copies at several temperatures.

    Attributes:
        trials: Survival at each temperature.
        n_copies: Number of copies at all temperatures together.
        n_stable: Number of copies that did not fail.
        fraction: Fraction of stable copies.
        interval: Wilson's 95 % interval of the mean probability to be stable; if temperatures differ in theirs, it is
            a little too wide.
        settings: Settings of the dynamics.
    """

    trials: tuple[SurvivalAtTemperature, ...]
    n_copies: int
    n_stable: int
    fraction: float
    interval: tuple[float, float]
    settings: Settings

    @classmethod
    def of(cls, trials: Sequence[SurvivalAtTemperature], settings: Settings) -> "Survival":
        """The summary of all temperatures."""
        n_copies, n_stable = sum(trial.n_copies for trial in trials), sum(trial.n_stable for trial in trials)
        return cls(
            trials=tuple(trials),
            n_copies=n_copies,
            n_stable=n_stable,
            fraction=n_stable / n_copies,
            interval=_wilson(n_stable, n_copies),
            settings=settings,
        )

    def survival(self, times: Float[np.ndarray, " n_times"]) -> Float[np.ndarray, " n_times"]:
        """Fraction of all copies that have not failed at these times, in fs."""
        return _survival(self.failures, self.n_copies, times)

    def survival_interval(self, times: Float[np.ndarray, " n_times"]) -> Float[np.ndarray, "2 n_times"]:
        """Wilson's 95 % interval of the mean probability to survive until these times, in fs."""
        return _intervals(self.survival(times), self.n_copies)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """Failures at all temperatures."""
        return tuple(failure for trial in self.trials for failure in trial.failures)


def _wilson(n_stable: int, n_copies: int) -> tuple[float, float]:
    """Wilson's score interval (1927, doi:10.1080/01621459.1927.10502953) of a probability, from 0 to 1 at any count."""
    interval = binomtest(n_stable, n_copies).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def _intervals(fraction: Float[np.ndarray, " n_times"], n_copies: int) -> Float[np.ndarray, "2 n_times"]:
    # No trajectory ends early without a failure, so that the number of those left is binomial at any time.
    return np.array([_wilson(round(one * n_copies), n_copies) for one in fraction.tolist()]).T


def _survival(
    failures: Sequence[Failure], n_copies: int, times: Float[np.ndarray, " n_times"]
) -> Float[np.ndarray, " n_times"]:
    ends = np.sort([failure.time for failure in failures])
    return np.asarray(1.0 - np.searchsorted(ends, times, side="right") / n_copies)
