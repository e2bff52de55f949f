"""What `sparring validate errors` makes of its arguments, and the tables that it prints."""

import re
from collections.abc import Iterator
from pathlib import Path

from sparring.atoms.dataset import Dataset
from sparring.inputs.reading import read_atoms
from sparring.reporting.data import EnergyUnit
from sparring.support.columns import aligned
from sparring.units import quantity
from sparring.validation.errors.calibration import independent_ratio
from sparring.validation.errors.compute import ErrorReport, Part, Window
from sparring.validation.errors.detection import Detection
from sparring.validation.errors.reliability import Positive, Reliability
from sparring.validation.errors.test_sets import HeldOut, held_out, held_out_of

__all__ = ["chosen_data", "error_tables", "positive_of", "windows_of"]

NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")

HEADING = ("n", "E MAE", "E RMSE", "E bias", "E RMSE/atom", "F MAE", "F RMSE")
VARIANCES = {"force": "σ_F²", "energy": "σ_E²"}
KINDS = {"forces": "force", "energies": "energy"}
POSITIVES: dict[Positive, str] = {
    "beyond_training": "reaches the {:g}th percentile of errors in training",
    "worst": "reaches the {:g}th percentile of errors here",
}


def windows_of(text: str) -> list[float]:
    """Energies in eV; a number without a unit has that of the last, as in "5, 10 kcal/mol"."""
    numbers = text.split(",")
    unit = NUMBER.sub("", numbers[-1], count=1)
    return [quantity(one if NUMBER.sub("", one, count=1) else f"{one} {unit}", "energy") for one in numbers]


def chosen_data(folder: Path, file: Path | None, *, later: bool, energy_key: str, forces_key: str) -> HeldOut:
    """What the committee of a folder has not seen: of a file, or of its run.

    Raises:
        ValueError: If there is none, or both are asked for.
    """
    if file is None:
        return held_out(folder, later=later)
    if later:
        raise ValueError("--later adds labels of the run to its test split; leave out either that or the file")
    frames = read_atoms(file, labels="required", energy_key=energy_key, forces_key=forces_key, allow_dummy=True)
    return held_out_of(folder, Dataset.from_atoms(frames), str(file))


def positive_of(given: str | None, training: Dataset | None) -> Positive:
    """What Eq. 8 is to find; what is not beyond training, because that is unknown, can only be the worst.

    Raises:
        ValueError: If there is no such choice.
    """
    if given is None:
        return "worst" if training is None else "beyond_training"
    for choice in POSITIVES:
        if choice == given:
            return choice
    raise ValueError(f"--positive must be one of {', '.join(POSITIVES)}, got {given!r}")


def error_tables(report: ErrorReport, *, unit: EnergyUnit) -> str:
    """Errors by energy and by group, then what the uncertainty is worth."""
    return "\n".join([*_errors(report, unit), "", *_uncertainty(report), "", *_detection(report, unit)])


def _errors(report: ErrorReport, unit: EnergyUnit) -> Iterator[str]:
    yield f"{report.data}; committee of {report.n_members}"
    yield f"energies in {unit.name}, forces in {unit.name}/Å; windows above the lowest label of the composition"
    named: list[tuple[str, Part]] = [("all", report.overall)]
    named += [(f"energy up to {_shown(window.high, unit)}", window.part) for window in report.up_to]
    named += [(f"energy {_span(window, unit)}", window.part) for window in report.between]
    named += [(f"{report.group_by} {name}", part) for name, part in report.groups.items()]
    rows: list[tuple[str, ...]] = [("", *HEADING)]
    for name, part in named:
        errors = part.errors
        energies = (errors.energy_mae, errors.energy_rmse, part.energy_bias, part.energy_rmse_per_atom)
        values = (*energies, errors.force_mae, errors.force_rmse)
        rows.append((name, str(errors.n_structures), *(f"{value / unit.size:.4f}" for value in values)))
    yield from aligned(rows)


def _uncertainty(report: ErrorReport) -> Iterator[str]:
    yield "ρ: rank correlation of σ and error; error/σ: the factor by which σ is too small; RMS: of errors, to that"
    yield f"of σ (members that err independently: {independent_ratio(report.n_members):.2f}); area: of miscalibration"
    rows: list[tuple[str, ...]] = [("", "ρ", "error/σ", "RMS", "area")]
    remarks: list[list[str]] = [[]]
    for name, reliability in _kinds(report):
        correlation, calibration = reliability.correlation, reliability.calibration
        rho = "-" if correlation is None else _with_interval(correlation.rho, correlation.interval)
        scale = "-" if calibration is None else _with_interval(calibration.scale, calibration.interval)
        rest = ("-", "-") if calibration is None else (f"{calibration.ratio:.2f}", f"{calibration.miscalibration:.3f}")
        rows.append((name, rho, scale, *rest))
        whats = ("correlation", "calibration")
        remarks.append([f"  no {what}: {reliability.absent[what]}" for what in whats if what in reliability.absent])
    for line, others in zip(aligned(rows), remarks, strict=True):
        yield from (line, *others)


def _detection(report: ErrorReport, unit: EnergyUnit) -> Iterator[str]:
    yield f"Eq. 8 is to find each error that {POSITIVES[report.positive].format(report.percentile)}"
    yield "AUC: area under the ROC curve; found, false, right: shares at the threshold t of training"
    rows: list[tuple[str, ...]] = [("to find", "by", "AUC", "found", "false", "right")]
    remarks = []
    for name, reliability in _kinds(report):
        if "detection" in reliability.absent:
            remarks.append(f"  no ROC curve of {name}: {reliability.absent['detection']}")
        per = "/Å" if name == "forces" else ""
        for detection in reliability.detections:
            n = detection.n_positive + detection.n_negative
            limit = f"{detection.error_limit / unit.size:.3g} {unit.name}{per}"
            wanted = f"{KINDS[name]} error >= {limit} ({detection.n_positive} of {n})"
            auc = _with_interval(detection.area, detection.interval)
            rows.append((wanted, VARIANCES[detection.variance], auc, *_choice(detection)))
    yield from (*aligned(rows, left=(0, 1)), *remarks)


def _choice(detection: Detection) -> tuple[str, str, str]:
    choice = detection.choice
    if choice is None:
        return "-", "-", "-"
    return f"{choice.true_positive_rate:.0%}", f"{choice.false_positive_rate:.0%}", f"{choice.accuracy:.0%}"


def _kinds(report: ErrorReport) -> tuple[tuple[str, Reliability], ...]:
    return ("forces", report.forces), ("energies", report.energy)


def _span(window: Window, unit: EnergyUnit) -> str:
    if window.high is None:
        return f"above {_shown(window.low, unit)}"
    return f"{_shown(window.low, unit)} to {_shown(window.high, unit)}"


def _shown(energy: float | None, unit: EnergyUnit) -> str:
    return "" if energy is None else f"{energy / unit.size:.4g}"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"
