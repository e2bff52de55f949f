r"""Elastic constants of crystals from the stresses of strained cells, with relaxed atoms.

.. math::
    C_{ij} = \frac{\partial S_i}{\partial \varepsilon_j}
      - \frac 1 V \sum_{kl} \Lambda_{ki} (K^{-1})_{kl} \Lambda_{lj}, \qquad
    \Lambda_{ki} = -\frac{\partial F_k}{\partial \varepsilon_i}, \qquad K_{kl} = -\frac{\partial F_k}{\partial x_l}

===========================  ===========================================================================================
:math:`S, \varepsilon`       stress and engineering strain in Voigt order xx, yy, zz, yz, xz, xy
:math:`\Lambda`              forces that a strain leaves on atoms at fixed fractional coordinates
:math:`K^{-1}`               inverse without translations: the atoms relax, to first order, as they do in zincblende
===========================  ===========================================================================================

All derivatives are central differences about the relaxed cell. Without K, which is computed only where strains leave
forces, there are 12 strained cells; it takes 6 more for each atom. Averages over polycrystals are those of Voigt, Reuss
and Hill (1952, doi:10.1088/0370-1298/65/5/307); a crystal is stable where all eigenvalues are positive (Born).
"""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.inheritance import bare_copy
from sparring.committee import Committee
from sparring.starting_data.relaxation import RelaxationError
from sparring.surfaces.crystals import points_of, relaxed_crystal, strained_copies, with_stress
from sparring.surfaces.evaluators import Evaluate
from sparring.validation.crystals.surfaces import About, of_surfaces
from sparring.validation.run_labels import LabelFrames

__all__ = ["Averages", "ElasticConstants", "averages", "elastic"]

DISPLACEMENT = 0.01
"""Displacement of atoms in Å for force constants."""
FREE = 2e-3
"""Difference of forces in eV/Å between two strains below which atoms have no freedom to relax."""


@dataclass(frozen=True, kw_only=True)
class Averages:
    """Moduli of a polycrystal, in eV/Å³.

    Attributes:
        bulk: Bulk modulus, the mean of the bounds of Voigt and Reuss (Hill).
        shear: Shear modulus, the same.
        lowest: Lowest eigenvalue of the elastic constants; above zero in a stable crystal.
    """

    bulk: float
    shear: float
    lowest: float


@dataclass(frozen=True, kw_only=True)
class ElasticConstants:
    """Elastic constants of a crystal.

    Attributes:
        about: The crystal, and how the constants were computed.
        constants: Constants of the members in eV/Å³ and Voigt order; NaN where there are none.
        volumes: Volumes of the relaxed cells of the members, in Å³.
        label_constants: Constants of the labels, in eV/Å³; NaN if there are none.
        label_volume: Volume of their relaxed cell, in Å³; NaN if there is none.
    """

    about: About
    constants: Float[np.ndarray, "n_members 6 6"]
    volumes: Float[np.ndarray, " n_members"]
    label_constants: Float[np.ndarray, "6 6"]
    label_volume: float

    @property
    def averages(self) -> tuple[Averages, ...]:
        """Moduli of each member."""
        return tuple(averages(one) for one in self.constants)

    @property
    def label(self) -> Averages:
        """Moduli of the labels."""
        return averages(self.label_constants)


def averages(constants: Float[np.ndarray, "6 6"]) -> Averages:
    """Moduli of a polycrystal by Voigt, Reuss and Hill; those of a crystal that is not stable are NaN."""
    if not np.isfinite(constants).all():
        return Averages(bulk=math.nan, shear=math.nan, lowest=math.nan)
    lowest = float(np.linalg.eigvalsh(constants).min())
    if lowest <= 0:
        return Averages(bulk=math.nan, shear=math.nan, lowest=lowest)
    c, s = constants, np.linalg.inv(constants)
    stiff, soft = c[:3, :3], s[:3, :3]
    voigt_bulk, reuss_bulk = stiff.sum() / 9, 1 / soft.sum()
    off = (stiff.sum() - np.trace(stiff)) / 2
    voigt_shear = (np.trace(stiff) - off + 3 * np.trace(c[3:, 3:])) / 15
    off = (soft.sum() - np.trace(soft)) / 2
    reuss_shear = 15 / (4 * np.trace(soft) - 4 * off + 3 * np.trace(s[3:, 3:]))
    return Averages(bulk=float(voigt_bulk + reuss_bulk) / 2, shear=float(voigt_shear + reuss_shear) / 2, lowest=lowest)


