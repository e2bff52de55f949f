r"""Energy of a crystal against its volume, and its equation of state.

The cell keeps its shape. Atoms relax at each volume, unless all their forces vanish by symmetry. The energies of each
member are fitted by that of Birch (1947, doi:10.1103/PhysRev.71.809) and Murnaghan,

.. math:: E(V) = E_0 + \frac{9 V_0 B}{16} \Big\{ (\eta^2 - 1)^3 B' + (\eta^2 - 1)^2 (6 - 4 \eta^2) \Big\},
    \qquad \eta = (V_0 / V)^{1/3}
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
from ase import Atoms
from ase.eos import EquationOfState as ASEFit
from jaxtyping import Float

from sparring.committee import Committee
from sparring.labels import LabelError
from sparring.starting_data.relaxation import RelaxationError, relax
from sparring.surfaces.evaluators import Evaluate, SurfaceCalculator
from sparring.validation.bulk import LabelsSpentError, formula_of, of_surfaces, require_crystal
from sparring.validation.run_labels import LabelFrames

__all__ = ["BirchMurnaghan", "EquationOfState", "EquationsOfState", "equation_of_state", "equations_of_state"]

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

    volume: float
    energy: float
    bulk_modulus: float
    derivative: float


@dataclass(frozen=True, kw_only=True)
class EquationOfState:
    """Energies of a crystal against its volume.

    Attributes:
        formula: Formula unit.
        n_atoms: Number of atoms of the cell.
        relaxed: True if atoms were allowed to relax at each volume.
        volumes: Volumes of the cell, in Å³.
        energy: Energies of the members, in eV; NaN where a relaxation failed.
        label_energy: Energies of the labels, in eV; NaN where there is none.
        members: Fits of the members.
        label: Fit of the labels; NaN where there are too few.
        failures: Reasons why members have no energies.
        unlabelled: Reason why labels are missing.
        method: Method of the labels; empty without labels.
        n_labels: Number of labels.
    """

    formula: str
    n_atoms: int
    relaxed: bool
    volumes: Float[np.ndarray, " n_points"]
    energy: Float[np.ndarray, "n_members n_points"]
    label_energy: Float[np.ndarray, " n_points"]
    members: tuple[BirchMurnaghan, ...]
    label: BirchMurnaghan
    failures: tuple[str, ...] = ()
    unlabelled: str = ""
    method: str = ""
    n_labels: int = 0

    def of_members(self, name: str) -> Float[np.ndarray, " n_members"]:
        """A parameter of the fits of all members."""
        return np.array([getattr(one, name) for one in self.members])


@dataclass(frozen=True, kw_only=True)
class EquationsOfState:
    """Equations of state of several crystals."""

    crystals: tuple[EquationOfState, ...]


def equations_of_state(
    committee: Committee, crystals: Sequence[Atoms], *, n_labels: int = 100, **options: object
) -> EquationsOfState:
    """The equation of state of each crystal, with as many labels for each; see :func:`equation_of_state`."""
    found = (equation_of_state(committee, one, n_labels=n_labels, **options) for one in crystals)  # type: ignore[arg-type]
    return EquationsOfState(crystals=tuple(found))


def equation_of_state(
    committee: Committee,
    crystal: Atoms,
    *,
    volume_range: float = 0.1,
    n_points: int = 11,
    relax_atoms: bool = True,
    label: LabelFrames | None = None,
    n_labels: int = 100,
) -> EquationOfState:
    """Energies of a crystal at several volumes by each member of a committee and by labels, with their fits.

    Args:
        committee: Committee.
        crystal: Crystal near its equilibrium.
        volume_range: Largest change of the volume, as a part of it.
        n_points: Number of volumes.
        relax_atoms: True to relax the atoms at each volume where symmetry leaves them forces, on each surface alone.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        ValueError: If the structure is no crystal, or a number makes no sense.
        RelaxationError: If no member has energies.
    """
    require_crystal(crystal)
    committee.require_known([crystal])
    if not (0 < volume_range < 0.5 and n_points >= FEWEST):
        raise ValueError(
            f"wanted a range of volumes between 0 and 0.5, and at least {FEWEST} points, got {volume_range} and "
            f"{n_points}"
        )
    factors = np.linspace(1 - volume_range, 1 + volume_range, n_points)
    frames = []
    for factor in factors:
        atoms = crystal.copy()
        atoms.set_constraint()
        atoms.set_cell(crystal.cell.array * factor ** (1 / 3), scale_atoms=True)
        frames.append(atoms)
    compute = partial(_energies, frames=frames, relax_atoms=relax_atoms)
    found = of_surfaces(committee, compute, label=label, n_labels=n_labels)
    volumes = crystal.cell.volume * factors
    nothing = np.full(n_points, np.nan)
    energy = np.array([nothing if one is None else one[0] for one in found.members])
    label_energy, missing = (nothing, "") if found.label is None else found.label
    return EquationOfState(
        formula=formula_of(crystal),
        n_atoms=len(crystal),
        relaxed=relax_atoms,
        volumes=volumes,
        energy=energy,
        label_energy=label_energy,
        members=tuple(fitted(volumes, one) for one in energy),
        label=fitted(volumes, label_energy),
        failures=found.failures,
        unlabelled=found.unlabelled or missing,
        method=found.method,
        n_labels=found.n_labels,
    )


def fitted(volumes: Float[np.ndarray, " n_points"], energy: Float[np.ndarray, " n_points"]) -> BirchMurnaghan:
    """The fit of energies; NaN if fewer than five are known, or the minimum is not within the volumes."""
    known = np.isfinite(energy)
    nothing = BirchMurnaghan(**{field.name: math.nan for field in fields(BirchMurnaghan)})
    if known.sum() < FEWEST:
        return nothing
    fit = ASEFit(volumes[known], energy[known], eos="birchmurnaghan")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the way of the optimiser
            volume, lowest, bulk_modulus = (float(one) for one in fit.fit(warn=False))
    except (RuntimeError, ValueError):
        return nothing
    if not (volumes[0] < volume < volumes[-1] and bulk_modulus > 0):
        return nothing
    derivative = float(fit.eos_parameters[2])
    return BirchMurnaghan(volume=volume, energy=lowest, bulk_modulus=bulk_modulus, derivative=derivative)


def _energies(
    evaluate: Evaluate, *, frames: Sequence[Atoms], relax_atoms: bool
) -> tuple[Float[np.ndarray, " n_points"], str]:
    """Energies of a surface, and why some of them are missing."""
    energy, missing = np.full(len(frames), np.nan), ""
    for place, point in enumerate(evaluate(frames)):
        if isinstance(point, LabelError):
            missing = str(point)
            continue
        energy[place] = point.energy
        if relax_atoms and np.linalg.norm(point.forces, axis=1).max() > FMAX:
            try:
                relaxed = relax(frames[place], SurfaceCalculator(evaluate), fmax=FMAX)
            except (RelaxationError, LabelError, LabelsSpentError) as error:
                energy[place], missing = math.nan, str(error)
            else:
                energy[place] = relaxed.get_potential_energy()
    if not np.isfinite(energy).any():
        raise RelaxationError(missing or "no energy is finite")
    return energy, missing
