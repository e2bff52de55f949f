"""The section of a report about free energies."""

import shlex
from collections.abc import Mapping, Sequence

from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.free_energy.figure import free_energy_figure
from sparring.validation.free_energy.histograms import FreeEnergies
from sparring.validation.results import Results

__all__ = ["figures", "notes", "read"]


def read(files: Results) -> Mapping[str, FreeEnergies] | None:
    """Free energies of all committees that have one; the newest committee counts as missing if none has."""
    results = files.of_generations("free_energy.json", FreeEnergies)
    if not results:
        newest = max(files.run.generations, default=1)
        folder = shlex.quote(str(files.run.folder / f"generation-{newest:02d}"))
        files.missing.append(f"sparring validate free-energy {folder}")
    return results or None


def figures(results: Mapping[str, FreeEnergies], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """A figure for each committee."""
    caption = (
        "Free energy from plain dynamics on the surface of the labels and on that of the committee; the line encloses "
        "the bins that both have sampled often enough to be compared."
    )
    return tuple(
        ReportFigure(
            name=f"free_energy_{name.replace(' ', '_')}",
            title=f"Free energy, {name}",
            caption=caption,
            figure=free_energy_figure(one, unit=unit),
        )
        for name, one in results.items()
    )


def notes(results: Mapping[str, FreeEnergies], run: ReportedRun) -> Sequence[str]:
    """Dynamics of the committee and of the reference."""
    return tuple(f"{name}: {'; '.join(one.methods)}." for name, one in results.items())
