"""Ammonia and its umbrella inversion: a start from nothing, and the barrier that nobody put into the data."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.optimize import brentq

from sparring.atoms.inheritance import bare_copy, inherit
from sparring.dynamics import DistanceWindow, EnergyBelow
from sparring.starting_data.normal_modes import LabelMany
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.starting_data.sampling import NormalModeSample, normal_mode_sample

__all__ = [
    "UMBRELLA",
    "Barrier",
    "inversion_barrier",
    "inversion_endpoints",
    "planar_geometry",
    "relax_planar",
    "starting_data",
    "starting_geometry",
    "umbrella_coordinates",
    "umbrella_grid",
    "unphysical",
]

UMBRELLA = ("R/R0", "Z/Z0")
"""What the two variables of the inversion are called, as they stand in ``info``."""

# A pyramid flatter than this, in Å, is no unit to measure heights by.
FLAT = 1e-3

# No bond between N and H is shorter or longer than this, in Å, in anything that deserves the name ammonia.
SHORTEST_BOND, LONGEST_BOND = 0.7, 1.6


@dataclass(frozen=True, kw_only=True)
class Barrier:
    """Both ends of the inversion: the relaxed pyramid (C3v) and the relaxed planar molecule (D3h).

    Attributes:
        minimum: The pyramid. Like `planar` it carries its energy and forces (`get_potential_energy` is free).
        planar: The planar molecule.
    """

    minimum: Atoms
    planar: Atoms

    @property
    def height(self) -> float:
        """Energy of the planar molecule above the pyramid, in eV."""
        return float(self.planar.get_potential_energy() - self.minimum.get_potential_energy())

    @property
    def hydrogen_radius(self) -> float:
        """Radius of the circle through the hydrogens of the pyramid, in Å."""
        return _circle(self.minimum)[0]

    @property
    def nitrogen_height(self) -> float:
        """Distance of the pyramid's nitrogen from the plane of the hydrogens, in Å."""
        return _circle(self.minimum)[1]

    @property
    def planar_bond(self) -> float:
        """Length of the planar molecule's bonds, in Å."""
        return float(self.planar.get_distance(0, 1))


def starting_geometry(seed: int = 0) -> Atoms:
    """Ammonia as RDKit builds it and MMFF94 relaxes it, the nitrogen first.

    Raises:
        ValueError: If the seed is negative, which RDKit takes as an invitation to choose one itself.
    """
    # Only those who start from nothing need RDKit.
    from rdkit import Chem
    from rdkit.Chem.rdDistGeom import EmbedMolecule
    from rdkit.Chem.rdForceFieldHelpers import MMFFOptimizeMolecule

    if seed < 0:
        raise ValueError(f"the seed of a conformer must not be negative, got {seed}")
    molecule = Chem.AddHs(Chem.MolFromSmiles("N"))
    EmbedMolecule(molecule, randomSeed=seed)
    MMFFOptimizeMolecule(molecule, mmffVariant="MMFF94", maxIters=2000)
    symbols = [atom.GetSymbol() for atom in molecule.GetAtoms()]
    return Atoms(symbols, positions=molecule.GetConformer().GetPositions(), info={"charge": 0, "multiplicity": 1})


def starting_data(
    calculator: BaseCalculator,
    label_many: LabelMany,
    *,
    n_structures: int = 78,
    temperatures: tuple[float, float] = (250.0, 750.0),
    seed: int,
) -> NormalModeSample:
    """The paper's start (Sec. V.B): MMFF94 geometry, relaxation, Hessian, displacements along normal modes.

    Calculator and `label_many` should be the same level of theory. They know nothing of the inversion: all structures
    belong to one pyramid.

    Raises:
        RelaxationError: If the relaxation does not converge.
        ValueError: If a displacement of the Hessian has no label.
    """
    start = starting_geometry(seed)
    return normal_mode_sample(
        start, calculator, label_many, n_structures=n_structures, temperatures=temperatures, seed=seed
    )