def elastic(
    committee: Committee,
    crystal: Atoms,
    *,
    strain: float = 0.005,
    label: LabelFrames | None = None,
    n_labels: int = 100,
) -> ElasticConstants:
    """All elastic constants of a crystal by each member of a committee and by labels, each about its own relaxed cell.

    A labeller without a stress is asked for energies of strained cells, thirteen times as many labels.

    Args:
        committee: Committee.
        crystal: Crystal near its equilibrium, best in its smallest cell.
        strain: Engineering strain of the central differences.
        label: Function that labels structures, such as the method ``label`` of a label service; None for no labels.
        n_labels: Largest number of labels.

    Raises:
        ValueError: If the structure is no crystal, or the strain is not between 0 and 0.1.
        RelaxationError: If no member has elastic constants.
    """
    if not 0 < strain < 0.1:
        raise ValueError(f"wanted a strain between 0 and 0.1, got {strain}")
    found = of_surfaces(
        committee,
        crystal,
        partial(_constants, crystal=crystal, strain=strain),
        missing=(np.full((6, 6), np.nan), math.nan),
        label=label,
        n_labels=n_labels,
        options={"strain": strain},
    )
    return ElasticConstants(
        about=found.about,
        constants=np.array([constants for constants, _ in found.members]),
        volumes=np.array([volume for _, volume in found.members]),
        label_constants=found.label[0],
        label_volume=found.label[1],
    )


def _constants(evaluate: Evaluate, *, crystal: Atoms, strain: float) -> tuple[Float[np.ndarray, "6 6"], float]:
    """Elastic constants of a surface, and the volume of its relaxed cell."""
    relaxed = relaxed_crystal(crystal, evaluate)
    points = points_of(with_stress(evaluate), strained_copies(relaxed, strain))
    stresses = np.array([point.stress for point in points])
    constants = (stresses[::2] - stresses[1::2]).T / (2 * strain)
    between = np.array([plus.forces - minus.forces for plus, minus in zip(points[::2], points[1::2], strict=True)])
    if len(relaxed) > 1 and np.linalg.norm(between, axis=-1).max() > FREE:
        coupling = -between.reshape(6, -1).T / (2 * strain)
        stiffness = _force_constants(relaxed, evaluate)
        constants = constants - coupling.T @ _inverse(stiffness, relaxed) @ coupling / relaxed.cell.volume
    return (constants + constants.T) / 2, float(relaxed.cell.volume)


def _force_constants(atoms: Atoms, evaluate: Evaluate) -> Float[np.ndarray, "n n"]:
    """Second derivatives of the energy in the positions of all atoms, with all their images, in eV/Å²."""
    frames = []
    for place in range(3 * len(atoms)):
        for sign in (DISPLACEMENT, -DISPLACEMENT):
            moved = bare_copy(atoms)
            moved.positions.flat[place] += sign
            frames.append(moved)
    forces = np.array([point.forces.ravel() for point in points_of(evaluate, frames)])
    constants = -(forces[::2] - forces[1::2]) / (2 * DISPLACEMENT)
    return np.asarray((constants + constants.T) / 2)


def _inverse(stiffness: Float[np.ndarray, "n n"], atoms: Atoms) -> Float[np.ndarray, "n n"]:
    """Inverse of force constants on all but translations.

    Raises:
        RelaxationError: If there is a direction along which the energy does not rise.
    """
    shifts = np.tile(np.eye(3), (len(atoms), 1)) / np.sqrt(len(atoms))
    others = np.linalg.svd(shifts)[0][:, 3:]
    inner = others.T @ stiffness @ others
    lowest = float(np.linalg.eigvalsh(inner).min())
    if lowest <= 1e-3 * np.abs(inner).max():
        raise RelaxationError(
            f"the atoms of {atoms.get_chemical_formula()} are not at a minimum: the lowest force constant is "
            f"{lowest:.3g} eV/Å²"
        )
    return np.asarray(others @ np.linalg.inv(inner) @ others.T)
