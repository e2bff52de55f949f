"""Charge and multiplicity of a structure."""

import operator
from typing import NamedTuple

import numpy as np
from ase import Atoms

__all__ = ["ElectronicState", "electronic_state", "total_charge"]


class ElectronicState(NamedTuple):
    """Total charge in e, and multiplicity 2S+1."""

    charge: int
    multiplicity: int


def electronic_state(atoms: Atoms) -> ElectronicState:
    """Charge and multiplicity of a structure: ``atoms.info["charge"]`` and ``atoms.info["multiplicity"]``.

    Left out, the charge is 0 and the multiplicity the lowest: 1 for an even number of electrons, 2 for an odd one. (The
    ground state of O₂ is a triplet; its multiplicity must be given.)

    Raises:
        ValueError: If either is not an integer, or they do not fit the number of electrons.
    """
    formula = atoms.get_chemical_formula()
    charge = total_charge(atoms)
    n_electrons = int(atoms.numbers.sum()) - charge
    if n_electrons < 0:
        raise ValueError(f"{formula} has only {n_electrons + charge} electrons to lose, got charge {charge}")
    multiplicity = _integer(atoms, "multiplicity", 1 + n_electrons % 2)
    unpaired = multiplicity - 1
    if unpaired < 0 or unpaired > n_electrons or (n_electrons - unpaired) % 2:
        raise ValueError(
            f"{formula} with charge {charge} has {n_electrons} electrons, which cannot have multiplicity "
            f"{multiplicity}; set atoms.info['charge'] or atoms.info['multiplicity'] (the lowest is "
            f"{1 + n_electrons % 2})"
        )
    return ElectronicState(charge=charge, multiplicity=multiplicity)


def total_charge(atoms: Atoms) -> int:
    """Charge of a structure in e: ``atoms.info["charge"]``, 0 if it is left out.

    Raises:
        ValueError: If it is not an integer.
    """
    return _integer(atoms, "charge", 0)


def _integer(atoms: Atoms, name: str, default: int) -> int:
    value = atoms.info.get(name, default)
    try:
        # Files give 1 as 1.0; nothing is lost by taking it.
        return operator.index(int(value) if isinstance(value, float | np.floating) and value == int(value) else value)
    except (TypeError, ValueError, OverflowError):
        formula = atoms.get_chemical_formula()
        raise ValueError(f"{formula}: {name} must be an integer, got atoms.info[{name!r}] = {value!r}") from None