def planar_geometry(bond: float) -> Atoms:
    """Planar ammonia (D3h) with bonds of this length in Å, the nitrogen first and in the origin."""
    positions = np.zeros((4, 3))
    turns = 2 * np.pi / 3 * np.arange(3)
    positions[1:, 0], positions[1:, 1] = bond * np.cos(turns), bond * np.sin(turns)
    return Atoms("NH3", positions=positions, info={"charge": 0, "multiplicity": 1})


def relax_planar(calculator: BaseCalculator, *, bond: float, tolerance: float = 1e-5) -> Atoms:
    r"""Planar ammonia where the force along its bonds vanishes; the energy and forces there come along.

    D3h leaves the molecule a single coordinate, the length r of all three bonds, and by symmetry no other force. So its
    relaxation is the root of the radial force

    .. math:: -\frac{\mathrm dE}{\mathrm dr} = \sum_{i \in \mathrm{H}} F_i \cdot \hat r_i

    that lies downhill from the given bond. A minimiser of all coordinates would do as well on paper, but the planar
    molecule is a saddle: forces that are symmetric only up to rounding, or a potential with a lower and lopsided planar
    geometry, would let it slide away. Here planarity and the three equal bonds are exact, whatever the calculator.

    Args:
        calculator: Energy and forces.
        bond: Where to begin, in Å.
        tolerance: Of the bond, in Å.

    Raises:
        RelaxationError: If there is no such bond between 0.7 and 1.6 Å, or a force is not finite.
    """

    # Remembered, so that a force that scatters between calls cannot change its sign under the search.
    @functools.cache
    def radial_force(length: float) -> float:
        atoms = planar_geometry(length)
        atoms.calc = calculator
        force = float((atoms.get_forces()[1:] * atoms.positions[1:]).sum() / length)
        if not np.isfinite(force):
            raise RelaxationError(f"relaxing planar NH3: the force at a bond of {length:.4f} Å is {force}")
        return force

    near, force = bond, radial_force(bond)
    outwards = np.sign(force)
    far, step = bond, 0.02
    while force * outwards > 0:
        if far in (SHORTEST_BOND, LONGEST_BOND):
            raise RelaxationError(
                f"relaxing planar NH3 from a bond of {bond:.3f} Å: the force still points the same way at {far:.3f} Å"
            )
        near, far, step = far, float(np.clip(far + step * outwards, SHORTEST_BOND, LONGEST_BOND)), 2 * step
        force = radial_force(far)
    planar = planar_geometry(float(brentq(radial_force, near, far, xtol=tolerance)) if force else far)
    planar.calc = calculator
    energy, forces = planar.get_potential_energy(), planar.get_forces()
    planar.calc = SinglePointCalculator(planar, energy=energy, forces=forces)
    return planar


def inversion_barrier(calculator: BaseCalculator, start: Atoms | None = None) -> Barrier:
    """The barrier of the umbrella inversion, from relaxed pyramid to relaxed planar molecule.

    The same for a quantum-chemical calculator and for a committee. The pyramid is relaxed in all coordinates, from
    `start` or from MMFF94's geometry; the planar molecule keeps its symmetry, see `relax_planar`.

    Raises:
        RelaxationError: If one of the two cannot be found: a young potential may not have it.
    """
    minimum = relax(starting_geometry() if start is None else bare_copy(start), calculator)
    planar = relax_planar(calculator, bond=float(minimum.get_distances(0, [1, 2, 3]).mean()))
    return Barrier(minimum=minimum, planar=planar)


