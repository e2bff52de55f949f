"""Fixed atoms, as ASE's constraints and as the column `move_mask` of extended XYZ."""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixConstraint, FixScaled
from jaxtyping import Bool

__all__ = ["constraints_of", "fixed_only", "movable"]


def movable(atoms: Atoms) -> Bool[np.ndarray, "n_atoms 3"]:
    """Along which axes each atom may move.

    Raises:
        ValueError: If a constraint is none of FixAtoms and FixCartesian.
    """
    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            free[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
        else:
            raise ValueError(
                f"the constraint {type(constraint).__name__} cannot be kept, only FixAtoms and FixCartesian; remove it"
            )
    return free


def constraints_of(free: Bool[np.ndarray, "n_atoms 3"]) -> list[FixConstraint]:
    """Constraints that let atoms move along these axes only: FixAtoms first, then one FixCartesian for each mask."""
    fixed = np.flatnonzero(~free.any(axis=1))
    found: list[FixConstraint] = [FixAtoms(indices=fixed.tolist())] if len(fixed) else []
    partly = np.flatnonzero(free.any(axis=1) & ~free.all(axis=1))
    for mask in sorted({tuple(free[atom].tolist()) for atom in partly}):
        atoms = [int(atom) for atom in partly if tuple(free[atom].tolist()) == mask]
        found.append(FixCartesian(atoms, mask=tuple(not axis for axis in mask)))
    return found


def fixed_only(atoms: Atoms) -> list[str]:
    """Leave the constraints that can be kept on a structure, and tell which ones went."""
    kept, notes = [], []
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms | FixCartesian):
            kept.append(constraint)
        elif isinstance(constraint, FixScaled) and np.all(constraint.mask):
            kept.append(FixAtoms(indices=constraint.index))
        else:
            notes.append(f"the constraint {type(constraint).__name__} is left out; FixAtoms and FixCartesian are kept")
    atoms.set_constraint(kept)
    atoms.set_constraint(constraints_of(movable(atoms)))
    return notes
