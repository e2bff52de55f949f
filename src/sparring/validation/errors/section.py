"""The section of a report about errors."""

from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.errors.compute import ErrorReport
from sparring.validation.errors.figure import errors_figure
from sparring.validation.results import Results, each_generation

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, ErrorReport] | None:
    """The errors of each committee."""
    return each_generation("errors", ErrorReport)(files)


def figures(results: Mapping[str, ErrorReport], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Errors and uncertainty of the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Errors on labels that the committee was not trained on, by energy; rank correlation of its uncertainty with "
        "the errors, calibration, detection of unreliable structures (Eq. 8), and coverage."
    )
    title = f"Errors and uncertainty, {name}"
    return (ReportFigure(name="errors", title=title, caption=caption, figure=errors_figure(newest, unit=unit)),)


def notes(results: Mapping[str, ErrorReport], run: ReportedRun) -> Sequence[str]:
    """Units, data and symbols of the table."""
    sets = dict.fromkeys(report.data for report in results.values())
    stresses = any(report.stress is not None for report in results.values())
    different = "The structures differ from row to row: rows cannot be compared with each other."
    return (
        *((different,) if len(sets) > 1 else ()),
        f"Energies in {run.unit.name}, components of forces in {run.unit.name}/Å, of n structures: {', '.join(sets)}. "
        f"{'Components of stresses in GPa, of the structures that have a label. ' if stresses else ''}"
        "ρ: rank correlation of the committee's σ_F and its true error; error/σ: scale factor that recalibrates σ; "
        "AUC: area under the ROC curve of Eq. 8, 0.5 for guesses. In brackets: 95 % intervals.",
    )
