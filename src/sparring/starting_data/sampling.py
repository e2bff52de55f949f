"""Starting data around a minimum: relaxation, normal modes, and thermal displacements along them.

The relaxation goes step by step and takes an ASE calculator. All other labels can be computed in parallel by
`label_many`, a function from structures to the same structures with `REF_energy` and `REF_forces`.
"""

import math
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from sparring.atoms.inheritance import bare_copy
from sparring.atoms.reference import ENERGY, FORCES
from sparring.starting_data.curvilinear import along_curves
from sparring.starting_data.displacements import displace, free_coordinates
from sparring.starting_data.normal_modes import LabelMany, NormalModes, hessian, normal_modes
from sparring.starting_data.relaxation import relax
from sparring.units import kT

__all__ = ["NormalModeSample", "normal_mode_displacements", "normal_mode_sample"]

# A mode softer than this, in cm⁻¹, is not harmonic: thermal displacements along it would be absurd.
SOFTEST_MODE = 50.0


class NormalModeSample(NamedTuple):
    """Labelled structures around a minimum, and the minimum and vibrations from which they were drawn."""

    minimum: Atoms
    modes: NormalModes
    structures: list[Atoms]


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
    curved = along_curves(atoms, np.array(straight).reshape(-1, len(atoms), 3), free_coordinates(atoms))
    drawn = [displace(atoms, displacement) for displacement in curved]
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
    """Starting data from a rough geometry, at one level of theory: relaxation, Hessian, thermal displacements.

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
