"""The section of a report about barriers."""

import shlex
from collections.abc import Sequence

from sparring.units import EnergyUnit
from sparring.validation.barrier.compute import Barriers
from sparring.validation.barrier.figure import barrier_figure
from sparring.validation.base import ReportedRun, ReportFigure, by_number
from sparring.validation.results import Results

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Barriers | None:
    """Paths of all committees; those computed for the whole run replace those computed for single committees."""
    whole = files.of_run("barrier.json", Barriers, _command(files.run))
    found = [*([] if whole is None else [whole]), *files.of_generations("barrier.json", Barriers).values()]
    # All paths of a result for the whole run have the same settings.
    paths = by_number({name: path for one in reversed(found) for name, path in one.committees.items()})
    failures = {name: reason for one in found for name, reason in one.failures.items()}
    files.complete([*paths, *failures])
    truth = next((one.truth for one in found if one.truth is not None), None)
    return Barriers(committees=paths, truth=truth, failures=failures) if paths else None


def figures(results: Barriers, unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Energies along all paths."""
    caption = (
        "Nudged elastic bands between the same two minima, each on the surface of its committee; the band of colour is "
        "one standard deviation between the members."
    )
    figure = barrier_figure(results.committees, truth=results.truth, unit=unit)
    return (ReportFigure(name="barrier", title="Energy along the path", caption=caption, figure=figure),)


def notes(results: Barriers, run: ReportedRun) -> Sequence[str]:
    """Committees without a path, and how to compute the reference path."""
    lines = [f"{name} has no path: {reason}" for name, reason in results.failures.items()]
    if results.truth is None:
        lines.append(f"The reference path is not computed yet: {_command(run)}")
    return (*lines, *run.remarks("barrier_error"))


def _command(run: ReportedRun) -> str:
    endpoints = "" if run.has_endpoints else " START.xyz END.xyz"
    config = shlex.quote(str(run.folder / "config.yaml"))
    return f"sparring validate barrier {shlex.quote(str(run.folder))}{endpoints} --config {config}"
