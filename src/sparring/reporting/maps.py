"""The sections of the page about landscapes, and about free energies in the plane of two torsions."""

import shlex
from collections.abc import Mapping, Sequence

from sparring.reporting import validation_tables
from sparring.reporting.data import Run
from sparring.reporting.figures.free_energy import free_energy_figure
from sparring.reporting.figures.landscape import landscape_sheet
from sparring.reporting.results import Results
from sparring.reporting.sections import Section, natural, quoted, section_of
from sparring.reporting.sheets import Sheet
from sparring.runs.saved_run import SavedRun
from sparring.surfaces.landscape import Landscape, Landscapes
from sparring.surfaces.torsion_maps import GridKind
from sparring.validation.free_energy.histograms import FreeEnergies

__all__ = ["free_energies", "landscapes"]

OF_GRID: dict[GridKind, str] = {
    "rigid": " On this grid only the torsions are turned, as an attack does; energies are clipped as in Fig. 4c.",
    "relaxed": " On this grid all but the torsions is relaxed; energies are clipped as in Fig. 4c.",
}


def landscapes(run: Run, which: GridKind = "rigid") -> Section | None:
    """Energy and uncertainty over one or two variables; of torsions, on the rigid grid or on the relaxed one."""
    system = run.system
    if which == "relaxed" and system.torsions is None:
        return None
    name, title = ("landscape", "Landscape") if which == "rigid" else ("landscape_relaxed", "Relaxed landscape")
    files, folder = Results(run=run), shlex.quote(str(run.folder))
    known = system.torsions is not None or system.grid is not None
    more = " --grid relaxed" if which == "relaxed" else "" if known else " GRID.xyz --x NAME"
    whole = files.of_run(f"{name}.json", Landscapes, f"sparring validate landscape {folder}{more}")
    parts = files.of_generations(f"{name}.json", Landscapes)
    found = [*([] if whole is None else [whole]), *parts.values()]
    maps = {name: one for many in reversed(found) for name, one in many.committees.items()}
    maps = {name: maps[name] for name in sorted(maps, key=natural)}

    def show() -> Section:
        caption = (
            "The committee's mean energy and its σ_F, generation by generation, beside the truth; dots are labelled "
            "structures. Below the truth: root mean square errors over all points whose true energy is below a cap."
        )
        sheets = [
            Sheet(
                name=f"{name}{'' if number == 0 else f'_{number + 1}'}",
                title="Energy and uncertainty",
                caption=f"{caption}{OF_GRID[which] if system.torsions is not None else ''}",
                figure=landscape_sheet(Landscapes(committees=group), unit=run.unit),
            )
            for number, group in enumerate(_same_grid(maps))
        ]
        return Section(
            name=name,
            title=title,
            sheets=tuple(sheets),
            table=validation_tables.landscapes(run, maps),
            notes=quoted(run, "landscape"),
        )

    files.complete([*maps])
    return section_of(files, name, title, show if maps else None)


def free_energies(run: Run) -> Section | None:
    """Free energy over two torsions, of every committee that has been asked."""
    if run.system.torsions is None:
        return None
    files = Results(run=run)
    results = files.of_generations("free_energy.json", FreeEnergies)
    if not results:
        newest = max((one.number for one in run.generations if one.training is not None), default=1)
        folder = shlex.quote(str(SavedRun(run.folder).generation(newest).folder))
        files.missing.append(f"sparring validate free-energy {folder}")

    def show() -> Section:
        caption = (
            "Free energy from plain dynamics, of the labels' own surface and of the committee; the line encloses the "
            "region that both have visited often enough to be compared."
        )
        sheets = [
            Sheet(
                name=f"free_energy_{name.replace(' ', '_')}",
                title=f"Free energy, {name}",
                caption=caption,
                figure=free_energy_figure(one, unit=run.unit),
            )
            for name, one in results.items()
        ]
        return Section(
            name="free_energy",
            title="Free energy",
            sheets=tuple(sheets),
            table=validation_tables.free_energies(run, results),
            notes=tuple(f"{name}: {'; '.join(one.methods)}." for name, one in results.items()),
        )

    return section_of(files, "free_energy", "Free energy", show if results else None)


def _same_grid(maps: Mapping[str, Landscape]) -> Sequence[dict[str, Landscape]]:
    """Landscapes that can stand side by side, because their grids are the same."""
    groups: dict[tuple[object, ...], dict[str, Landscape]] = {}
    for name, one in maps.items():
        y = None if one.y is None else (one.y.name, one.y.values.tobytes())
        groups.setdefault((one.x.name, one.x.values.tobytes(), y, one.zero), {})[name] = one
    return list(groups.values())
