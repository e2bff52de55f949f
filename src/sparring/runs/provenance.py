"""Labelled structures as the data set of a run has them: with their label, their state and their origin."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import FORCES
from sparring.atoms.inheritance import inherit, own_columns
from sparring.atoms.reference import HESSIAN_DIRECTION, HESSIAN_PRODUCT, HESSIAN_STEP, STRESS

__all__ = ["PREDICTED", "stamped"]

PREDICTED = "predicted"
"""Name in `info` that marks an energy and forces which are predictions of the committee itself, and no label."""
KEPT = ("label", "source", "parent", "frame", PREDICTED, HESSIAN_STEP, STRESS)


def stamped(atoms: Atoms, *, generation: int, inherited: Sequence[str] = ()) -> Atoms:
    """A labelled structure with its label, what it inherits, and its origin, but nothing else.

    A structure that is from a file as it is keeps its own columns. Those of a structure that was made from it might be
    results, which belong to the geometry in the file.

    Args:
        atoms: Labelled structure.
        generation: Number of the generation to whose data it is added.
        inherited: Further names in `info` or `arrays` that labels depend on.
    """
    bare = Atoms(numbers=atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    bare.info = {"REF_energy": atoms.info["REF_energy"]}
    kept = inherit(bare, atoms, inherited)
    kept.info |= {key: atoms.info[key] for key in KEPT if key in atoms.info}
    kept.info["generation"] = generation
    if atoms.info.get("source") == "file":
        info, arrays = own_columns(atoms)
        kept.info |= {name: value for name, value in info.items() if name not in kept.info}
        kept.arrays |= {name: array.copy() for name, array in arrays.items() if name not in kept.arrays}
    for name in (FORCES, HESSIAN_DIRECTION, HESSIAN_PRODUCT):
        if name in atoms.arrays:
            kept.arrays[name] = np.array(atoms.arrays[name], dtype=float)
    return kept
