"""Numbers of a run as text for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from sparring.dynamics import DynamicsResult, Status
from sparring.evaluation import Errors
from sparring.support.columns import Columns, aligned
from sparring.systems.base import Metric, System
from sparring.units import KCAL, KCAL_PER_MOL, EnergyUnit
from sparring.validation.errors.common_set import PARTS, CommonErrors

__all__ = ["GenerationTable", "common_table", "dynamics_table", "errors_table", "starting_line"]


class GenerationTable:
    """One row a generation, with what the columns are above the first.

    Args:
        system: System of the run; None for one without numbers of its own, in kcal/mol.
    """

    def __init__(self, system: System | None = None) -> None:
        self._columns: Columns | None = None
        self._unit = KCAL if system is None else system.unit
        self._metrics = () if system is None else system.metrics

    def row(self, metrics: Mapping[str, Any]) -> str:
        """The row of a generation, from its ``metrics.json``."""
        columns = _columns(metrics, self._metrics, self._unit)
        if self._columns is not None:
            return self._columns.line(columns.values())
        self._columns = Columns([max(len(name), len(value)) for name, value in columns.items()])
        legend = _legend(metrics, self._metrics, self._unit)
        return f"{legend}\n{self._columns.line(columns)}\n{self._columns.line(columns.values())}"


def starting_line(metrics: Mapping[str, Any]) -> str | None:
    """How many starting structures have a usable label, from ``metrics.json``; None where all have."""
    start = metrics.get("start")
    if not start:
        return None
    n_all = start["n_labelled"] + start["n_failed"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in start["reasons"].items())
    return f"data: {start['n_labelled']} of {n_all} labelled, {start['n_failed']} failed: {reasons}"


def _legend(metrics: Mapping[str, Any], shown: Sequence[Metric], unit: EnergyUnit) -> str:
    more = "".join(metric.legend for metric in shown if _is_known(metric, metrics))
    return (
        f"energies in {unit.name}, forces in {unit.name}/Å; E, F: mean absolute errors, each generation's on its own "
        f"test structures; {more}"
        "new: labels that had to be computed"
    )


def _columns(metrics: Mapping[str, Any], shown: Sequence[Metric], unit: EnergyUnit) -> dict[str, str]:
    test = metrics["errors"]["test"]
    attack, labels = metrics.get("attack", {}), metrics.get("labels", {})
    stopped = attack.get("n_not_finite", 0) + attack.get("n_overlap", 0)
    return {
        "gen": str(metrics["generation"]),
        "data": str(metrics["n_structures"]),
        "E": f"{test['energy_mae'] / unit.size:.3f}",
        "F": "-" if test["force_mae"] is None else f"{test['force_mae'] / unit.size:.3f}",
        **{one.column: _cell(one, metrics, unit) for one in shown if one.column and _is_known(one, metrics)},
        "attacks": str(attack.get("n_seeds", "-")),
        "stopped": str(stopped) if attack else "-",
        "labels": str(labels["n_chosen"] - labels["n_failed"]) if labels else "-",
        "new": str(labels.get("n_computed", "-")),
        "failed": str(labels.get("n_failed", "-")),
    }


def _is_known(metric: Metric, metrics: Mapping[str, Any]) -> bool:
    return metric.keys[0] in metrics["system"]


def _cell(metric: Metric, metrics: Mapping[str, Any], unit: EnergyUnit) -> str:
    value: Any = metrics["system"]
    for key in metric.keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return "none"
    if metric.show == "energy":
        return f"{value / unit.size:{'+' if metric.signed else ''}.{unit.decimals}f}"
    return f"{100 * value:.0f} %" if metric.show == "share" else f"{value:.3g}"


def errors_table(errors: Errors) -> str:
    """Errors in both units."""
    rows = [
        ("energy MAE", errors.energy_mae, "eV", "kcal/mol"),
        ("energy RMSE", errors.energy_rmse, "eV", "kcal/mol"),
        ("force MAE", errors.force_mae, "eV/Å", "kcal/mol/Å"),
        ("force RMSE", errors.force_rmse, "eV/Å", "kcal/mol/Å"),
    ]
    cells = [(name, f"{value:.5f}", unit, f"{value / KCAL_PER_MOL:.4f}", other) for name, value, unit, other in rows]
    return "\n".join([f"{errors.n_structures} structures", *aligned(cells, left=(0, 2, 4))])


def common_table(common: CommonErrors, unit: str, size: float) -> str:
    """Errors of all generations on the structures that are the same for all: a row a generation for each part.

    Args:
        common: Errors of all committees on one set.
        unit: Name of the unit of energies.
        size: One of this unit, in eV.
    """
    words = {"all": "all", "near": "near the minimum", "far": "far above it"}
    rows: list[tuple[str, ...]] = [("structures", "n", "gen", "E MAE", "RMSE", "F MAE", "RMSE")]
    for part in PARTS:
        for place, number in enumerate(common.generations if common.n_structures[part] else ()):
            name = (words[part], str(common.n_structures[part])) if place == 0 else ("", "")
            errors = common.of(number, part)
            fields = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")
            values = ["-" if errors is None else f"{getattr(errors, field) / size:.3f}" for field in fields]
            rows.append((*name, str(number), *values))
    return "\n".join(
        [
            f"all generations on the same structures, {common.name}; no member has trained on them",
            f"energies in {unit}, forces in {unit}/Å; near the minimum: labels at most {common.near / size:.3g} {unit} "
            "per atom above the lowest of their composition",
            *aligned(rows),
        ]
    )


def dynamics_table(result: DynamicsResult, temperatures: Sequence[float]) -> str:
    """One row a temperature; copies of a temperature stand together, as many of each."""
    legend = "T: mean temperature measured; uncertainty: root of the mean variance of forces; failure: the first"
    table = [("wanted", "copies", "finished", "T", "uncertainty", "failure")]
    size = len(result.status) // len(temperatures)
    for number, temperature in enumerate(temperatures):
        rows = slice(number * size, (number + 1) * size)
        finished = int((result.status[rows] == Status.FINISHED).sum())
        measured = float(result.temperature[:, rows].nanmean())
        uncertainty = float(result.force_variance[:, rows].nanmean().sqrt())
        cells = (f"{temperature:g} K", str(size), str(finished), f"{measured:.1f} K", f"{uncertainty:.4f} eV/Å")
        table.append((*cells, _first_failure(result, rows)))
    return "\n".join([legend, *aligned(table, left=(5,))])


def _first_failure(result: DynamicsResult, rows: slice) -> str:
    times = result.failure_time[rows]
    if bool(times.isnan().all()):
        return "none"
    first = int(times.nan_to_num(float("inf")).argmin())
    return f"{float(times[first]):g} fs ({result.reasons[int(result.status[rows][first])]})"
