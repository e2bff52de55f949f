r"""Crystals on a potential energy surface: relaxed cells, stresses, and strained and displaced copies.

The stress of a surface that has none comes from energies,

.. math:: S_{ij} = \frac{1}{2 V s} \big( E(+s) - E(-s) \big),

with twelve strained cells for each structure.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from jaxtyping import Float

from sparring.atoms.inheritance import bare_copy
from sparring.atoms.strain import from_voigt
from sparring.labels import LabelError
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.evaluators import Evaluate, SinglePoint, SurfaceCalculator

__all__ = ["in_parts", "points_of", "relaxed_crystal", "repeats", "strained_copies", "with_stress"]

ENGINEERING = np.array([1.0, 1.0, 1.0, 0.5, 0.5, 0.5])
"""Components of a strain matrix for engineering strains, whose shears are angles."""
STEP = 0.005


def points_of(evaluate: Evaluate, structures: Sequence[Atoms]) -> list[SinglePoint]:
    """Points of a surface.

    Raises:
        LabelError: If a structure has none.
    """
    points = []
    for point in evaluate(structures):
        if isinstance(point, LabelError):
            raise point
        points.append(point)
    return points


def in_parts(evaluate: Evaluate, n_atoms: int = 2000) -> Evaluate:
    """The same surface, evaluated for structures of about so many atoms at once, to bound the memory."""

    def evaluated(structures: Sequence[Atoms]) -> list[SinglePoint | LabelError]:
        n = max(1, n_atoms // max((len(atoms) for atoms in structures), default=1))
        parts = (structures[first : first + n] for first in range(0, len(structures), n))
        return [point for part in parts for point in evaluate(part)]

    return evaluated


def strained_copies(atoms: Atoms, step: float) -> list[Atoms]:
    """Twelve copies with all positions and the cell strained: each engineering strain by plus and by minus a step."""
    copies = []
    for strain in from_voigt(np.eye(6) * ENGINEERING):
        for sign in (step, -step):
            copy = bare_copy(atoms)
            copy.set_constraint()
            copy.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
            copies.append(copy)
    return copies


def repeats(atoms: Atoms, length: float) -> tuple[int, int, int]:
    """Numbers of cells of a supercell whose planes of lattice vectors are at least a length apart, in Å.

    Raises:
        ValueError: If the length is not positive and finite.
    """
    if not 0 < length < np.inf:
        raise ValueError(f"wanted a length of the supercell above zero, got {length} Å")
    first, second, third = np.ceil(length * np.linalg.norm(atoms.cell.reciprocal(), axis=1) - 1e-6).astype(int).tolist()
    return max(1, first), max(1, second), max(1, third)


def with_stress(evaluate: Evaluate, step: float = STEP) -> Evaluate:
    """The same surface, with a stress from energies of strained cells where it has none.

    Args:
        evaluate: The surface.
        step: Strain of the cells.
    """

    def evaluated(structures: Sequence[Atoms]) -> list[SinglePoint | LabelError]:
        points = list(evaluate(structures))
        for place, (atoms, point) in enumerate(zip(structures, points, strict=True)):
            if isinstance(point, SinglePoint) and point.stress is None:
                try:
                    points[place] = point._replace(stress=_stress_from_energies(atoms, evaluate, step))
                except LabelError as error:
                    points[place] = error
        return points

    return evaluated


def relaxed_crystal(atoms: Atoms, evaluate: Evaluate, *, fmax: float = 0.002, max_steps: int = 100) -> Atoms:
    """A crystal with its cell and its atoms relaxed (BFGS on the cell of Tadmor et al. 1999, as in ASE).

    Args:
        atoms: Crystal.
        evaluate: Surface; where it has no stress, this comes from energies.
        fmax: Largest force that is left, in eV/Å; the stress that is left is at most as large per area of an atom.
        max_steps: Largest number of steps.

    Raises:
        RelaxationError: If a number is not finite, the volume changes by more than half, or forces or stresses are
            still too large after `max_steps`.
        LabelError: If a structure on the way has no label.
    """
    moving = bare_copy(atoms)
    moving.set_constraint()
    moving.calc = SurfaceCalculator(with_stress(evaluate))
    name, volume = atoms.get_chemical_formula(), atoms.cell.volume
    cell = FrechetCellFilter(moving)
    largest = np.inf
    with BFGS(cell, logfile=None, maxstep=0.1) as optimiser:  # type: ignore[arg-type]  # ASE takes filters
        for _ in optimiser.irun(fmax=fmax, steps=max_steps):
            forces = cell.get_forces()
            largest = float(np.linalg.norm(forces, axis=1).max())
            if not np.isfinite(forces).all() or not 0.5 < moving.cell.volume / volume < 1.5:
                raise RelaxationError(
                    f"relaxing the cell of {name}: its volume went from {volume:.4g} to {moving.cell.volume:.4g} Å³ or "
                    f"a force is not finite after {optimiser.nsteps} steps; it is no crystal there"
                )
    if not largest <= fmax:
        raise RelaxationError(
            f"relaxing the cell of {name}: the largest force or stress is {largest:.3g} eV/Å after {max_steps} steps, "
            f"wanted {fmax:g}; start from a better geometry"
        )
    moving.calc = None
    return moving


def _stress_from_energies(atoms: Atoms, evaluate: Evaluate, step: float) -> Float[np.ndarray, "6"]:
    energies = np.array([point.energy for point in points_of(evaluate, strained_copies(atoms, step))])
    stress: np.ndarray = (energies[::2] - energies[1::2]) / (2 * step * atoms.cell.volume)
    return stress
