"""Tables of survival: a row for each temperature of one committee, or a row for each committee."""

import math
from collections import Counter
from collections.abc import Mapping
from functools import partial

from sparring.support.tables import Cell, Column, Table, TextRows
from sparring.units import EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.trials import Survival, SurvivalAtTemperature

__all__ = ["SHOWN", "SurvivalRows", "failure_table", "survival_table"]

SHOWN = 20
"""Largest number of failures in a table."""
FRACTION = "{:.0f} %\n[{:.0f}, {:.0f}]"


def survival_table(results: Mapping[str, Survival], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each committee: the fraction of stable replicas at each temperature and at all of them."""
    temperatures = sorted({trial.temperature for result in results.values() for trial in result.trials})
    rows: list[tuple[Cell, ...]] = []
    for name, result in results.items():
        fractions = {trial.temperature: _fraction(trial) for trial in result.trials}
        reasons: Counter[str] = Counter()
        for trial in result.trials:
            reasons.update(dict(trial.reasons))
        commonest = reasons.most_common(1)[0][0] if reasons else None
        at_each = (fractions.get(temperature) for temperature in temperatures)
        rows.append((name, *at_each, _fraction(result), published("stable", name), commonest))
    columns = (
        Column(title="", left=True),
        *(Column(title=f"{temperature:g} K", format=FRACTION) for temperature in temperatures),
        Column(title="all", format=FRACTION),
        Column(title="paper"),
        Column(title="commonest failure", left=True),
    )
    return Table(columns=columns, rows=tuple(rows)).without_empty_columns()


def failure_table(result: Survival, unit: EnergyUnit) -> Table:
    """A row for each failure, at most twenty of them: those with labels first, then the earliest."""
    rows = [(trial.temperature, failure) for trial in result.trials for failure in trial.failures]
    rows.sort(key=lambda row: (math.isnan(row[1].energy_error) and not row[1].refused, row[1].time, row[0]))
    energy = partial(Column, unit=unit.name, size=unit.size)
    force = partial(Column, unit=f"{unit.name}/Å", size=unit.size)
    columns = (
        Column(title="T", unit="K", format="{:g}"),
        Column(title="copy"),
        Column(title="time", unit="ps", format="{:.3f}", size=1000.0),
        Column(title="failure", left=True),
        Column(title="went farthest", left=True),
        Column(title="in σ", format="{:+.0f}"),
        Column(title="contact", left=True),
        energy(title="E - E(start)", format="{:.1f}"),
        energy(title="σ_E", format="{:.1f}"),
        energy(title="error of E", format="{:+.1f}"),
        force(title="σ_F", format="{:.1f}"),
        force(title="expected error of F", format="{:.1f}"),
        force(title="error of F", format="{:.1f}"),
        Column(title="no label", left=True),
    )
    cells = tuple((temperature, *_failure_cells(failure)) for temperature, failure in rows[:SHOWN])
    return Table(columns=columns, rows=cells).without_empty_columns()


def _failure_cells(failure: Failure) -> tuple[Cell, ...]:
    labelled = not math.isnan(failure.energy_error)
    return (
        failure.copy,
        failure.time,
        failure.reason,
        None if failure.departure is None else str(failure.departure),
        None if failure.departure is None else failure.departure.deviation,
        None if failure.contact is None else str(failure.contact),
        failure.energy,
        failure.energy_sigma,
        failure.energy_error if labelled else None,
        failure.force_sigma,
        failure.force_expected,
        failure.force_error if labelled else None,
        failure.refused.partition(":")[0].replace("_", " ") or None,
    )


class SurvivalRows:
    """The table of one committee as text, row by row: a temperature is shown as soon as it is finished.

    Args:
        duration: Length of the trajectories, in fs.
    """

    COLUMNS = (
        Column(title="T", format="{:g} K"),
        Column(title="copies"),
        Column(title="stable"),
        Column(title="fraction [95 %]", format=FRACTION),
        Column(title="half failed"),
        Column(title="commonest failure", left=True),
    )
    WIDTHS = (6, 6, 6, 17, 12, 17)

    def __init__(self, duration: float) -> None:
        self.duration, self._headed = duration, False
        self._rows = TextRows(self.COLUMNS, self.WIDTHS)

    def row(self, trial: SurvivalAtTemperature) -> str:
        """The row of a temperature; the headings stand above the first."""
        reasons = [f"{reason} ({count})" for reason, count in trial.reasons[:1]] or ["none"]
        median = trial.median_failure_time
        half = f"> {_time(self.duration)}" if math.isnan(median) else _time(median)
        counts = (trial.temperature, trial.n_copies, trial.n_stable, _fraction(trial))
        line = self._rows.row((*counts, half, reasons[0]))
        if self._headed:
            return line
        self._headed = True
        return f"half failed: time by which half of the copies had failed\n{self._rows.headings()}\n{line}"

    def total(self, result: Survival) -> str:
        """The row of all temperatures together."""
        return self._rows.row(("all", result.n_copies, result.n_stable, _fraction(result), "", ""))


def _fraction(one: Survival | SurvivalAtTemperature) -> tuple[float, ...]:
    return 100 * one.fraction, 100 * one.interval[0], 100 * one.interval[1]


def _time(time: float) -> str:
    return f"{time / 1000:.4g} ps" if time >= 1000 else f"{time:g} fs"
