"""Toy double wells: one dummy atom X that moves in x (and y). Energies are in the paper's own unit, taken as eV.

Their ground truth is an ASE calculator like any other. A committee that only knows the deeper basin has to find the
other one.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from jaxtyping import Float, Shaped
from torch import Tensor

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.surfaces.grids import Grid, grid
from sparring.systems.base import Published, Start, System, SystemGrid
from sparring.systems.metrics import LANDSCAPE, LANDSCAPE_PROGRESS
from sparring.units import EV

__all__ = [
    "WELLS",
    "DoubleWell1D",
    "DoubleWell2D",
    "coordinates",
    "double_well_1d",
    "double_well_2d",
    "grid_error",
    "grid_points",
    "grid_rmse",
    "grid_structures",
]


def _calculate(
    self: "DoubleWell1D | DoubleWell2D",
    atoms: Atoms | None = None,
    properties: Sequence[str] = ("energy",),
    system_changes: Sequence[str] = tuple(all_changes),
) -> None:
    """Fill ``results``; called by ASE."""
    Calculator.calculate(self, atoms, list(properties), list(system_changes))
    assert self.atoms is not None  # ASE's own calculate has just put them there
    positions = self.atoms.positions
    self.results = {"energy": float(self.energies(positions).sum()), "forces": self.forces(positions)}


class DoubleWell1D(Calculator):
    r"""The one-dimensional double well of the paper's Supporting Information; several atoms do not see each other.

    .. math:: E(x) = 5x^4 - 10x^2 + 1.5x

    Minima of -6.527 at x = -1.036 and -3.529 at 0.960, with 0.056 between them.
    """

    name = "double_well_1d"
    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE declares it so)
    n_coordinates: ClassVar[int] = 1
    limit: ClassVar[float] = 1.65
    calculate = _calculate

    @staticmethod
    def energies(positions: Float[np.ndarray, "n_points 3"]) -> Float[np.ndarray, " n_points"]:
        """Energy at each point."""
        x = positions[:, 0]
        return np.asarray(5 * x**4 - 10 * x**2 + 1.5 * x)

    @staticmethod
    def forces(positions: Float[np.ndarray, "n_points 3"]) -> Float[np.ndarray, "n_points 3"]:
        """Force at each point."""
        x = positions[:, 0]
        zero = np.zeros_like(x)
        return -np.stack([20 * x**3 - 20 * x + 1.5, zero, zero], axis=1)

    def starting_data(self) -> list[Atoms]:
        """The labelled points with E < -5.5 among 500 regular ones on ±1.65: 66, all in the deeper basin."""
        x = np.linspace(-self.limit, self.limit, 500)
        positions = np.stack([x, np.zeros_like(x), np.zeros_like(x)], axis=1)
        return _labelled_points(self, positions[self.energies(positions) < -5.5], source="grid")


class DoubleWell2D(Calculator):
    r"""The two-dimensional double well, Eq. 15 of the paper; several atoms do not see each other.

    .. math:: E(x, y) = 10x^4 - 10x^2 + 2x + 4y^2

    The published code has 4y⁴ in the last place; this is the paper's text.
    """

    name = "double_well_2d"
    implemented_properties = ["energy", "forces"]  # noqa: RUF012  (ASE declares it so)
    n_coordinates: ClassVar[int] = 2
    limit: ClassVar[float] = 1.5
    calculate = _calculate

    @staticmethod
    def energies(positions: Float[np.ndarray, "n_points 3"]) -> Float[np.ndarray, " n_points"]:
        """Energy at each point."""
        x, y = positions[:, 0], positions[:, 1]
        return np.asarray(10 * x**4 - 10 * x**2 + 2 * x + 4 * y**2)

    @staticmethod
    def forces(positions: Float[np.ndarray, "n_points 3"]) -> Float[np.ndarray, "n_points 3"]:
        """Force at each point."""
        x, y = positions[:, 0], positions[:, 1]
        return -np.stack([40 * x**3 - 20 * x + 2, 8 * y, np.zeros_like(x)], axis=1)

    def starting_data(self, *, seed: int, n_points: int = 800) -> list[Atoms]:
        """The labelled points with E < -2 among 800 random ones on ±1.5: about 59, all in the deeper basin."""
        plane = np.random.default_rng(seed).uniform(-self.limit, self.limit, (n_points, 2))
        positions = np.pad(plane, ((0, 0), (0, 1)))
        return _labelled_points(self, positions[self.energies(positions) < -2], source="uniform")


WELLS: dict[str, type[DoubleWell1D] | type[DoubleWell2D]] = {well.name: well for well in (DoubleWell1D, DoubleWell2D)}
"""By their names in configurations."""


def grid_structures(well: DoubleWell1D | DoubleWell2D, n: int = 100) -> Structures:
    """Regular points over the well's whole interval, n along each of its coordinates; the last one varies fastest."""
    axis = torch.linspace(-well.limit, well.limit, n, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * well.n_coordinates).reshape(-1, well.n_coordinates)
    n_points = len(points)
    return Structures(
        positions=torch.nn.functional.pad(points, (0, 3 - well.n_coordinates)),
        atomic_numbers=torch.zeros(n_points, dtype=torch.long),
        structure_index=torch.arange(n_points),
        cells=torch.zeros(n_points, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(n_points, 3, dtype=torch.bool),
        periodic=False,
    )


def grid_points(well: DoubleWell1D | DoubleWell2D, shape: Sequence[int]) -> list[Atoms]:
    """The labelled points of a regular grid over the well's whole interval, with ``x`` (and ``y``) in ``info``.

    Args:
        well: Well.
        shape: Numbers of points along its coordinates; the last one varies fastest.

    Raises:
        ValueError: If there is not one number of points for each coordinate.
    """
    if len(shape) != well.n_coordinates:
        raise ValueError(f"{well.name} has {well.n_coordinates} coordinates, got numbers of points for {len(shape)}")
    axes = [np.linspace(-well.limit, well.limit, n) for n in shape]
    places = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, well.n_coordinates)
    positions = np.pad(places, ((0, 0), (0, 3 - well.n_coordinates)))
    points = _labelled_points(well, positions, source="grid")
    for point in points:
        point.info |= dict(zip("xy", coordinates(point, well.n_coordinates), strict=False))
    return points


