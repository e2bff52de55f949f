"""Properties that a structure hands on to structures made from it.

A label depends on more than the geometry: on charge and multiplicity, on the moments and charges that a calculation
starts from, on tags that tell species apart. Code that moves atoms hands these on, but no results: computed energies,
forces and moments belong to one geometry.
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties

from sparring.atoms.reference import FORCES_MASK, HESSIAN

__all__ = ["ARRAYS", "INFO", "RESULTS", "bare_copy", "geometry_of", "inherit", "own_columns"]

INFO = ("charge", "multiplicity", "config_type")
ARRAYS = ("initial_magmoms", "initial_charges", "tags", FORCES_MASK)
# Words of the file format itself, which a file cannot have as columns of their own.
_FORMAT = ("Lattice", "Properties", "pbc", "species", "symbols", "pos", "positions", "Z", "numbers")
_LABELS = ("REF_energy", "REF_forces", "REF_stress", "label", *HESSIAN)
RESULTS = (*all_properties, *_LABELS, "virial", "virials", "REF_virial", "REF_virials")
"""Names in `info` and `arrays` of results, which hold for one geometry only."""
_NOT_OWN = {*all_properties, *_FORMAT, *_LABELS}


def inherit(child: Atoms, parent: Atoms, extra: Sequence[str] = ()) -> Atoms:
    """A copy of a structure with the inherited properties of its parent, which has the same atoms in the same order.

    These are charge, multiplicity and config type, initial moments and charges, tags, the mask of the core of an
    environment, and constraints.

    Args:
        child: Structure with the geometry.
        parent: Structure that it was made from.
        extra: Further names in `info` or `arrays`, as a labeller's `depends_on` has them.

    Raises:
        ValueError: If the two do not have the same atoms.
    """
    if not np.array_equal(child.numbers, parent.numbers):
        raise ValueError(f"{child.symbols} cannot inherit from {parent.symbols}: the atoms differ")
    heir: Atoms = child.copy()
    for name in (*INFO, *extra):
        if name in parent.info:
            heir.info[name] = copy.deepcopy(parent.info[name])
    for name in (*ARRAYS, *extra):
        if name in parent.arrays:
            heir.set_array(name, parent.arrays[name])
    heir.set_constraint([copy.deepcopy(constraint) for constraint in parent.constraints])
    return heir


def bare_copy(atoms: Atoms) -> Atoms:
    """A copy with charge, moments, tags and a user's own columns, without results and calculator.

    Results belong to one geometry: code that moves atoms begins with such a copy.
    """
    copy: Atoms = atoms.copy()
    for key in RESULTS:
        copy.info.pop(key, None)
        copy.arrays.pop(key, None)
    return copy


def geometry_of(atoms: Atoms) -> Atoms:
    """A copy of elements, positions, cell and pbc only."""
    return Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def own_columns(atoms: Atoms) -> tuple[Mapping[str, object], Mapping[str, np.ndarray]]:
    """Info and arrays of a structure that are neither geometry nor results: a user's own, to be kept in the data."""
    info = {name: value for name, value in atoms.info.items() if name not in _NOT_OWN}
    return info, {name: array for name, array in atoms.arrays.items() if name not in _NOT_OWN}
