"""Computations of the study of ammonia: barriers, landscapes and stability of committees and of the label method."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from ase import Atoms

from sparring.assembly.labels import label_service_of
from sparring.atoms.dataset import ENERGY
from sparring.committee_files import read_committee
from sparring.config import Config
from sparring.dynamics.calculator import CommitteeCalculator
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.labels.service import LabelService
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces import grids
from sparring.surfaces.evaluators import committee_surface, label_surface
from sparring.surfaces.landscape import Marks
from sparring.surfaces.landscape import landscape as map_landscape
from sparring.surfaces.minimum_energy_path import MinimumEnergyPath, neb
from sparring.systems import ammonia
from sparring.validation.records import write_record
from sparring.validation.survival.compute import own_minimum, survival

__all__ = ["BarrierResult", "Truth", "barrier", "landscape", "stable", "true_barrier", "true_landscape"]

RADII, HEIGHTS = (0.65, 1.35), (-2.0, 2.0)
"""In units of the ground state's."""


@dataclass(frozen=True, kw_only=True)
class BarrierResult:
    """The barrier of the inversion by two methods that must agree.

    Attributes:
        path: Path by NEB, relaxed on the mean surface; None if there is none.
        relaxed: Barrier from the relaxed pyramid to the relaxed planar molecule, in eV; None if one does not exist.
        why: Errors; empty if there were none.
    """

    path: MinimumEnergyPath | None
    relaxed: float | None
    why: tuple[str, ...]


@dataclass(frozen=True)
class Truth:
    """Results of the label method itself; computed on first access, with labels from the store where it has them.

    Attributes:
        config: Configuration of the labeller.
        folder: Folder of the store, if the configuration names none.
        points: Numbers of points of the landscape, along R and Z.
    """

    config: Config
    folder: Path
    points: tuple[int, int]

    @cached_property
    def label_service(self) -> LabelService:
        """The label service, without a window of energies: landscapes include high energies."""
        found = label_service_of(self.config, self.folder)
        return replace(found, bounds=replace(found.bounds, energy_window=None))

    @cached_property
    def inversion(self) -> ammonia.Barrier:
        """Pyramid and planar molecule."""
        return ammonia.inversion_barrier(self.label_service.calculator)

    @property
    def minimum(self) -> Atoms:
        """The pyramid, the same for all seeds."""
        minimum: Atoms = self.inversion.minimum.copy()
        minimum.info.update(charge=0, multiplicity=1)
        return minimum

    @cached_property
    def grid(self) -> grids.Grid:
        """Fig. 3e: R and Z in units of the ground state's."""
        radii, heights = (np.linspace(*side, n) for side, n in zip((RADII, HEIGHTS), self.points, strict=True))
        frames = ammonia.umbrella_grid(self.minimum, radii=radii.tolist(), heights=heights.tolist())
        return grids.grid(frames, *ammonia.UMBRELLA)

    @cached_property
    def energies(self) -> grids.Truth:
        """True energies on the grid; those below the hydrogens' plane are those of the mirror images."""
        return grids.true_energies(self.grid, self.label_service.label, mirrored=True)


# --- tasks ----------------------------------------------------------------------------------------------------------

GiveTruth = Callable[[], Truth]


def true_landscape(truth: GiveTruth, file: Path) -> None:
    """Label the grid; the labels stay in the store for the landscapes of committees."""
    found = truth()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, found.energies)


def true_barrier(truth: GiveTruth, file: Path) -> None:
    """The barrier of the label method, by both methods."""
    found = truth()
    path, images = neb(
        *ammonia.inversion_endpoints(found.minimum),
        label_surface(found.label_service),
        method=found.label_service.labeller.method,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_structures(file.with_suffix(".extxyz"), images)
    write_record(file, BarrierResult(path=path, relaxed=found.inversion.height, why=()))


def barrier(truth: GiveTruth, generation: Path, file: Path) -> None:
    """The barrier of a committee, by both methods."""
    committee, start = read_committee(generation), truth().minimum
    path, relaxed, why = None, None, []
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        path, images = neb(*ammonia.inversion_endpoints(start), committee_surface(committee), method="committee")
        write_structures(file.with_suffix(".extxyz"), images)
    except RelaxationError as error:
        why.append(str(error))
    try:
        relaxed = ammonia.inversion_barrier(CommitteeCalculator(committee), start=start).height
    except RelaxationError as error:
        why.append(str(error))
    write_record(file, BarrierResult(path=path, relaxed=relaxed, why=tuple(why)))


def landscape(truth: GiveTruth, generation: Path, file: Path) -> None:
    """The landscape of a committee beside that of the label method."""
    found = truth()
    zero = float(np.nanmin(found.energies.energy))
    marks = _marks(generation, zero)
    mapped = map_landscape(read_committee(generation), found.grid, found.energies, zero=zero, marks=marks)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, mapped)


def _marks(generation: Path, zero: float) -> dict[str, Marks]:
    """The labelled structures of a committee's data set, in the coordinates of the grid."""
    data = read_labelled(generation / "dataset.extxyz")
    start = [atoms for atoms in data if atoms.info["generation"] == 1]
    # The hydrogens of another starting structure may be numbered the other way round.
    project = ammonia.umbrella_coordinates(min(start, key=_energy))
    roles = {"start": start, "earlier": data[len(start) :]}
    marks = {}
    for role, frames in roles.items():
        places = np.array([project(atoms) for atoms in frames]).reshape(-1, 2)
        energies = np.array([_energy(atoms) for atoms in frames])
        marks[role] = Marks(x=places[:, 0], y=places[:, 1], energy=energies - zero)
    return marks


def _energy(atoms: Atoms) -> float:
    return float(atoms.info[ENERGY])


def stable(
    truth: GiveTruth,
    generation: Path,
    file: Path,
    *,
    temperature: float,
    n_copies: int,
    duration: float,
    seed: int,
) -> None:
    """Number of trajectories from the ground state that stay physical at a temperature, by the paper's criteria."""
    committee, start = read_committee(generation), truth().minimum
    result = survival(
        committee,
        start,
        temperatures=[temperature],
        criteria=ammonia.unphysical(own_minimum(committee, start)),
        n_copies=n_copies,
        duration=duration,
        seed=seed,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, result)
