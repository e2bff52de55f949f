r"""Energy of a crystal against its volume, and its equation of state.

The cell keeps its shape. Atoms relax at each volume, unless all their forces vanish by symmetry. The energies of each
member are fitted by that of Birch (1947, doi:10.1103/PhysRev.71.809) and Murnaghan,

.. math:: E(V) = E_0 + \frac{9 V_0 B}{16} \Big\{ (\eta^2 - 1)^3 B' + (\eta^2 - 1)^2 (6 - 4 \eta^2) \Big\},
    \qquad \eta = (V_0 / V)^{1/3}
"""

import math
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from ase.eos import EquationOfState as ASEFit
from jaxtyping import Float

from sparring.atoms.inheritance import geometry_of
from sparring.committee import Committee
from sparring.labels import LabelError
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.surfaces.evaluators import Evaluate, SinglePoint, SurfaceCalculator
from sparring.validation.crystals.surfaces import About, of_surfaces
from sparring.validation.run_labels import LabelFrames

__all__ = ["BirchMurnaghan", "EquationOfState", "equation_of_state", "fitted"]

FMAX = 0.01
"""Forces in eV/Å below which atoms are relaxed."""
FEWEST = 5
"""Smallest number of points of a fit, which has four parameters."""


@dataclass(frozen=True, kw_only=True)
class BirchMurnaghan:
    """Parameters of a fit; NaN where there is no minimum within the volumes.

    Attributes:
        volume: Volume of the cell at the minimum, in Å³.
        energy: Energy of the cell there, in eV.
        bulk_modulus: Bulk modulus there, in eV/Å³.
        derivative: Its derivative in the pressure.
    """

    volume: float = math.nan
    energy: float = math.nan
    bulk_modulus: float = math.nan
    derivative: float = math.nan


@dataclass(frozen=True, kw_only=True)
class EquationOfState:
    """Energies of a crystal against its volume.

    Attributes:
        about: The crystal, and how the energies were computed.
        volumes: Volumes of the cell, in Å³.
        energy: Energies of the members, in eV; NaN where a relaxation failed.
        label_energy: Energies of the labels, in eV; NaN where there is none.
        members: Fits of the members.
        label: Fit of the labels.
    """

    about: About
    volumes: Float[np.ndarray, " n_points"]
    energy: Float[np.ndarray, "n_members n_points"]
    label_energy: Float[np.ndarray, " n_points"]
    members: tuple[BirchMurnaghan, ...]
    label: BirchMurnaghan

    def of_members(self, name: str) -> Float[np.ndarray, " n_members"]:
        """A parameter of the fits of all members."""
        return np.array([getattr(one, name) for one in self.members])


def equation_of_state(
    committee: Committee,
    crystal: Atoms,
    *,
    volume_range: float = 0.1,
    n_points: int = 11,
    label: LabelFrames | None = None,
    n_labels: int = 100,
) -> EquationOfState:
    """Energies of a crystal at several volumes by each member of a committee and by labels, with their fits.

    Args:
        committee: Committee.
        crystal: Crystal near its equilibrium.
        volume_range: Largest change of the volume, as a part of it.
        n_points: Number of volumes.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        ValueError: If the structure is no crystal, or a number makes no sense.
        RelaxationError: If no member has energies.
    """
    if not (0 < volume_range < 0.5 and n_points >= FEWEST):
        raise ValueError(
            f"wanted a range of volumes between 0 and 0.5, and at least {FEWEST} points, got {volume_range} and "
            f"{n_points}"
        )
    factors = np.linspace(1 - volume_range, 1 + volume_range, n_points)
    found = of_surfaces(
        committee,
        crystal,
        partial(_energies, crystal=crystal, factors=factors),
        missing=np.full(n_points, np.nan),
        label=label,
        n_labels=n_labels,
        options={"volume_range": volume_range, "n_points": n_points},
    )
    volumes = crystal.cell.volume * factors
    return EquationOfState(
        about=found.about,
        volumes=volumes,
        energy=np.array(found.members),
        label_energy=found.label,
        members=tuple(fitted(volumes, one) for one in found.members),
        label=fitted(volumes, found.label),
    )


def fitted(volumes: Float[np.ndarray, " n_points"], energy: Float[np.ndarray, " n_points"]) -> BirchMurnaghan:
    """The fit of energies; NaN if fewer than five are known, or the minimum is not within their volumes."""
    known = volumes[np.isfinite(energy)]
    if len(known) < FEWEST:
        return BirchMurnaghan()
    fit = ASEFit(known, energy[np.isfinite(energy)], eos="birchmurnaghan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the way of the optimiser
            volume, lowest, bulk_modulus = (float(one) for one in fit.fit(warn=False))
    except (RuntimeError, ValueError):
        return BirchMurnaghan()
    if not (known[0] < volume < known[-1] and bulk_modulus > 0):
        return BirchMurnaghan()
    derivative = float(fit.eos_parameters[2])
    return BirchMurnaghan(volume=volume, energy=lowest, bulk_modulus=bulk_modulus, derivative=derivative)


def _energies(
    evaluate: Evaluate, *, crystal: Atoms, factors: Float[np.ndarray, " n_points"]
) -> Float[np.ndarray, " n_points"]:
    """Energies of a surface; NaN where there is none, as long as there are enough for a fit."""
    frames = _scaled(crystal, factors)
    points = evaluate(frames)
    if any(_largest_force(point) > FMAX for point in points):
        # Those of relaxed atoms are seldom far from relaxed at other volumes.
        frames = _scaled(_relaxed(frames[len(frames) // 2], evaluate), factors / factors[len(frames) // 2])
        points = evaluate(frames)
    energy, problem = np.full(len(frames), np.nan), "no energy is finite"
    for place, point in enumerate(points):
        try:
            if isinstance(point, LabelError):
                raise point
            energy[place] = point.energy
            if _largest_force(point) > FMAX:
                energy[place] = math.nan
                energy[place] = relax(frames[place], SurfaceCalculator(evaluate), fmax=FMAX).get_potential_energy()
        except (RelaxationError, LabelError) as error:
            problem = str(error)
    if np.isfinite(energy).sum() < FEWEST:
        raise RelaxationError(f"fewer than {FEWEST} volumes have an energy: {problem}")
    return energy


def _scaled(crystal: Atoms, factors: Float[np.ndarray, " n_points"]) -> list[Atoms]:
    """Copies of a crystal with other volumes."""
    frames = []
    for factor in factors:
        atoms = geometry_of(crystal)
        atoms.set_cell(crystal.cell.array * factor ** (1 / 3), scale_atoms=True)
        frames.append(atoms)
    return frames


def _relaxed(crystal: Atoms, evaluate: Evaluate) -> Atoms:
    """The crystal with relaxed atoms, or as it is where they cannot be relaxed."""
    try:
        return relax(crystal, SurfaceCalculator(evaluate), fmax=FMAX / 3)
    except (RelaxationError, LabelError):
        return crystal


def _largest_force(point: SinglePoint | LabelError) -> float:
    return 0.0 if isinstance(point, LabelError) else float(np.linalg.norm(point.forces, axis=1).max())
