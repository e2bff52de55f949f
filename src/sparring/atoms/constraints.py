"""Coordinates that are fixed: ASE's constraints as a mask over positions, and back.

Constraints restrict positions, not energies: labels and forces are those of the free structure.
"""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixConstraint, FixedLine, FixedPlane, FixScaled
from jaxtyping import Bool, Int

__all__ = ["constraints_of", "drop_other_constraints", "fixed_coordinates", "without_constraints"]


def fixed_coordinates(atoms: Atoms, where: str = "") -> Bool[np.ndarray, "n_atoms 3"] | None:
    """Mask of the Cartesian coordinates that ASE's constraints fix; None if there are none.

    These are `FixAtoms` and `FixCartesian`, and `FixedPlane`, `FixedLine` and `FixScaled` where they fix only
    Cartesian coordinates.

    Args:
        atoms: The structure.
        where: Name of the structure, for messages.

    Raises:
        ValueError: If there is another constraint, which cannot be represented.
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        indexed_mask = _fixed_by(constraint, atoms)
        if indexed_mask is None:
            raise ValueError(
                f"{where or atoms.get_chemical_formula()} has the constraint {type(constraint).__name__}, which cannot "
                "be kept when atoms move; FixAtoms and FixCartesian (the column move_mask of extended XYZ) can; fix "
                "atoms instead, or remove it (atoms.set_constraint())"
            )
        index, mask = indexed_mask
        fixed[index] |= mask
    return fixed if fixed.any() else None


def constraints_of(fixed: Bool[np.ndarray, "n_atoms 3"]) -> list[FixConstraint]:
    """The constraints that fix these coordinates: `FixAtoms` for whole atoms, `FixCartesian` for the rest."""
    whole = np.flatnonzero(fixed.all(axis=1))
    partly = fixed.any(axis=1) & ~fixed.all(axis=1)
    constraints: list[FixConstraint] = [FixAtoms(indices=whole)] if len(whole) else []
    for mask in np.unique(fixed[partly], axis=0):
        same = np.flatnonzero((fixed == mask).all(axis=1))
        constraints.append(FixCartesian(same, mask=tuple(mask.tolist())))
    return constraints


def drop_other_constraints(atoms: Atoms) -> list[str]:
    """Remove all constraints but those that fix coordinates; returns a note about each one removed."""
    kept, notes = [], []
    for constraint in atoms.constraints:
        if _fixed_by(constraint, atoms) is None:
            notes.append(f"the constraint {type(constraint).__name__} is left out; FixAtoms and FixCartesian are kept")
        else:
            kept.append(constraint)
    atoms.set_constraint(kept)
    return notes


def without_constraints(atoms: Atoms) -> Atoms:
    """A copy with all atoms free."""
    free: Atoms = atoms.copy()
    free.set_constraint()
    return free


def _fixed_by(constraint: FixConstraint, atoms: Atoms) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " 3"]] | None:
    """Atoms and the mask of their coordinates that a constraint fixes; None if it does anything else."""
    match constraint:
        case FixAtoms():
            projection = np.eye(3)
        case FixCartesian():
            projection = np.diag(np.broadcast_to(constraint.mask, 3).astype(float))
        case FixedPlane():
            projection = np.outer(constraint.dir, constraint.dir)
        case FixedLine():
            projection = np.eye(3) - np.outer(constraint.dir, constraint.dir)
        case FixScaled():
            normals = np.linalg.inv(atoms.cell.array).T[constraint.mask]
            projection = np.linalg.pinv(normals) @ normals
        case _:
            return None
    # A projection onto the directions in which nothing moves: it must be one onto axes.
    mask: Bool[np.ndarray, " 3"] = np.diag(projection) > 0.5
    return (
        (np.asarray(constraint.index), mask)
        if np.allclose(projection, np.diag(mask.astype(float)), atol=1e-8)
        else None
    )
