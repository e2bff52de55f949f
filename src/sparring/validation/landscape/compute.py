"""Landscapes of the committees of a run, generation by generation, over a grid that is labelled once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.assembly.labels import label_service_of
from sparring.atoms.dataset import ENERGY
from sparring.committee_files import read_committee
from sparring.config import Config
from sparring.labels.service import LabelService
from sparring.runs.generation import Generation
from sparring.runs.saved_run import generations, run_of
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.surfaces.grids import Grid, Truth, true_energies
from sparring.surfaces.landscape import Landscape, Landscapes, Marks, landscape
from sparring.surfaces.torsion_grids import POINTS as TORSION_POINTS
from sparring.surfaces.torsion_maps import GridKind, torsion_grid
from sparring.validation.records import write_record
from sparring.validation.run_system import starting_structures

__all__ = ["LandscapeResult", "committees", "keep_landscapes", "landscapes", "system_grid"]

Project = Callable[[Atoms], tuple[float, ...]]


class LandscapeResult(NamedTuple):
    """Landscapes, the true energies, and the grid with its structures."""

    landscapes: Landscapes
    truth: Truth
    grid: Grid


def landscapes(
    folder: Path,
    *,
    grid: Grid | None = None,
    points: Sequence[int] | None = None,
    which: GridKind | None = None,
    config: Config | None = None,
    labels: bool = True,
    store: Path | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> LandscapeResult:
    """The landscape of a committee, or of all committees of a run.

    Args:
        folder: Folder of a committee, or of a run.
        grid: Grid of structures; None for the built-in grid of the system of the run.
        points: Numbers of points along each side of the built-in grid.
        which: Kind of the grid over two torsions; None for the rigid one.
        config: Configuration whose labeller gives the energies of points without one; None for that of the run, if the
            folder is one or is in one. Its energy window is ignored: a landscape has high energies.
        labels: True to compute missing labels.
        store: Folder for labels if neither the configuration nor the run has one.
        progress_bars: Progress bars.

    Raises:
        ValueError: If there is no committee, or no grid and the system has none of its own, or both a grid and points.
    """
    members = committees(folder)
    run = run_of(folder)
    known = run.config() if run else config
    if grid is not None and points is not None:
        raise ValueError("--points is only for built-in grids, got a grid from a file; leave out --points")
    trained = {name: read_committee(place) for name, place in members.items()}  # before labels are paid for
    start = starting_structures(run)
    own_grid = known.system.build().grid if known is not None and grid is None else None
    mirrored = own_grid is not None and own_grid.mirrored
    configuration = config or known
    label_service = None
    if configuration is not None and (labels or which == "relaxed"):
        label_service = _label_service(configuration, run.folder if run else store or folder, progress_bars)
    if grid is None:
        grid = system_grid(known, start, points, which=which, label_service=label_service, progress_bars=progress_bars)
    for committee in trained.values():
        committee.require_known(grid.structures)
    label = None
    if labels and configuration is not None and label_service is not None:
        label = label_service.label
        grid = _with_state(grid, configuration)
    truth = true_energies(grid, label, mirrored=mirrored)
    zero = _zero(truth, members.values())
    project = _project(known, start, grid)
    maps: dict[str, Landscape] = {}
    tick = progress_bars("landscapes")
    for done, (name, place) in enumerate(members.items(), start=1):
        found = landscape(trained[name], grid, truth, zero=zero)
        zero = found.zero
        maps[name] = replace(found, marks=_marks(place, len(start), project, zero) if project else {})
        if tick:
            tick(done, len(members))
    return LandscapeResult(Landscapes(committees=maps), truth, grid)


def keep_landscapes(folder: Path, progress_bars: ProgressBars = no_progress_bars) -> None:
    """Write the landscapes of a run's committees where its report looks for them, as `sparring validate` does."""
    found = landscapes(folder, progress_bars=progress_bars)
    (folder / "validation").mkdir(exist_ok=True)
    write_record(folder / "validation" / "landscape.json", found.landscapes)


def committees(folder: Path) -> dict[str, Path]:
    """The folders of one committee or of a run's, by what people call them.

    Raises:
        ValueError: If there is none.
    """
    single = Generation(folder)
    found = [one.folder for one in ([single] if single.has_committee else generations(folder)) if one.has_committee]
    if not found:
        raise ValueError(f"{folder} holds no committee; give the folder of a run, or of one of its generations")
    return {_title(one.absolute().name): one for one in found}


