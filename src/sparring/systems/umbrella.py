"""The umbrella coordinates of ammonia: the circle of its hydrogens, and the height of the nitrogen over their plane."""

from collections.abc import Callable, Sequence

import numpy as np
from ase import Atoms

from sparring.atoms.inheritance import inherit

__all__ = ["UMBRELLA", "circle", "planar_geometry", "pyramid", "umbrella_coordinates", "umbrella_grid"]

UMBRELLA = ("R/R0", "Z/Z0")
"""Names of the two variables of the inversion, as they stand in ``info``."""

# A pyramid flatter than this, in Å, is no unit to measure heights by.
FLAT = 1e-3


def planar_geometry(bond: float) -> Atoms:
    """Planar ammonia (D3h) with bonds of this length in Å, the nitrogen first and in the origin."""
    positions = np.zeros((4, 3))
    turns = 2 * np.pi / 3 * np.arange(3)
    positions[1:, 0], positions[1:, 1] = bond * np.cos(turns), bond * np.sin(turns)
    return Atoms("NH3", positions=positions, info={"charge": 0, "multiplicity": 1})


def umbrella_grid(minimum: Atoms, *, radii: Sequence[float], heights: Sequence[float]) -> list[Atoms]:
    """Ammonia with the symmetry of the pyramid (C3v) at every pair of R and Z, heights varying fastest (Fig. 3e).

    R is the radius of the circle through the hydrogens, Z the height of the nitrogen over their plane. Both count in
    units of the ground state's, and go along in ``info`` as ``R/R0`` and ``Z/Z0``. The ground state is at (1, 1), its
    mirror image of the same energy at (1, -1).

    Args:
        minimum: The ground state, the nitrogen first.
        radii: Values of R/R0.
        heights: Values of Z/Z0.

    Raises:
        ValueError: If a radius is not positive, or the minimum is no pyramid of ammonia.
    """
    if not min(radii) > 0:
        raise ValueError(f"the hydrogens need a circle of positive radius, got R/R0 = {min(radii):g}")
    radius, height = pyramid(minimum)
    grid = []
    for r in map(float, radii):
        for z in map(float, heights):
            atoms = inherit(planar_geometry(r * radius), minimum)
            atoms.positions[0, 2] = z * height
            atoms.info |= dict(zip(UMBRELLA, (r, z), strict=True))
            grid.append(atoms)
    return grid


def umbrella_coordinates(minimum: Atoms) -> Callable[[Atoms], tuple[float, float]]:
    """A function from any ammonia, symmetric or not, to its R/R0 and Z/Z0; atoms are in the order of the minimum's.

    Z is positive on the side of the hydrogens' plane on which the minimum has its nitrogen, and negative where the
    umbrella has turned inside out.

    Raises:
        ValueError: If the minimum is no pyramid of ammonia.
    """
    radius, height = pyramid(minimum)

    def coordinates(atoms: Atoms) -> tuple[float, float]:
        r, z = _umbrella(atoms)
        return r / radius, z / height

    return coordinates


def pyramid(minimum: Atoms) -> tuple[float, float]:
    """Radius and signed height of a ground state to measure others by."""
    if minimum.get_chemical_symbols() != ["N", "H", "H", "H"]:
        raise ValueError(f"wanted ammonia with the nitrogen first, got {minimum.symbols}")
    radius, height = _umbrella(minimum)
    if not abs(height) > FLAT:
        raise ValueError(f"the minimum must be a pyramid, got a nitrogen {abs(height):.2g} Å from the hydrogens' plane")
    return radius, height


def _umbrella(ammonia: Atoms) -> tuple[float, float]:
    """The radius of the circle through the hydrogens, and the height of the nitrogen above their plane.

    The height is positive on the side from which the hydrogens, in their order, go round counterclockwise.
    """
    nitrogen, *hydrogens = ammonia.positions
    normal = np.cross(hydrogens[1] - hydrogens[0], hydrogens[2] - hydrogens[0])
    area = float(np.linalg.norm(normal))
    if not area:
        return np.inf, np.nan  # hydrogens in a line span no plane
    a, b, c = (float(ammonia.get_distance(i, j)) for i, j in ((1, 2), (2, 3), (3, 1)))
    return a * b * c / (2 * area), float((nitrogen - hydrogens[0]) @ normal) / area


def circle(ammonia: Atoms) -> tuple[float, float]:
    """The radius of the circle through the hydrogens and the distance of the nitrogen from their plane."""
    radius, height = _umbrella(ammonia)
    return radius, abs(height)
