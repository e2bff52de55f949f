"""Tables of errors: all of one committee, or a row for each committee."""

import math
from collections.abc import Mapping
from itertools import chain

from sparring.support.tables import Cell, Column, Table
from sparring.units import GPA, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.errors.calibration import independent_ratio
from sparring.validation.errors.compute import ErrorReport, Part, Window
from sparring.validation.errors.detection import Detection
from sparring.validation.errors.reliability import Positive, Reliability

__all__ = ["detection_table", "errors_table", "parts_table", "report_text", "uncertainty_table"]

ERROR = "{:z.4f}"
INTERVAL = "{:z.2f}\n[{:z.2f}, {:z.2f}]"
SHARE = "{:.0%}"
VARIANCES = {"force": "σ_F²", "energy": "σ_E²", "stress": "σ_S²"}
KINDS = {"forces": "force", "energies": "energy", "stresses": "stress"}
POSITIVES: dict[Positive, str] = {
    "beyond_training": "error at or above the {:g}th percentile of the training errors",
    "worst": "error at or above the {:g}th percentile of the errors here",
}


def errors_table(results: Mapping[str, ErrorReport], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each committee: errors of all structures and by energy, and how well σ_F predicts them.

    Errors of stresses, in GPa, are those of all structures that have one, if any has.
    """
    windows = chain.from_iterable(report.up_to for report in results.values())
    caps = sorted({window.high for window in windows if window.high is not None})
    stresses = any(report.stress is not None for report in results.values())
    rows: list[tuple[Cell, ...]] = []
    for name, report in results.items():
        below = {window.high: window.part.errors for window in report.up_to}
        errors = report.overall.errors
        cells: list[Cell] = [name, errors.n_structures, errors.energy_mae, errors.force_mae]
        cells += [_known(errors.stress_mae)] if stresses else []
        for cap in caps:
            cells += [below[cap].energy_rmse, below[cap].force_rmse] if cap in below else [None, None]
        areas = [_with_interval(one.area, one.interval) for one in report.forces.detections if one.variance == "force"]
        rows.append((*cells, *_rho_and_scale(report.forces), areas[0] if areas else None))

    def both(group: str) -> tuple[Column, Column]:
        energy = Column(title="energy", group=group, format=ERROR, size=unit.size)
        return energy, Column(title="force", group=group, format=ERROR, size=unit.size)

    columns = (
        Column(title="", left=True),
        Column(title="n"),
        *both("MAE, all"),
        *((Column(title="stress", unit="GPa", group="MAE, all", format=ERROR, size=GPA),) if stresses else ()),
        *(column for cap in caps for column in both(f"RMSE ≤ {cap / unit.size:g} {unit.name}")),
        *(Column(title=title, group="σ_F and error", format=INTERVAL) for title in ("ρ", "error/σ", "AUC")),
    )
    return Table(columns=columns, rows=tuple(rows))


def report_text(report: ErrorReport, unit: EnergyUnit) -> str:
    """All tables of a report, with the reasons for what is missing."""
    missing: dict[str, list[str]] = {what: [] for what in ("correlation", "calibration", "detection")}
    for name, reliability in _kinds(report):
        for what, reason in reliability.absent.items():
            missing[what].append(f"  no {'ROC curve' if what == 'detection' else what} of {name}: {reason}")
    uncertainty = [uncertainty_table(report).text(), *missing["correlation"], *missing["calibration"]]
    detection = [detection_table(report, unit).text(), *missing["detection"]]
    return "\n".join([parts_table(report, unit).text(), "", *uncertainty, "", *detection])


def parts_table(report: ErrorReport, unit: EnergyUnit) -> Table:
    """Errors by energy and by group."""
    named: list[tuple[str, Part]] = [("all", report.overall)]
    named += [(f"energy up to {_cap(window.high, unit)}", window.part) for window in report.up_to]
    named += [(f"energy {_span(window, unit)}", window.part) for window in report.between]
    named += [(f"{report.group_by} {name}", part) for name, part in report.groups.items()]
    rows: list[tuple[Cell, ...]] = []
    for name, part in named:
        errors = part.errors
        energies = (errors.energy_mae, errors.energy_rmse, part.energy_bias, part.energy_rmse_per_atom)
        stresses = () if report.stress is None else (_known(errors.stress_mae), _known(errors.stress_rmse))
        rows.append((name, errors.n_structures, *energies, errors.force_mae, errors.force_rmse, *stresses))
    titles = ("E MAE", "E RMSE", "E bias", "E RMSE/atom", "F MAE", "F RMSE")
    of_stress = () if report.stress is None else ("S MAE", "S RMSE")
    in_gpa = "" if report.stress is None else ", stresses (S) in GPa"
    return Table(
        columns=(
            Column(title="", left=True),
            Column(title="n"),
            *(Column(title=title, format=ERROR, size=unit.size) for title in titles),
            *(Column(title=title, format=ERROR, size=GPA) for title in of_stress),
        ),
        rows=tuple(rows),
        caption=(
            f"{report.data}; committee of {report.n_members}",
            f"energies in {unit.name}, forces in {unit.name}/Å{in_gpa}; "
            "windows above the lowest label of the composition",
        ),
    )


def uncertainty_table(report: ErrorReport) -> Table:
    """Correlation and calibration of the uncertainty of forces, of energies, and of stresses if there are any."""
    rows: list[tuple[Cell, ...]] = []
    for name, reliability in _kinds(report):
        calibration = reliability.calibration
        rest = (None, None) if calibration is None else (calibration.ratio, calibration.miscalibration)
        rows.append((name, *_rho_and_scale(reliability), *rest))
    ratio = independent_ratio(report.n_members)
    return Table(
        columns=(
            Column(title="", left=True),
            Column(title="ρ", format=INTERVAL),
            Column(title="error/σ", format=INTERVAL),
            Column(title="RMS", format="{:.2f}"),
            Column(title="area", format="{:.3f}"),
        ),
        rows=tuple(rows),
        caption=(
            "ρ: rank correlation of σ and error; error/σ: scale factor that recalibrates σ; RMS: RMS error divided by",
            f"RMS σ ({ratio:.2f} if errors of members are independent); area: miscalibration area",
        ),
    )


def detection_table(report: ErrorReport, unit: EnergyUnit) -> Table:
    """Detection of unreliable structures by Eq. 8, for each kind of error and each variance."""
    rows: list[tuple[Cell, ...]] = []
    for name, reliability in _kinds(report):
        size, shown = unit.size, f"{unit.name}/Å" if name == "forces" else unit.name
        if name == "stresses":
            size, shown = GPA, "GPa"
        for detection in reliability.detections:
            n = detection.n_positive + detection.n_negative
            limit = f"{detection.error_limit / size:.3g} {shown}"
            unreliable = f"{KINDS[name]} error >= {limit} ({detection.n_positive} of {n})"
            area = _with_interval(detection.area, detection.interval)
            rows.append((unreliable, VARIANCES[detection.variance], area, *_rates(detection)))
    return Table(
        columns=(
            Column(title="unreliable", left=True),
            Column(title="by", left=True),
            Column(title="AUC", format=INTERVAL),
            Column(title="true positive", format=SHARE),
            Column(title="false positive", format=SHARE),
            Column(title="accuracy", format=SHARE),
        ),
        rows=tuple(rows),
        caption=(
            f"detection by Eq. 8; unreliable: {POSITIVES[report.positive].format(report.percentile)}",
            "AUC: area under the ROC curve; rates at the threshold t of the training set",
        ),
    )


def _rates(detection: Detection) -> tuple[Cell, Cell, Cell]:
    choice = detection.choice
    if choice is None:
        return None, None, None
    return choice.true_positive_rate, choice.false_positive_rate, choice.accuracy


def _rho_and_scale(reliability: Reliability) -> tuple[Cell, Cell]:
    correlation, calibration = reliability.correlation, reliability.calibration
    return (
        None if correlation is None else _with_interval(correlation.rho, correlation.interval),
        None if calibration is None else _with_interval(calibration.scale, calibration.interval),
    )


def _kinds(report: ErrorReport) -> tuple[tuple[str, Reliability], ...]:
    stresses = () if report.stress is None else (("stresses", report.stress),)
    return ("forces", report.forces), ("energies", report.energy), *stresses


def _known(error: float) -> float | None:
    """An error; None where there is no label to compare with."""
    return error if math.isfinite(error) else None


def _span(window: Window, unit: EnergyUnit) -> str:
    if window.high is None:
        return f"above {_cap(window.low, unit)}"
    return f"{_cap(window.low, unit)} to {_cap(window.high, unit)}"


def _cap(energy: float | None, unit: EnergyUnit) -> str:
    return "" if energy is None else f"{energy / unit.size:.4g}"


def _with_interval(value: float, interval: tuple[float, float]) -> tuple[float, float, float]:
    return value, *interval
