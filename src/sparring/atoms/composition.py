"""Composition of structures: the chemical formula and the charge, within which total energies are compared.

Energies of different compositions share no zero: neither those of water and ammonia, nor those of a molecule and its
cation.
"""

from collections.abc import Sequence

from ase import Atoms

from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.reference import ENERGY

__all__ = ["composition", "lowest_energies"]


def composition(atoms: Atoms) -> str:
    """The chemical formula, and the charge unless it is zero: "H3N" or "H4N+1"."""
    charge = electronic_state(atoms).charge
    formula: str = atoms.get_chemical_formula()
    return f"{formula}{charge:+d}" if charge else formula


def lowest_energies(structures: Sequence[Atoms]) -> dict[str, float]:
    """The lowest ``info["REF_energy"]`` of each composition, in eV."""
    lowest: dict[str, float] = {}
    for atoms in structures:
        name, energy = composition(atoms), float(atoms.info[ENERGY])
        lowest[name] = min(lowest.get(name, energy), energy)
    return lowest
