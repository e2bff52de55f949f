"""Numbers of a run as text for a terminal."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sparring.dynamics import DynamicsResult, Status
from sparring.evaluation import Errors
from sparring.reporting.tables import ERROR, metric_column
from sparring.support.tables import Cell, Column, Table, TextRows
from sparring.systems.base import Metric, System
from sparring.units import GPA, KCAL, EnergyUnit

__all__ = ["GenerationTable", "dynamics_table", "errors_table", "starting_line"]


class GenerationTable:
    """One row for each generation, with the headings above the first.

    Args:
        system: System of the run; None for one without numbers of its own, in kcal/mol.
    """

    def __init__(self, system: System | None = None) -> None:
        self._rows: TextRows | None = None
        self._unit = KCAL if system is None else system.unit
        self._metrics = () if system is None else system.metrics
        self._stress = False

    def row(self, metrics: Mapping[str, Any]) -> str:
        """The row of a generation, from its ``metrics.json``."""
        known = [metric for metric in self._metrics if metric.keys[0] in metrics["system"]]
        if self._rows is None:
            self._stress = any(part.get("stress_mae") is not None for part in metrics["errors"].values())
        cells = _cells(metrics, known, self._unit, stress=self._stress)
        columns = [column for column, _ in cells]
        values = [value for _, value in cells]
        if self._rows is not None:
            return self._rows.row(values)
        widths = [len(column.text(value)) for column, value in cells]
        self._rows = TextRows(columns, widths)
        return f"{_legend(known, self._unit, stress=self._stress)}\n{self._rows.headings()}\n{self._rows.row(values)}"


def starting_line(metrics: Mapping[str, Any]) -> str | None:
    """Number of starting structures with a usable label, from ``metrics.json``; None if all have one."""
    start = metrics.get("start")
    if not start:
        return None
    n_all = start["n_labelled"] + start["n_failed"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in start["reasons"].items())
    return f"data: {start['n_labelled']} of {n_all} labelled, {start['n_failed']} failed: {reasons}"


def _legend(system: Sequence[Metric], unit: EnergyUnit, *, stress: bool) -> str:
    more = "".join(metric.legend for metric in system)
    units = f"energies in {unit.name}, forces in {unit.name}/Å{', stresses in GPa' if stress else ''}"
    return (
        f"{units}; E, F{', S' if stress else ''}: mean absolute errors, each generation's on its own "
        f"test structures; {more}"
        "new: labels that had to be computed"
    )


def _cells(
    metrics: Mapping[str, Any], system: Sequence[Metric], unit: EnergyUnit, *, stress: bool
) -> list[tuple[Column, Cell]]:
    """Columns of the table with the values of a generation."""
    test, attack, labels = metrics["errors"]["test"], metrics.get("attack", {}), metrics.get("labels", {})
    stopped = attack.get("n_not_finite", 0) + attack.get("n_overlap", 0)
    counts = {
        "attacks": attack.get("n_seeds"),
        "stopped": stopped if attack else None,
        "labels": labels["n_chosen"] - labels["n_failed"] if labels else None,
        "new": labels.get("n_computed"),
        "failed": labels.get("n_failed"),
    }
    return [
        (Column(title="gen"), metrics["generation"]),
        (Column(title="data"), metrics["n_structures"]),
        (Column(title="E", format=ERROR, size=unit.size), test["energy_mae"]),
        (Column(title="F", format=ERROR, size=unit.size), test["force_mae"]),
        *(((Column(title="S", format=ERROR, size=GPA), test.get("stress_mae")),) if stress else ()),
        *((metric_column(one, unit, title=one.column), _value(one, metrics)) for one in system if one.column),
        *((Column(title=title), count) for title, count in counts.items()),
    ]


def _value(metric: Metric, metrics: Mapping[str, Any]) -> Cell:
    """The number of a generation; the word none where the committee has none."""
    value: Any = metrics["system"]
    for key in metric.keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return "none" if value is None else float(value)


def errors_table(errors: Errors) -> str:
    """Errors in both units, those of stresses in eV/Å³ and GPa."""
    rows: list[tuple[Cell, ...]] = [
        (name, value, f"eV{per}", value / KCAL.size, f"{KCAL.name}{per}")
        for name, value, per in (
            ("energy MAE", errors.energy_mae, ""),
            ("energy RMSE", errors.energy_rmse, ""),
            ("force MAE", errors.force_mae, "/Å"),
            ("force RMSE", errors.force_rmse, "/Å"),
        )
    ]
    if math.isfinite(errors.stress_mae):
        for name, value in (("stress MAE", errors.stress_mae), ("stress RMSE", errors.stress_rmse)):
            rows.append((name, value, "eV/Å³", value / GPA, "GPa"))
    columns = (
        Column(title="", left=True),
        Column(title="", format="{:.5f}"),
        Column(title="", left=True),
        Column(title="", format="{:.4f}"),
        Column(title="", left=True),
    )
    table = Table(columns=columns, rows=tuple(rows))
    return "\n".join([f"{errors.n_structures} structures", *table.text().split("\n")[1:]])


def dynamics_table(result: DynamicsResult, temperatures: Sequence[float]) -> str:
    """One row for each temperature; each has the same number of copies, one after the other."""
    rows: list[tuple[Cell, ...]] = []
    size = len(result.status) // len(temperatures)
    for number, temperature in enumerate(temperatures):
        copies = slice(number * size, (number + 1) * size)
        finished = int((result.status[copies] == Status.FINISHED).sum())
        measured = float(result.temperature[:, copies].nanmean())
        uncertainty = float(result.force_variance[:, copies].nanmean().sqrt())
        volume, pressure = (float(trace[:, copies].nanmean()) for trace in (result.volume, result.pressure))
        # Only cells that move have a pressure.
        moved = (None, None) if math.isnan(pressure) else (volume, pressure / GPA)
        rows.append((temperature, size, finished, measured, *moved, uncertainty, _first_failure(result, copies)))
    columns = (
        Column(title="wanted", format="{:g} K"),
        Column(title="copies"),
        Column(title="finished"),
        Column(title="T", format="{:.1f} K"),
        Column(title="V", format="{:.2f} Å³"),
        Column(title="P", format="{:.2f} GPa"),
        Column(title="uncertainty", format="{:.4f} eV/Å"),
        Column(title="failure", left=True),
    )
    at_pressure = any(row[4] is not None for row in rows)
    measured_too = ", V and P: mean volume of a cell and mean pressure" if at_pressure else ""
    legend = "T: mean temperature measured" + measured_too
    legend += "; uncertainty: root of the mean variance of forces; failure: the first"
    return Table(columns=columns, rows=tuple(rows), caption=(legend,)).without_empty_columns().text()


def _first_failure(result: DynamicsResult, rows: slice) -> str:
    times = result.failure_time[rows]
    if bool(times.isnan().all()):
        return "none"
    first = int(times.nan_to_num(float("inf")).argmin())
    return f"{float(times[first]):g} fs ({result.reasons[int(result.status[rows][first])]})"