def system_grid(
    config: Config | None,
    start: Sequence[Atoms],
    points: Sequence[int] | None = None,
    *,
    which: GridKind | None = None,
    label_service: LabelService | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> Grid:
    """The built-in grid of a system.

    Args:
        config: Configuration with the system.
        start: Starting structures of a run.
        points: Numbers of points along each side.
        which: Kind of the grid over two torsions; None for the rigid one.
        label_service: Labels whose surface a relaxed grid is relaxed on.
        progress_bars: Progress bars.

    Raises:
        ValueError: If the system has no grid of its own, or not that one, or the numbers of points do not fit.
    """
    system = config.system.build() if config else None
    if system is None or (system.torsions is None and (system.grid is None or (system.grid.from_start and not start))):
        of = "a committee outside of a run" if system is None or system.grid else f"system {system.name!r}"
        raise ValueError(f"no built-in grid for {of}; pass GRID.xyz with --x NAME [--y NAME]")
    if system.torsions is not None:
        plane, molecule = system.torsions(start)
        shape = _shape(points, TORSION_POINTS, system.name)
        return torsion_grid(
            plane,
            molecule,
            label_service,
            which=which or "rigid",
            points=(shape[0], shape[1]),
            progress_bars=progress_bars,
        )
    if which is not None:
        raise ValueError(
            f"a rigid and a relaxed grid (--grid) are those over two torsions, which {system.name} has not"
        )
    assert system.grid is not None
    return system.grid.make(start, _shape(points, system.grid.points, system.name))


def _shape(points: Sequence[int] | None, default: tuple[int, ...] | None, name: str) -> tuple[int, ...]:
    """The numbers of points along the sides of a grid."""
    if default is None:
        if points is not None:
            raise ValueError(f"the grid of system {name!r} has the points that it has; leave out --points")
        return ()
    shape = tuple(points or default)
    if len(shape) != len(default) or min(shape) < 2:
        wanted, got = ("x".join(map(str, numbers)) for numbers in (default, shape))
        raise ValueError(f"wanted numbers of points such as {wanted} for {name}, got {got}")
    return shape


def _project(config: Config | None, start: Sequence[Atoms], grid: Grid) -> Project | None:
    """Function that projects a structure onto a grid; None if the grid has other variables than the system."""
    names = (grid.x.name,) if grid.y is None else (grid.x.name, grid.y.name)
    system = config.system.build() if config else None
    if system is not None and system.torsions is not None:
        plane, _ = system.torsions(start)
        return (lambda atoms: tuple(plane.values([atoms])[0].tolist())) if names == plane.names else None
    own = None if system is None else system.grid
    if own is None or own.project is None or names != own.variables or (own.from_start and not start):
        return None
    return own.project(start)


def _label_service(config: Config, folder: Path, progress_bars: ProgressBars) -> LabelService:
    label_service = label_service_of(config, folder, progress_bars)
    if config.system.build().torsions is not None:
        return label_service.without_bounds()
    return replace(label_service, bounds=replace(label_service.bounds, energy_window=None))


def _with_state(grid: Grid, config: Config) -> Grid:
    with_state = config.system.build().electronic_state
    return grid if with_state is None else replace(grid, structures=tuple(with_state(list(grid.structures))))


def _zero(truth: Truth, folders: Collection[Path]) -> float | None:
    """The lowest true energy on the grid; or else of the data, so that no committee's own error is in it."""
    if np.isfinite(truth.energy).any():
        return float(np.nanmin(truth.energy))
    return min((float(atoms.info[ENERGY]) for folder in folders for atoms in Generation(folder).frames()), default=None)


def _marks(folder: Path, n_start: int, project: Project, zero: float) -> dict[str, Marks]:
    """The labelled structures of a generation; those of the start come first in its data."""
    data = Generation(folder).frames()
    roles = {"start": data[:n_start], "earlier": data[n_start:], "next": Generation(folder).labelled()}
    return {role: _projected(frames, project, zero) for role, frames in roles.items() if frames}


def _projected(frames: Sequence[Atoms], project: Project, zero: float) -> Marks:
    places = np.array([(*project(atoms), 0.0)[:2] for atoms in frames])
    energy = np.array([float(atoms.info[ENERGY]) for atoms in frames])
    return Marks(x=places[:, 0], y=places[:, 1], energy=energy - zero)


def _title(name: str) -> str:
    kind, _, number = name.partition("-")
    return f"generation {int(number)}" if kind == "generation" and number.isdecimal() else name