def coordinates(point: Atoms, n_coordinates: int) -> tuple[float, ...]:
    """Coordinates of a point of a well, in Å."""
    return tuple(point.positions[0, :n_coordinates].tolist())


def grid_rmse(
    well: DoubleWell1D | DoubleWell2D,
    predict_energy: Callable[[Structures], Shaped[Tensor, " n_points"]],
    n: int = 100,
) -> float:
    """Root mean square error of predicted energies over `grid_structures`, as the paper reports it (Fig. 2b), in eV.

    Energies are compared as they are: the wells have an absolute zero.
    """
    grid = grid_structures(well, n)
    truth = torch.as_tensor(well.energies(grid.positions.numpy()))
    predicted = predict_energy(grid).detach().to(device="cpu", dtype=torch.float64)
    return float((predicted - truth).square().mean().sqrt())


def _labelled_points(
    well: DoubleWell1D | DoubleWell2D, positions: Float[np.ndarray, "n_points 3"], *, source: str
) -> list[Atoms]:
    points = [Atoms("X", positions=[position]) for position in positions]
    forces = well.forces(positions)
    for point, energy, force in zip(points, well.energies(positions).tolist(), forces, strict=True):
        point.info.update({ENERGY: energy, "source": source, "parent": -1})
        point.arrays[FORCES] = force[None].copy()
    return points


def grid_error(committee: Committee, well: DoubleWell1D | DoubleWell2D) -> dict[str, object]:
    """RMSE of the mean energy on the paper's grid, in eV."""

    def predict(structures: Structures) -> torch.Tensor:
        return committee.predict(structures, differentiable=False).energy.mean(0)

    return {"grid_rmse": grid_rmse(well, predict)}


# --- the systems ------------------------------------------------------------------------------------------------------


def double_well_1d() -> System:
    """The particle in E(x) = 5x⁴ - 10x² + 1.5x, known from points in its deeper well only."""
    well = DoubleWell1D()  # type: ignore[no-untyped-call]
    return _system(well, well.starting_data, lambda _: well.starting_data(), points=(201,))


def double_well_2d(n_points: int = 800) -> System:
    """The particle in Eq. 15 of the paper, known from points in its deeper well only.

    Args:
        n_points: Number of random points, of which those in the deeper well are known.
    """
    well = DoubleWell2D()  # type: ignore[no-untyped-call]
    published = Published(
        "landscape",
        None,
        "After the last generation the median error is two to three times larger with random displacements than with "
        "attacks, over more than 100 experiments.",
        "Sec. III.A, Fig. 2b",
    )
    return _system(
        well,
        partial(well.starting_data, seed=0),
        lambda start: well.starting_data(seed=start.seed, n_points=n_points),
        points=(51, 51),
        published=(published,),
    )


def _system(
    well: DoubleWell1D | DoubleWell2D,
    structures: Callable[[], list[Atoms]],
    start: Callable[[Start], Sequence[Atoms]],
    *,
    points: tuple[int, ...],
    published: tuple[Published, ...] = (),
) -> System:
    variables = ("x", "y")[: well.n_coordinates]

    def make(_: Sequence[Atoms], shape: tuple[int, ...]) -> Grid:
        return grid(grid_points(well, shape), *variables, x_unit="Å", y_unit="Å")

    return System(
        name=well.name,
        structures=structures,
        start=start,
        unit=EV,
        is_molecular=False,
        evaluation=lambda _: lambda committee, _: grid_error(committee, well),
        metrics=LANDSCAPE,
        progress=LANDSCAPE_PROGRESS,
        calculator=type(well),
        grid=SystemGrid(
            make=make,
            points=points,
            project=lambda _: lambda atoms: coordinates(atoms, well.n_coordinates),
            variables=variables,
        ),
        published=published,
    )
