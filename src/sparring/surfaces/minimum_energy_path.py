r"""Minimum energy paths between two minima, and the barriers on them, by the nudged elastic band (paper, Sec. V.B).

Between two relaxed ends stands a chain of images of the molecule or crystal. Each movable one follows

.. math:: F_i = -\nabla E(R_i)\big|_\perp + k\,(|R_{i+1} - R_i| - |R_i - R_{i-1}|)\,\hat\tau_i

downhill across the path and is held at its place along it by springs, with the improved tangent of Henkelman and
Jónsson (doi:10.1063/1.1323224). ASE's NEB and its FIRE (doi:10.1103/PhysRevLett.97.170201) do the work; what is added
here is that all images of a step are evaluated in one batch, by a committee or by the labeller.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.mep import NEB
from ase.optimize import FIRE
from jaxtyping import Float
from scipy.interpolate import CubicHermiteSpline

from sparring.labels import LabelError
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.evaluators import Evaluate, SinglePoint, SurfaceCalculator
from sparring.surfaces.path_endpoints import relaxed_ends

__all__ = ["MinimumEnergyPath", "neb"]

# The highest image begins to climb when the band is this many times as far from convergence as it has to be.
CLIMB_BELOW = 5.0


@dataclass(frozen=True, kw_only=True)
class MinimumEnergyPath:
    """A path of images from one minimum to another, its energies in eV above the first of them.

    The images were relaxed on the surface of the mean energy. Energies of members are those of the same images, each
    relative to the member's own energy of the first image. A surface that is not that of a committee has one member,
    itself.

    Attributes:
        method: Name of the surface.
        coordinate: Length of the path up to each image, in Å; without weights by mass.
        energy: Mean energy.
        slope: Derivative of the mean energy along the path, in eV/Å.
        energy_sigma: Standard deviation of the energy between the members.
        member_energy: Energy of each member.
        moved: Largest displacement of an atom when start and end were relaxed, in Å.
        climb: True if the highest image climbed to the saddle.
        converged: True if all forces on the band are below `fmax` as it was given.
        n_steps: Number of optimiser steps.
        fmax: Largest force on the band in the end, springs included, in eV/Å.
    """

    method: str
    coordinate: Float[np.ndarray, " n_images"]
    energy: Float[np.ndarray, " n_images"]
    slope: Float[np.ndarray, " n_images"]
    energy_sigma: Float[np.ndarray, " n_images"]
    member_energy: Float[np.ndarray, "n_members n_images"]
    moved: Float[np.ndarray, "2"]
    climb: bool
    converged: bool
    n_steps: int
    fmax: float

    @property
    def top(self) -> int:
        """The highest image."""
        return int(self.energy.argmax())

    @property
    def barrier(self) -> float:
        """Energy of the highest image above the start, in eV. Where no image is at the saddle, this is too low."""
        return float(self.energy.max() - self.energy[0])

    @property
    def barrier_reverse(self) -> float:
        """Energy of the highest image above the end, in eV."""
        return float(self.energy.max() - self.energy[-1])

    @property
    def member_barriers(self) -> Float[np.ndarray, " n_members"]:
        """The barrier that each member sees on these images, in eV."""
        return np.asarray(self.member_energy.max(axis=1) - self.member_energy[:, 0])

    @property
    def barrier_sigma(self) -> float:
        """Standard deviation of the members' barriers, in eV."""
        return float(_deviation(self.member_barriers[:, None])[0])

    @property
    def interpolated_barrier(self) -> float:
        """Top of the curve through all images above the start, in eV: an estimate of the saddle between two images."""
        return float(self.curve()[1].max() - self.energy[0])

    def curve(self, n_points: int = 401) -> tuple[Float[np.ndarray, " n_points"], Float[np.ndarray, " n_points"]]:
        """Coordinate and energy along the path: piecewise cubics through energies and slopes of all images."""
        through = CubicHermiteSpline(self.coordinate, self.energy, self.slope)
        coordinate = np.union1d(np.linspace(0.0, self.coordinate[-1], n_points), self.coordinate)
        return coordinate, np.asarray(through(coordinate))


