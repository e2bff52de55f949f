"""Starting data and baselines: relaxation, normal modes, thermal displacements along them, uniform displacements.

Nothing here knows where labels come from. What must go step by step (a relaxation) takes an ASE calculator; what may
go in parallel takes `label_many`, a function from structures to the same structures with `REF_energy` and `REF_forces`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import ase.units
import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.optimize import BFGS
from jaxtyping import Bool, Float

from sparring.atoms.constraints import fixed_coordinates
from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.inheritance import RESULTS
from sparring.starting_data.curvilinear import along_curves
from sparring.units import kT

__all__ = [
    "LabelMany",
    "NormalModeSample",
    "NormalModes",
    "RelaxationError",
    "bare_copy",
    "hessian",
    "n_hessian_labels",
    "normal_mode_displacements",
    "normal_mode_sample",
    "normal_modes",
    "relax",
    "uniform_displacements",
]

LabelMany: TypeAlias = Callable[[Sequence[Atoms]], Sequence[Atoms]]

# A mode softer than this, in cm⁻¹, is no vibration that a parabola describes: displacements along it would be absurd.
SOFTEST_MODE = 50.0


class RelaxationError(RuntimeError):
    """A relaxation that did not arrive anywhere. What a young potential does, so data for those who evaluate one."""


@dataclass(frozen=True, kw_only=True)
class NormalModes:
    """Harmonic vibrations of a molecule, slowest first (imaginary ones before all others).

    Attributes:
        frequencies: Wavenumbers in cm⁻¹; an imaginary frequency is given as a negative number.
        modes: Cartesian displacements of each mode, of unit length over all atoms.
        force_constants: Second derivative of the energy along each of these unit displacements, in eV/Å².
    """

    frequencies: Float[np.ndarray, " n_modes"]
    modes: Float[np.ndarray, "n_modes n_atoms 3"]
    force_constants: Float[np.ndarray, " n_modes"]


class NormalModeSample(NamedTuple):
    """Labelled structures around a minimum, and the minimum and vibrations from which they were drawn."""

    minimum: Atoms
    modes: NormalModes
    structures: list[Atoms]


def bare_copy(atoms: Atoms) -> Atoms:
    """The same geometry with what is known of it (charge, moments, tags), but with no label and no calculator.

    A label belongs to one geometry: whatever moves atoms must begin here.
    """
    copy: Atoms = atoms.copy()
    for key in RESULTS:
        copy.info.pop(key, None)
        copy.arrays.pop(key, None)
    return copy


def relax(atoms: Atoms, calculator: BaseCalculator, *, fmax: float = 0.005, max_steps: int = 300) -> Atoms:
    """Move the atoms downhill (BFGS) until no force is larger than `fmax`, in eV/Å.

    ASE's constraints hold, and the forces that must vanish are those that they leave. The energy and the unconstrained
    forces that the calculator gave for the last geometry come along (`get_forces(apply_constraint=False)` is free).

    Raises:
        RelaxationError: If the forces are not finite or still too large after `max_steps`.
    """
    moving = bare_copy(atoms)
    moving.calc = calculator
    with BFGS(moving, logfile=None) as optimiser:
        for _ in optimiser.irun(fmax=fmax, steps=max_steps):
            if not np.isfinite(moving.get_forces()).all():
                raise RelaxationError(
                    f"relaxing {moving.get_chemical_formula()}: forces are not finite after {optimiser.nsteps} steps"
                )
    energy, forces = moving.get_potential_energy(), moving.get_forces(apply_constraint=False)
    largest = np.linalg.norm(moving.get_forces(), axis=1).max()
    if not largest <= fmax:
        raise RelaxationError(
            f"relaxing {moving.get_chemical_formula()}: the largest force is {largest:.3g} eV/Å after {max_steps} "
            f"steps, wanted {fmax:g}; start from a better geometry, or allow more steps or a larger fmax"
        )
    moving.calc = SinglePointCalculator(moving, energy=energy, forces=forces)
    return moving


def hessian(
    atoms: Atoms, label_many: LabelMany, *, step: float = 0.01
) -> Float[np.ndarray, "n_coordinates n_coordinates"]:
    r"""Second derivatives of the energy by central differences of forces, symmetrised, in eV/Å².

    .. math:: H_{ij} = -\frac{F_j(x_i + h) - F_j(x_i - h)}{2h}

    with the step h in Å. The displaced structures, two for each coordinate that is not fixed, are labelled in one call.
    Fixed coordinates have no rows and columns.

    Raises:
        ValueError: If `label_many` does not label every structure: a Hessian cannot do without one. Or if all
            coordinates are fixed.
    """
    free = _free(atoms)
    if not free.any():
        raise ValueError(f"all atoms of {atoms.get_chemical_formula()} are fixed, so that it has no Hessian; free some")
    steps = step * np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)[free.ravel()]
    displaced = [_displaced(atoms, sign * one) for one in steps for sign in (1, -1)]
    labelled = label_many(displaced)
    if len(labelled) != len(displaced):
        raise ValueError(
            f"the Hessian of {atoms.get_chemical_formula()} needs {len(displaced)} labels, got {len(labelled)}; "
            "see why the others failed, start from a relaxed geometry or make the step smaller"
        )
    forces = np.array([one.arrays[FORCES][free] for one in labelled]).reshape(len(steps), 2, len(steps))
    second = -(forces[:, 0] - forces[:, 1]) / (2 * step)
    return np.asarray((second + second.T) / 2)


def n_hessian_labels(atoms: Atoms) -> int:
    """How many labels the Hessian of a structure takes: two for each coordinate that is not fixed."""
    return 2 * int(_free(atoms).sum())


def normal_modes(atoms: Atoms, hessian: Float[np.ndarray, "n_coordinates n_coordinates"]) -> NormalModes:
    r"""Vibrations from a Hessian in eV/Å²: eigenvectors L of the mass-weighted one, rigid motions taken out.

    .. math:: \tilde H_{ij} = H_{ij}/\sqrt{m_i m_j},\; \tilde H L = L\,\omega^2,\quad e_{ik} \propto L_{ik}/\sqrt{m_i}

    There are 3n-6 of them, 3n-5 in a linear molecule, and 3n-3 in a crystal, which is not free to turn. Where atoms are
    fixed the Hessian is that of the free coordinates, and of rigid motions only those are taken out that leave all
    fixed coordinates as they are: turns about one fixed atom, or about the line through two; with three there is none.

    Raises:
        ValueError: If the Hessian is not finite, or not that of the free coordinates.
    """
    free = _free(atoms)
    if hessian.shape != 2 * (free.sum(),):
        raise ValueError(
            f"the Hessian of {atoms.get_chemical_formula()} must have a row and a column for each of {free.sum()} free "
            f"coordinates, got the shape {hessian.shape}"
        )
    if not np.isfinite(hessian).all():
        raise ValueError(
            f"the Hessian of {atoms.get_chemical_formula()} has {(~np.isfinite(hessian)).sum()} elements "
            "that are not finite"
        )
    root_mass = np.sqrt(np.repeat(atoms.get_masses(), 3))[free.ravel()]
    internal = _internal_motions(atoms, free)
    squares, vectors = np.linalg.eigh(internal.T @ (hessian / np.outer(root_mass, root_mass)) @ internal)
    modes = (internal @ vectors / root_mass[:, None]).T
    lengths = np.linalg.norm(modes, axis=1)
    angular = np.sign(squares) * np.sqrt(np.abs(squares))
    displacements = np.zeros((len(modes), len(atoms), 3))
    displacements[:, free] = modes / lengths[:, None]
    return NormalModes(
        frequencies=angular * _wavenumber_unit(),
        modes=displacements,
        force_constants=squares / lengths**2,
    )


def normal_mode_displacements(
    atoms: Atoms,
    modes: NormalModes,
    n_structures: int,
    *,
    temperatures: tuple[float, float] = (250.0, 750.0),
    seed: int,
) -> list[Atoms]:
    """Draw geometries from the classical harmonic ensemble around a minimum.

    Each structure has its own temperature, uniform between the two of `temperatures` in K, and every mode an amplitude
    from N(0, kT/k), k its force constant. Modes that are imaginary or softer than 50 cm⁻¹ are left alone. Where
    straight lines would lengthen bonds, atoms go along curves (`curvilinear.along_curves`).
    The first structures are the same however many are drawn.

    Raises:
        ValueError: If no mode is left, or the temperatures are not positive and in order.
    """
    coldest, hottest = temperatures
    if not 0 < coldest <= hottest < math.inf:
        raise ValueError(f"temperatures must be positive, the lower one first; got {temperatures} K")
    stiff = modes.frequencies >= SOFTEST_MODE
    if not stiff.any():
        raise ValueError(
            f"{atoms.get_chemical_formula()} has no vibration above {SOFTEST_MODE:g} cm⁻¹ to displace it along "
            f"(frequencies: {np.round(modes.frequencies, 1).tolist()}); relax it first or use uniform displacements"
        )
    generator = np.random.default_rng(seed)
    at, straight = [], []
    for _ in range(n_structures):
        at.append(generator.uniform(coldest, hottest))
        amplitudes = generator.normal(size=stiff.sum()) * np.sqrt(kT(at[-1]) / modes.force_constants[stiff])
        straight.append(np.tensordot(amplitudes, modes.modes[stiff], axes=1))
    curved = along_curves(atoms, np.array(straight).reshape(-1, len(atoms), 3), _free(atoms))
    drawn = [_displaced(atoms, displacement) for displacement in curved]
    for one, temperature in zip(drawn, at, strict=True):
        one.info.update(source="normal_mode", parent=-1, temperature=temperature)
    return drawn


def normal_mode_sample(
    atoms: Atoms,
    calculator: BaseCalculator,
    label_many: LabelMany,
    *,
    n_structures: int,
    temperatures: tuple[float, float] = (250.0, 750.0),
    seed: int,
) -> NormalModeSample:
    """From a rough geometry to starting data, all at one level of theory: relaxation, Hessian, thermal displacements.

    Fixed atoms stay where they are in all three. The forces of labels are those of the free structure.
    The calculator does the relaxation and `label_many` everything after it. Displaced structures that cannot be
    labelled are left out.

    Raises:
        RelaxationError: If the relaxation does not converge.
        ValueError: If the Hessian cannot be had or has no vibrations.
    """
    relaxed = relax(atoms, calculator)
    minimum = bare_copy(relaxed)
    minimum.info.update({ENERGY: float(relaxed.get_potential_energy()), "source": "minimum", "parent": -1})
    minimum.arrays[FORCES] = relaxed.get_forces(apply_constraint=False)
    modes = normal_modes(minimum, hessian(minimum, label_many))
    drawn = normal_mode_displacements(minimum, modes, n_structures, temperatures=temperatures, seed=seed)
    return NormalModeSample(minimum=minimum, modes=modes, structures=list(label_many(drawn)))


def uniform_displacements(atoms: Atoms, n_structures: int, *, amplitude: float, seed: int) -> list[Atoms]:
    """Move every free coordinate by U(-amplitude, amplitude), in Å: the baseline that knows nothing of the molecule.

    Raises:
        ValueError: If the amplitude is not a positive length.
    """
    if not 0 < amplitude < math.inf:
        raise ValueError(f"the amplitude of displacements must be a positive length, got {amplitude} Å")
    generator = np.random.default_rng(seed)
    drawn = [_displaced(atoms, generator.uniform(-amplitude, amplitude, (len(atoms), 3))) for _ in range(n_structures)]
    for one in drawn:
        one.info.update(source="displacement", parent=-1)
    return drawn


def _displaced(atoms: Atoms, displacement: Float[np.ndarray, "n_atoms 3"]) -> Atoms:
    moved = bare_copy(atoms)
    moved.positions = np.where(_free(atoms), moved.positions + displacement, moved.positions)
    return moved


def _free(atoms: Atoms) -> Bool[np.ndarray, "n_atoms 3"]:
    """Which coordinates are not fixed."""
    fixed = fixed_coordinates(atoms)
    return np.ones((len(atoms), 3), dtype=bool) if fixed is None else ~fixed


def _internal_motions(atoms: Atoms, free: Bool[np.ndarray, "n_atoms 3"]) -> Float[np.ndarray, "n_coordinates n_modes"]:
    """Orthonormal mass-weighted motions of free coordinates that are neither a translation nor a rotation."""
    masses = atoms.get_masses()
    axes = np.eye(3)
    rigid = [np.tile(axis, (len(atoms), 1)) for axis in axes]
    if not atoms.pbc.any():
        arms = atoms.positions - atoms.get_center_of_mass()
        rigid += [np.cross(axis, arms) for axis in axes]
    weighted = np.array([(motion * np.sqrt(masses)[:, None]).ravel() for motion in rigid])
    lengths = np.linalg.norm(weighted, axis=1)
    # Rotations in units of the largest, so that the size of the molecule does not decide what counts as linear.
    weighted[3:] *= lengths[0] / max(lengths[3:].max(initial=0.0), 1e-12)
    if not free.all():
        weighted = _that_leave(~free, weighted)[:, free.ravel()]
    _, values, directions = np.linalg.svd(weighted)
    rank = int((values > 1e-3 * values[0]).sum()) if len(values) else 0
    return directions[rank:].T


def _that_leave(
    fixed: Bool[np.ndarray, "n_atoms 3"], rigid: Float[np.ndarray, "n_rigid n_coordinates"]
) -> Float[np.ndarray, "n_left n_coordinates"]:
    """The rigid motions, translations first, that leave all fixed coordinates as they are."""
    conditions = rigid[:, fixed.ravel()].T
    partly = np.asarray(fixed[fixed.any(axis=1) & ~fixed.all(axis=1)].any(axis=0))
    if partly.any() and len(rigid) == 6:
        # A turn about an axis keeps coordinates along this axis only; others it changes in second order.
        turns = [3 + axis for axis in range(3) if partly[np.arange(3) != axis].any()]
        conditions = np.concatenate([conditions, np.linalg.norm(rigid[0]) * np.eye(6)[turns]])
    _, values, directions = np.linalg.svd(conditions)
    return np.asarray(directions[int((values > 1e-6 * values[0]).sum()) :] @ rigid)


def _wavenumber_unit() -> float:
    """The wavenumber, in cm⁻¹, of a mode whose squared angular frequency is 1 eV/(Å² u)."""
    energy = ase.units._hbar * 1e10 / math.sqrt(ase.units._e * ase.units._amu)
    return float(energy / ase.units.invcm)