def inversion_endpoints(minimum: Atoms) -> tuple[Atoms, Atoms]:
    """The pyramid and its mirror image: where the umbrella inversion begins and ends.

    The mirror is parallel to the plane of the hydrogens and goes through the centre of the four atoms. So every atom
    keeps its number and moves at right angles to that plane, and the centre rests. Half way along the straight path all
    four atoms are in one plane. No turn or shift brings the two closer to each other, if the pyramid is symmetric.

    Args:
        minimum: The ground state, the nitrogen first.

    Raises:
        ValueError: If it is no pyramid of ammonia.
    """
    _pyramid(minimum)
    start = inherit(Atoms(minimum.symbols, positions=minimum.positions), minimum)
    _, *hydrogens = start.positions
    normal = np.cross(hydrogens[1] - hydrogens[0], hydrogens[2] - hydrogens[0])
    normal /= np.linalg.norm(normal)
    end: Atoms = start.copy()
    end.positions -= 2 * np.outer((start.positions - start.positions.mean(axis=0)) @ normal, normal)
    return start, end


def unphysical(minimum_energy: float, *, margin: float = 1e-3) -> tuple[DistanceWindow, EnergyBelow]:
    """What ends a trajectory of ammonia in the paper (Sec. V.B), for `sparring.stability` and `sparring.simulate`.

    Two hydrogens are closer than 0.80 Å or farther apart than 2.55 Å, or the predicted energy is below that of the
    ground state. The paper takes the energy of the ground state's label, and no margin. Then a committee that predicts
    the ground state too low, be it by a thousandth of an eV, fails before the first step, however good its forces are.
    So give the energy of the committee's own minimum, `sparring.own_minimum`: what is lower is a hole in its surface.
    The margin is for rounding, up to 1e-4 eV where total energies are in single precision, and for what relaxations
    leave.

    Args:
        minimum_energy: Energy of the ground state in eV, on the committee's scale.
        margin: How far below a copy may be, in eV.
    """
    return DistanceWindow("H", "H", low=0.80, high=2.55), EnergyBelow(minimum_energy - margin)


def umbrella_grid(minimum: Atoms, *, radii: Sequence[float], heights: Sequence[float]) -> list[Atoms]:
    """Ammonia with the symmetry of the pyramid (C3v) at every pair of R and Z, heights varying fastest (Fig. 3e).

    R is the radius of the circle through the hydrogens, Z the height of the nitrogen over their plane. Both count in
    units of the ground state's, and go along in ``info`` as ``R/R0`` and ``Z/Z0``. The ground state is at (1, 1), its
    mirror image of the same energy at (1, -1).

    Args:
        minimum: The ground state, the nitrogen first.
        radii: Of R/R0.
        heights: Of Z/Z0.

    Raises:
        ValueError: If a radius is not positive, or the minimum is no pyramid of ammonia.
    """
    if not min(radii) > 0:
        raise ValueError(f"the hydrogens need a circle of positive radius, got R/R0 = {min(radii):g}")
    radius, height = _pyramid(minimum)
    grid = []
    for r in map(float, radii):
        for z in map(float, heights):
            atoms = inherit(planar_geometry(r * radius), minimum)
            atoms.positions[0, 2] = z * height
            atoms.info |= dict(zip(UMBRELLA, (r, z), strict=True))
            grid.append(atoms)
    return grid


def umbrella_coordinates(minimum: Atoms) -> Callable[[Atoms], tuple[float, float]]:
    """What R/R0 and Z/Z0 are for any ammonia, symmetric or not, its atoms in the order of the minimum's.

    Z is positive on the side of the hydrogens' plane on which the minimum has its nitrogen, and negative where the
    umbrella has turned inside out.

    Raises:
        ValueError: If the minimum is no pyramid of ammonia.
    """
    radius, height = _pyramid(minimum)

    def coordinates(atoms: Atoms) -> tuple[float, float]:
        r, z = _umbrella(atoms)
        return r / radius, z / height

    return coordinates


def _pyramid(minimum: Atoms) -> tuple[float, float]:
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


def _circle(ammonia: Atoms) -> tuple[float, float]:
    """The radius of the circle through the hydrogens and the distance of the nitrogen from their plane."""
    radius, height = _umbrella(ammonia)
    return radius, abs(height)