def neb(
    start: Atoms,
    end: Atoms,
    evaluate: Evaluate,
    *,
    n_images: int = 11,
    fmax: float = 0.02,
    max_steps: int = 300,
    climb: bool = False,
    interpolation: str = "idpp",
    spring: float = 0.1,
    method: str = "",
    depends_on: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> tuple[MinimumEnergyPath, list[Atoms]]:
    """The minimum energy path between the minima that two geometries relax to.

    Both ends are relaxed on the surface itself, four times as tightly as the band. Atoms are never renumbered. A free
    molecule is laid onto the start, so that the path neither turns nor shifts it; in a crystal atoms go the shortest
    way round. (Not where something holds the atoms in place: constraints, or the field of a toy well.)

    The first images interpolate all distances between atoms (IDPP, doi:10.1063/1.4878664), because on a straight path
    bonds shorten and atoms overlap, where committees extrapolate and SCF converges badly. Both
    keep the symmetry of a path; IDPP takes about half the steps for the inversion of ammonia.

    Args:
        start: Geometry near the first minimum.
        end: Geometry near the second, its atoms in the same order.
        evaluate: Surface.
        n_images: Number of images, both ends among them. An odd number puts one in the middle, where symmetric paths
            have their top.
        fmax: Largest force on an atom of a converged band, in eV/Å.
        max_steps: Maximum number of steps of the band, and of each end. A band that needs more has `converged` False.
        climb: True to let the highest image climb to the saddle (doi:10.1063/1.1329672) once the band is nearly there.
        interpolation: Interpolation of the first images: ``idpp`` or ``linear``.
        spring: Spring constant k, in eV/Å².
        method: Name of the surface, for the record.
        depends_on: Names in info or arrays of the start that the surface reads, as a labeller's attribute has them.
        progress: Function to call with the number of steps done and allowed.

    Returns:
        The path, and its images with energy and forces.

    Raises:
        ValueError: If there is no path between such ends.
        RelaxationError: If an end does not relax, both relax to the same minimum, or a force is not finite.
        LabelError: If a label fails; the message names the image.
    """
    if n_images < 3:
        raise ValueError(f"a path needs at least 3 images, its two ends among them, got {n_images}")
    if interpolation not in ("idpp", "linear"):
        raise ValueError(f"unknown interpolation {interpolation!r}; wanted 'idpp' or 'linear'")
    ends = relaxed_ends(start, end, SurfaceCalculator(evaluate), fmax=fmax / 4, max_steps=max_steps, extra=depends_on)
    band = _Band(_interpolated(ends.first, ends.last, n_images, interpolation), evaluate, spring)
    n_steps, largest = _optimise(band, fmax=fmax, max_steps=max_steps, climb=climb, progress=progress)
    members = np.stack([point.member_energy for point in band.points], axis=1)
    members = members - members[:, :1]
    coordinate, slope = _along(band.images)
    path = MinimumEnergyPath(
        method=method,
        coordinate=coordinate,
        energy=members.mean(axis=0),
        slope=slope,
        energy_sigma=_deviation(members),
        member_energy=members,
        moved=np.array(ends.moved),
        climb=climb,
        converged=largest <= fmax,
        n_steps=n_steps,
        fmax=largest,
    )
    return path, list(band.images)


class _Band(NEB):
    """ASE's band, all of whose movable images are evaluated in one batch before it reads their forces."""

    def __init__(self, images: list[Atoms], evaluate: Evaluate, spring: float) -> None:
        super().__init__(images, k=spring, method="improvedtangent")  # type: ignore[no-untyped-call]
        self.evaluate = evaluate
        self._ends = self._look([0, len(images) - 1])
        self._movable: list[SinglePoint] = []
        self._seen: Float[np.ndarray, "n_movable 3"] | None = None

    @property
    def points(self) -> list[SinglePoint]:
        """Energies and forces of all images, as they were when forces were last computed."""
        return [self._ends[0], *self._movable, self._ends[1]]

    def get_forces(self) -> Any:  # noqa: ANN401 - as ASE has it
        """The forces of the band. ASE reads them several times a step; only images that have moved are evaluated."""
        positions = self.get_positions()  # type: ignore[no-untyped-call]
        if self._seen is None or not np.array_equal(positions, self._seen):
            self._movable = self._look(range(1, len(self.images) - 1))
            self._seen = positions
        return super().get_forces()  # type: ignore[no-untyped-call]

    def _look(self, numbers: Sequence[int]) -> list[SinglePoint]:
        points = []
        for number, point in zip(numbers, self.evaluate([self.images[number] for number in numbers]), strict=True):
            image = self.images[number]
            name = f"image {number} of the path (0 to {len(self.images) - 1})"
            if isinstance(point, LabelError):
                raise LabelError(point.reason, f"{name}: {point}")
            if not (np.isfinite(point.energy) and np.isfinite(point.forces).all()):
                raise RelaxationError(
                    f"{name} has an energy or a force that is not finite; give ends that are nearer to each other, or "
                    "another interpolation"
                )
            image.calc = SinglePointCalculator(image, energy=point.energy, forces=point.forces)
            points.append(point)
        return points


def _optimise(
    band: _Band, *, fmax: float, max_steps: int, climb: bool, progress: Callable[[int, int], None] | None
) -> tuple[int, float]:
    """Move the band until it has converged or may not move any more: how often, and the largest force then."""
    n_steps = 0
    try:
        for band.climb in (False, True) if climb else (False,):
            enough = CLIMB_BELOW * fmax if climb and not band.climb else fmax
            with FIRE(band, logfile=None) as optimiser:
                for _ in optimiser.irun(fmax=enough, steps=max_steps - n_steps):
                    if progress:
                        progress(n_steps + optimiser.nsteps, max_steps)
                n_steps += optimiser.nsteps
    finally:
        if progress:  # who looks on must know that there is no more to come, also of a band that has failed
            progress(n_steps, n_steps)
    return n_steps, float(np.linalg.norm(band.get_forces(), axis=1).max())


def _interpolated(first: Atoms, last: Atoms, n_images: int, interpolation: str) -> list[Atoms]:
    images = [first.copy() for _ in range(n_images - 1)] + [last.copy()]
    # In a crystal IDPP must see the nearest of an atom's images. The end has been laid onto the start before.
    NEB(images, method="improvedtangent").interpolate(interpolation, mic=bool(first.pbc.any()), apply_constraint=False)
    for image in images:
        image.calc = None
    return images


def _along(images: list[Atoms]) -> tuple[Float[np.ndarray, " n_images"], Float[np.ndarray, " n_images"]]:
    """Length of the path up to each image in Å, and the derivative of the energy there in eV/Å."""
    positions = np.array([image.positions for image in images])
    coordinate = np.concatenate([[0.0], np.linalg.norm(np.diff(positions, axis=0), axis=(1, 2)).cumsum()])
    # From the neighbour before to the one behind; at an end from or to the end itself.
    tangents = positions[[*range(1, len(images)), -1]] - positions[[0, *range(len(images) - 1)]]
    tangents /= np.linalg.norm(tangents, axis=(1, 2), keepdims=True)
    forces = np.array([image.get_forces() for image in images])
    return coordinate, np.asarray(-(forces * tangents).sum(axis=(1, 2)))


def _deviation(values: Float[np.ndarray, "n_members n_values"]) -> Float[np.ndarray, " n_values"]:
    """Standard deviation over the members, with M-1 as in Eq. 5; one alone has none."""
    return np.asarray(values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1]))
