"""Harmonic vibrations of molecules and crystals: Hessians from labels, and normal modes from Hessians."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import ase.units
import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float

from sparring.atoms.reference import FORCES
from sparring.starting_data.displacements import displace, free_coordinates

__all__ = ["LabelMany", "NormalModes", "hessian", "n_hessian_labels", "normal_modes"]

LabelMany: TypeAlias = Callable[[Sequence[Atoms]], Sequence[Atoms]]
"""A function from structures to the same structures with `REF_energy` and `REF_forces`; failures are left out."""


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
    free = free_coordinates(atoms)
    if not free.any():
        raise ValueError(f"all atoms of {atoms.get_chemical_formula()} are fixed, so that it has no Hessian; free some")
    steps = step * np.eye(3 * len(atoms)).reshape(-1, len(atoms), 3)[free.ravel()]
    displaced = [displace(atoms, sign * one) for one in steps for sign in (1, -1)]
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
    """Number of labels for the Hessian of a structure: two for each coordinate that is not fixed."""
    return 2 * int(free_coordinates(atoms).sum())


def normal_modes(atoms: Atoms, hessian: Float[np.ndarray, "n_coordinates n_coordinates"]) -> NormalModes:
    r"""Vibrations from a Hessian in eV/Å²: eigenvectors L of the mass-weighted one, rigid motions taken out.

    .. math:: \tilde H_{ij} = H_{ij}/\sqrt{m_i m_j},\; \tilde H L = L\,\omega^2,\quad e_{ik} \propto L_{ik}/\sqrt{m_i}

    There are 3n-6 of them, 3n-5 in a linear molecule, and 3n-3 in a crystal, which is not free to turn. Where atoms are
    fixed the Hessian is that of the free coordinates, and of rigid motions only those are taken out that leave all
    fixed coordinates as they are: turns about one fixed atom, or about the line through two; with three there is none.

    Raises:
        ValueError: If the Hessian is not finite, or not that of the free coordinates.
    """
    free = free_coordinates(atoms)
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
