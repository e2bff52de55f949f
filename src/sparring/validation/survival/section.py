"""The section of a report about survival."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Table
from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.results import Results, each_generation
from sparring.validation.survival.figure import survival_figure
from sparring.validation.survival.table import SHOWN, failure_table
from sparring.validation.survival.trials import Survival

__all__ = ["figures", "more_tables", "notes", "read"]


def read(files: Results) -> Mapping[str, Survival] | None:
    """The survival of each committee."""
    return each_generation("survival", Survival)(files)


def figures(results: Mapping[str, Survival], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Stable fractions and survival."""
    caption = (
        "Copies of one structure in dynamics with each committee, and the fraction of them that stays physical, with "
        "95 % intervals (Wilson). A dot is a failure."
    )
    figure = survival_figure(results)
    return (ReportFigure(name="survival", title="Copies that stay physical", caption=caption, figure=figure),)


def more_tables(results: Mapping[str, Survival], unit: EnergyUnit) -> tuple[tuple[str, Table], ...]:
    """Failures of the newest committee."""
    name, newest = list(results.items())[-1]
    count = len(newest.failures)
    if not count:
        return ()
    shown = f"{SHOWN} of {count} failures" if count > SHOWN else "Failures"
    return ((f"{shown}, {name}", failure_table(newest, unit)),)


def notes(results: Mapping[str, Survival], run: ReportedRun) -> Sequence[str]:
    """Settings of the dynamics: a line for all committees, or one each where they differ."""
    lines: dict[str, list[str]] = {}
    for name, result in results.items():
        settings = result.settings
        copies = sorted({trial.n_copies for trial in result.trials})
        line = (
            f"{settings.formula}, {' or '.join(map(str, copies))} copies at each temperature for "
            f"{settings.duration / 1000:g} ps in steps of {settings.timestep:g} fs, {settings.ensemble}. A copy fails "
            f"if: {'; '.join(settings.criteria)}."
        )
        lines.setdefault(line, []).append(name)
    interval = "In brackets: 95 % intervals (Wilson)."
    if any(result.failures for result in results.values()):
        interval += (
            " In the failing frame, the bond or angle that went farthest is the one that differs most from the start, "
            "in units of its thermal spread σ over all copies; energies and forces are those of the committee, errors "
            "those against labels."
        )
    if len(lines) == 1:
        return (f"{interval} {next(iter(lines))}", *run.remarks("stable"))
    return (interval, *(f"{', '.join(names)}: {line}" for line, names in lines.items()), *run.remarks("stable"))
