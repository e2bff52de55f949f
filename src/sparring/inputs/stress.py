"""Stress of a frame, under any of its names: a stress in eV/Å³, or a virial in eV.

Signs are those of ASE: a stress is positive under tension, and a virial is minus the volume times the stress, as in
files of ASE, MACE, DeePMD and NEP.
"""

import numpy as np
from ase import Atoms
from jaxtyping import Float

from sparring.atoms.reference import STRESS
from sparring.atoms.strain import from_voigt, to_voigt

__all__ = ["NAMES", "drop_stress", "take_stress"]

STRESSES = (STRESS, "stress")
VIRIALS = ("REF_virial", "REF_virials", "virial", "virials")
NAMES = (*STRESSES, *VIRIALS)
"""Names in headers and results that are read as a stress or a virial."""
PART, FLOOR = 1e-3, 1e-5
"""Part of the largest component, and stress in eV/Å³, by which components may differ that should be the same."""


def take_stress(atoms: Atoms, results: dict[str, object], where: str) -> list[str]:
    """Put the stress of a structure under `REF_stress` (six components, eV/Å³), and return notes on the decisions.

    A structure that is not periodic along three vectors has none: the volume of a cell with vacuum means nothing.

    Args:
        atoms: Structure, whose `info` is changed.
        results: Results of its calculator.
        where: File and frame, for messages.

    Raises:
        ValueError: If a stress has a wrong shape, is not finite or not symmetric, or two of them differ.
    """
    given = {name: value for name, value in {**results, **atoms.info}.items() if name in NAMES and value is not None}
    for name in given:
        atoms.info.pop(name, None)
    if not given:
        return []
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        return [f"{', '.join(given)} left aside: only structures periodic along three vectors have a stress"]
    volume = atoms.get_volume()
    stresses = {
        name: _stress(name, value, -1 / volume if name in VIRIALS else 1.0, where) for name, value in given.items()
    }
    name, stress = next((one, stresses[one]) for one in NAMES if one in stresses)
    for other, value in stresses.items():
        if _differ(value, stress):
            raise ValueError(
                f"{where}: {name} and {other} differ, as stresses in eV/Å³ {_shown(stress)} and {_shown(value)}; a "
                "virial is minus the volume times the stress: remove the wrong one"
            )
    atoms.info[STRESS] = to_voigt(stress)
    return []


def drop_stress(atoms: Atoms) -> list[str]:
    """Remove everything that is a stress; returns its names."""
    names = [name for name in NAMES if name in atoms.info]
    for name in names:
        del atoms.info[name]
    return names


def _stress(name: str, value: object, factor: float, where: str) -> Float[np.ndarray, "3 3"]:
    """A stress in eV/Å³, from a stress or a virial and a factor."""
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if numbers.shape == (6,):
        numbers = from_voigt(numbers)
    elif numbers.shape == (9,):
        numbers = numbers.reshape(3, 3)
    if numbers.shape != (3, 3):
        raise ValueError(
            f"{where}: {name} must be six components (xx, yy, zz, yz, xz, xy) or a 3 x 3 matrix, got {value!r:.80}"
        )
    if not np.isfinite(numbers).all():
        raise ValueError(f"{where}: {name} is not finite, {_shown(numbers)}; label it again, or remove it")
    if _differ(factor * numbers, factor * numbers.T):
        raise ValueError(
            f"{where}: {name} is not symmetric, {numbers.tolist()}; a stress is. Six components come in the order "
            "xx, yy, zz, yz, xz, xy"
        )
    return factor * numbers


def _differ(one: Float[np.ndarray, "3 3"], other: Float[np.ndarray, "3 3"]) -> bool:
    return bool(abs(one - other).max() > PART * abs(one).max() + FLOOR)


def _shown(stress: Float[np.ndarray, "3 3"]) -> str:
    return "[" + ", ".join(f"{component:.3g}" for component in to_voigt(stress)) + "]"
