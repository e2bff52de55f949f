"""The sections of a report about landscapes: on the grid of a system, and on the relaxed grid over two torsions."""

import shlex
from collections.abc import Mapping, Sequence

from sparring.surfaces.landscape import Landscape, Landscapes
from sparring.surfaces.torsion_maps import GridKind
from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure, by_number
from sparring.validation.landscape.figure import landscape_figure
from sparring.validation.results import Results

__all__ = ["figures", "notes", "read", "read_relaxed", "relaxed_figures"]

GRIDS: dict[GridKind, str] = {
    "rigid": " Over torsions, only the torsions differ between points, as in an attack; energies are clipped as in "
    "Fig. 4c.",
    "relaxed": " All coordinates but the torsions are relaxed; energies are clipped as in Fig. 4c.",
}


def read(files: Results) -> Mapping[str, Landscape] | None:
    """Landscapes on the grid of the system."""
    return _read(files, "landscape", "" if files.run.has_grid else " GRID.xyz --x NAME")


def read_relaxed(files: Results) -> Mapping[str, Landscape] | None:
    """Landscapes on the relaxed grid over two torsions."""
    return _read(files, "landscape_relaxed", " --grid relaxed")


def figures(results: Mapping[str, Landscape], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Maps of all committees; a figure for each grid."""
    return _figures(results, unit, "landscape", "rigid")


def relaxed_figures(results: Mapping[str, Landscape], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Maps on the relaxed grid."""
    return _figures(results, unit, "landscape_relaxed", "relaxed")


def notes(results: Mapping[str, Landscape], run: ReportedRun) -> Sequence[str]:
    """Published statements."""
    points = f"Points: those whose true energy is at most so many {run.unit.name} above its lowest."
    return (points, *run.remarks("landscape"))


def _read(files: Results, name: str, options: str) -> Mapping[str, Landscape] | None:
    command = f"sparring validate landscape {shlex.quote(str(files.run.folder))}{options}"
    whole = files.of_run(f"{name}.json", Landscapes, command)
    found = [*([] if whole is None else [whole]), *files.of_generations(f"{name}.json", Landscapes).values()]
    maps = by_number({name: one for many in reversed(found) for name, one in many.committees.items()})
    files.complete([*maps])
    return maps or None


def _figures(
    results: Mapping[str, Landscape], unit: EnergyUnit, name: str, which: GridKind
) -> tuple[ReportFigure, ...]:
    caption = (
        "Mean energy and σ_F of the committee of each generation, beside the true energy; dots are labelled "
        "structures. Below the true energy: RMS errors over all points whose true energy is below a cap."
    )
    periodic = all(one.x.period is not None for one in results.values())
    return tuple(
        ReportFigure(
            name=f"{name}{'' if number == 0 else f'_{number + 1}'}",
            title="Energy and uncertainty",
            caption=f"{caption}{GRIDS[which] if periodic else ''}",
            figure=landscape_figure(Landscapes(committees=group), unit=unit),
        )
        for number, group in enumerate(_same_grid(results))
    )


def _same_grid(maps: Mapping[str, Landscape]) -> Sequence[dict[str, Landscape]]:
    """Landscapes that can stand side by side, because their grids are the same."""
    groups: dict[tuple[object, ...], dict[str, Landscape]] = {}
    for name, one in maps.items():
        y = None if one.y is None else (one.y.name, one.y.values.tobytes())
        groups.setdefault((one.x.name, one.x.values.tobytes(), y, one.zero), {})[name] = one
    return list(groups.values())
