"""The umbrella inversion of ammonia: the pyramid, the planar molecule between it and its mirror image, the barrier."""

import functools
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from scipy.optimize import brentq

from sparring.atoms.inheritance import bare_copy, inherit
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.systems.umbrella import circle, planar_geometry, pyramid

__all__ = ["Barrier", "inversion_barrier", "inversion_endpoints", "relax_planar", "starting_geometry"]

# No bond between N and H is shorter or longer than this, in Å, in ammonia.
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
        return circle(self.minimum)[0]

    @property
    def nitrogen_height(self) -> float:
        """Distance of the pyramid's nitrogen from the plane of the hydrogens, in Å."""
        return circle(self.minimum)[1]

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


def relax_planar(calculator: BaseCalculator, *, bond: float, tolerance: float = 1e-5) -> Atoms:
    r"""Planar ammonia where the force along its bonds vanishes; the energy and forces there come along.

    D3h leaves the molecule a single coordinate, the length r of all three bonds, and by symmetry no other force. So its
    relaxation is the root of the radial force

    .. math:: -\frac{\mathrm dE}{\mathrm dr} = \sum_{i \in \mathrm{H}} F_i \cdot \hat r_i

    that lies downhill from the given bond. A minimiser of all coordinates would do as well on paper, but the planar
    molecule is a saddle: forces that are symmetric only up to rounding, or a potential with a lower and lopsided planar
    geometry, would let it slide away. Here planarity and the three equal bonds are exact for every calculator.

    Args:
        calculator: Energy and forces.
        bond: Length of the bonds at the start of the search, in Å.
        tolerance: Tolerance of the length, in Å.

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
        RelaxationError: If one of the two cannot be found: a potential trained on little may not have it.
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
    pyramid(minimum)
    start = inherit(Atoms(minimum.symbols, positions=minimum.positions), minimum)
    _, *hydrogens = start.positions
    normal = np.cross(hydrogens[1] - hydrogens[0], hydrogens[2] - hydrogens[0])
    normal /= np.linalg.norm(normal)
    end: Atoms = start.copy()
    end.positions -= 2 * np.outer((start.positions - start.positions.mean(axis=0)) @ normal, normal)
    return start, end
