"""Landscapes of the committees of a run, generation by generation, over a grid that is labelled once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from sparring.assembly.labels import label_service_of
from sparring.assembly.planning import plane_of
from sparring.atoms.dataset import ENERGY
from sparring.committee_files import read_committee
from sparring.config import Config, load, sections
from sparring.inputs.extxyz import read_labelled
from sparring.labels.service import LabelService
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.surfaces.grids import Grid, Truth, grid, true_energies
from sparring.surfaces.landscape import Landscape, Landscapes, Marks, landscape
from sparring.surfaces.torsion_maps import GridKind, torsion_grid
from sparring.systems import alanine_dipeptide, ammonia, own, wells
from sparring.systems.wells import WELLS
from sparring.validation.records import write_record

__all__ = ["LandscapeResult", "committees", "keep_landscapes", "landscapes", "system_grid"]

Project = Callable[[Atoms], tuple[float, ...]]

POINTS = {"ammonia": (21, 21), "double_well_1d": (201,), "double_well_2d": (51, 51), "alanine_dipeptide": (24, 24)}
WELL_VARIABLES = {"double_well_1d": ("x",), "double_well_2d": ("x", "y")}
# In units of the ground state's, in Å of no bond below 0.6 and of none above 1.6. An odd number of radii, and a
# multiple of four and one of heights, have the ground state among them.
RADII, HEIGHTS = (0.65, 1.35), (-2.0, 2.0)


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
    run = next((one for one in (folder, folder.absolute().parent) if _is_run(one)), None)
    known = load(run / "config.yaml") if run else config
    if grid is not None and points is not None:
        raise ValueError("--points is only for built-in grids, got a grid from a file; leave out --points")
    trained = {name: read_committee(place) for name, place in members.items()}  # before labels are paid for
    start = _data(run / "generation-01") if run else []
    mirrored = grid is None and known is not None and known.system.kind == "ammonia"
    asked = config or known
    label_service = None
    if asked is not None and (labels or which == "relaxed"):
        label_service = _laboratory(asked, run or store or folder, progress_bars)
    if grid is None:
        grid = system_grid(known, start, points, which=which, label_service=label_service, progress_bars=progress_bars)
    for committee in trained.values():
        committee.require_known(grid.structures)
    label = None
    if labels and asked is not None and label_service is not None:
        label = label_service.label
        grid = _with_state(grid, asked)
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
    found = [folder] if (folder / "committee.json").exists() else []
    found = found or sorted(file.parent for file in folder.glob("generation-*/committee.json"))
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
    kind = config.system.kind if config else None
    if kind not in POINTS or (kind == "ammonia" and not start):
        what = "system 'own'" if kind == "own" else "a committee that is not part of a run"
        raise ValueError(f"no built-in grid for {what}; pass GRID.xyz with --x NAME [--y NAME]")
    shape = tuple(points or POINTS[kind])
    if len(shape) != len(POINTS[kind]) or min(shape) < 2:
        wanted, got = ("x".join(map(str, numbers)) for numbers in (POINTS[kind], shape))
        raise ValueError(f"wanted numbers of points such as {wanted} for {kind}, got {got}")
    plane = plane_of(config)
    if plane is not None:
        return torsion_grid(
            plane,
            alanine_dipeptide.geometry(),
            label_service,
            which=which or "rigid",
            points=(shape[0], shape[1]),
            progress_bars=progress_bars,
        )
    if which is not None:
        raise ValueError(f"a rigid and a relaxed grid (--grid) are those over two torsions, which {kind} has not")
    if kind == "ammonia":
        radii, heights = np.linspace(*RADII, shape[0]), np.linspace(*HEIGHTS, shape[1])
        return grid(
            ammonia.umbrella_grid(_lowest(start), radii=radii.tolist(), heights=heights.tolist()), *ammonia.UMBRELLA
        )
    return grid(wells.grid_points(WELLS[kind](), shape), *WELL_VARIABLES[kind], x_unit="Å", y_unit="Å")


def _project(config: Config | None, start: Sequence[Atoms], grid: Grid) -> Project | None:
    """Function that projects a structure onto a grid; None if the grid has other variables than the system."""
    names = (grid.x.name,) if grid.y is None else (grid.x.name, grid.y.name)
    plane = plane_of(config)
    if plane is not None:
        return (lambda atoms: tuple(plane.values([atoms])[0].tolist())) if names == plane.names else None
    kind = config.system.kind if config else None
    if kind == "ammonia" and start and names == ammonia.UMBRELLA:
        return ammonia.umbrella_coordinates(_lowest(start))
    if names == WELL_VARIABLES.get(kind or ""):
        return lambda atoms: wells.coordinates(atoms, len(names))
    return None


def _lowest(start: Sequence[Atoms]) -> Atoms:
    return min(start, key=lambda atoms: float(atoms.info[ENERGY]))


def _is_run(folder: Path) -> bool:
    return (folder / "config.yaml").exists() and (folder / "generation-01").exists()


def _laboratory(config: Config, folder: Path, progress_bars: ProgressBars) -> LabelService:
    label_service = label_service_of(config, folder, progress_bars)
    if plane_of(config) is not None:
        return label_service.without_bounds()
    return replace(label_service, bounds=replace(label_service.bounds, energy_window=None))


def _with_state(grid: Grid, config: Config) -> Grid:
    if not isinstance(config.system, sections.Own):
        return grid
    charge, multiplicity = config.system.charge, config.system.multiplicity
    return replace(
        grid, structures=tuple(own.assume_state(list(grid.structures), charge=charge, multiplicity=multiplicity))
    )


def _data(folder: Path, name: str = "dataset.extxyz") -> list[Atoms]:
    file = folder / name
    return read_labelled(file, allow_dummy=True, allow_empty=True) if file.exists() else []


def _zero(truth: Truth, folders: Collection[Path]) -> float | None:
    """The lowest true energy on the grid; or else of the data, so that no committee's own error is in it."""
    if np.isfinite(truth.energy).any():
        return float(np.nanmin(truth.energy))
    return min((float(atoms.info[ENERGY]) for folder in folders for atoms in _data(folder)), default=None)


def _marks(folder: Path, n_start: int, project: Project, zero: float) -> dict[str, Marks]:
    """The labelled structures of a generation; those of the start come first in its data."""
    data = _data(folder)
    roles = {"start": data[:n_start], "earlier": data[n_start:], "next": _data(folder, "labelled.extxyz")}
    return {role: _projected(frames, project, zero) for role, frames in roles.items() if frames}


def _projected(frames: Sequence[Atoms], project: Project, zero: float) -> Marks:
    places = np.array([(*project(atoms), 0.0)[:2] for atoms in frames])
    energy = np.array([float(atoms.info[ENERGY]) for atoms in frames])
    return Marks(x=places[:, 0], y=places[:, 1], energy=energy - zero)


def _title(name: str) -> str:
    kind, _, number = name.partition("-")
    return f"generation {int(number)}" if kind == "generation" and number.isdecimal() else name
