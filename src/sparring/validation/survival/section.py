"""The section of a report about survival."""

from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.results import Results, each_generation
from sparring.validation.survival.figure import survival_figure
from sparring.validation.survival.trials import Survival

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, Survival] | None:
    """The survival of each committee."""
    return each_generation("survival", Survival)(files)


def figures(results: Mapping[str, Survival], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Stable fractions and survival."""
    caption = "Copies of one structure in dynamics with each committee, and the fraction of them that stays physical."
    figure = survival_figure(results)
    return (ReportFigure(name="survival", title="Copies that stay physical", caption=caption, figure=figure),)


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
    if len(lines) == 1:
        return (f"{interval} {next(iter(lines))}", *run.remarks("stable"))
    return (interval, *(f"{', '.join(names)}: {line}" for line, names in lines.items()), *run.remarks("stable"))
