"""The section of a report about holes."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ase import Atoms

from sparring.inputs.extxyz import read_structures
from sparring.support.tables import Table
from sparring.units import EnergyUnit
from sparring.validation.base import Published, ReportedRun, ReportFigure, no_published
from sparring.validation.holes.compute import WALLS, Holes, attacked_generations
from sparring.validation.holes.figure import energy_figure, geometry_figure
from sparring.validation.holes.table import holes_table
from sparring.validation.results import Results

__all__ = ["HolesOfRun", "figures", "notes", "read", "summary", "table"]


@dataclass(frozen=True, kw_only=True)
class HolesOfRun:
    """Holes of a run.

    Attributes:
        generations: Results by the names of generations.
        newest: Name of the newest generation that has holes; empty if none has.
        frames: Geometries of its holes, in the order of the results.
    """

    generations: Mapping[str, Holes]
    newest: str = ""
    frames: Sequence[Atoms] = ()


def read(files: Results) -> HolesOfRun | None:
    """The holes of each generation that was attacked."""
    attacked = {f"generation {one.number}": one for one in attacked_generations(files.run.folder)}
    results = files.of_generations("holes.json", Holes)
    if set(attacked) - set(results):
        files.missing.append(f"sparring validate holes {shlex.quote(str(files.run.folder))}")
    if not results:
        return None
    newest = next((name for name in reversed(results) if results[name].found and name in attacked), "")
    if not newest:
        return HolesOfRun(generations=results)
    try:
        frames = read_structures(attacked[newest].folder / "validation" / "holes.extxyz")
    except (ValueError, OSError) as error:
        files.problems.append(f"The geometries of the holes cannot be shown: {error}")
        frames = []
    return HolesOfRun(generations=results, newest=newest, frames=frames)


def table(results: HolesOfRun, unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each hole."""
    return holes_table(results.generations)


def figures(results: HolesOfRun, unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Energies along the attacks, and the worst geometries."""
    made: list[ReportFigure] = []
    if any(result.paths for result in results.generations.values()):
        made.append(
            ReportFigure(
                name="holes",
                title="Energy while two atoms approach",
                caption="Every line is an attack, from its start at the right: energy of the model against the "
                "distance of the two atoms that come closest. In colour: attacks that broke the model, a dot at the "
                "lowest energy behind the wall.",
                figure=energy_figure(results.generations),
            )
        )
    if results.frames:
        found = results.generations[results.newest].found[: len(results.frames)]
        made.append(
            ReportFigure(
                name="holes_geometries",
                title=f"Worst geometries, {results.newest}",
                caption="Surroundings of the two atoms that merged (ringed), with periodic images, where the energy "
                "behind the wall is lowest.",
                figure=geometry_figure(found, results.frames),
            )
        )
    return tuple(made)


def notes(results: HolesOfRun, run: ReportedRun) -> Sequence[str]:
    """Number of attacks that broke the model, what that means, and the file of the geometries."""
    lines = [f"{name.capitalize()}: {summary(result)}." for name, result in results.generations.items()]
    first = next(iter(results.generations.values()))
    lines.append(
        f"An attack broke the model where the energy fell by more than {first.fall:g} eV below its highest value while "
        f"two atoms came still closer, to less than {first.low:g} of the sum of their covalent radii: there the model "
        "attracts atoms that merge, and dynamics that cross the wall may end there."
    )
    if results.frames:
        number = results.newest.rpartition(" ")[2]
        files = f"generation-{int(number):02d}/validation"
        lines.append(
            f"Geometries in the holes: {files}/holes.extxyz. On top of the walls, whose labels teach the model "
            f"not to turn over (their forces may be above labels.bounds.max_force): {files}/{WALLS}."
        )
    return lines


def summary(result: Holes) -> str:
    """Number of attacks that broke the model, and the pairs that merged; if none did, the closest approach."""
    found = result.found
    if not found:
        return f"none of {result.n_attacks} attacks broke the model{_closest(result)}"
    pairs: dict[str, int] = {}
    for path in found:
        name = "–".join(sorted(path.elements))
        pairs[name] = pairs.get(name, 0) + 1
    merged = ", ".join(f"{name} in {n}" for name, n in sorted(pairs.items(), key=lambda pair: -pair[1]))
    return f"{len(found)} of {result.n_attacks} attacks broke the model ({merged})"


def _closest(result: Holes) -> str:
    """Closest approach of two atoms: attacks that never brought atoms together say nothing about holes."""
    if not result.paths:
        return ""
    path = min(result.paths, key=lambda path: float(path.scaled.min()))
    step = int(path.scaled.argmin())
    return (
        f"; the closest pair, {'–'.join(path.elements)}, came to {path.distance[step]:.2f} Å, "
        f"{path.scaled[step]:.2f} of the sum of its covalent radii"
    )
