"""Coordinates that are fixed: ASE's constraints as a mask over positions, and back.

A constraint says where atoms may go, and nothing of energies: labels and forces are those of the free structure.
"""

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian, FixConstraint, FixedLine, FixedPlane, FixScaled
from jaxtyping import Bool, Int

__all__ = ["constraints_of", "drop_other_constraints", "fixed_coordinates", "without_constraints"]


def fixed_coordinates(atoms: Atoms, where: str = "") -> Bool[np.ndarray, "n_atoms 3"] | None:
    """Which Cartesian coordinates ASE's constraints hold, True where fixed; None if no coordinate is.

    These are `FixAtoms` and `FixCartesian`, and `FixedPlane`, `FixedLine` and `FixScaled` where they hold nothing but
    Cartesian coordinates.

    Args:
        atoms: The structure.
        where: Its name, for messages.

    Raises:
        ValueError: If there is another constraint: it would be lost without a word.
    """
    fixed = np.zeros((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        held = _held(constraint, atoms)
        if held is None:
            raise ValueError(
                f"{where or atoms.get_chemical_formula()} has the constraint {type(constraint).__name__}, which cannot "
                "be kept when atoms move; FixAtoms and FixCartesian (the column move_mask of extended XYZ) can; fix "
                "atoms instead, or remove it (atoms.set_constraint())"
            )
        index, mask = held
        fixed[index] |= mask
    return fixed if fixed.any() else None


def constraints_of(fixed: Bool[np.ndarray, "n_atoms 3"]) -> list[FixConstraint]:
    """The constraints that hold these coordinates: `FixAtoms` for whole atoms, `FixCartesian` for the rest."""
    whole = np.flatnonzero(fixed.all(axis=1))
    partly = fixed.any(axis=1) & ~fixed.all(axis=1)
    constraints: list[FixConstraint] = [FixAtoms(indices=whole)] if len(whole) else []
    for mask in np.unique(fixed[partly], axis=0):
        same = np.flatnonzero((fixed == mask).all(axis=1))
        constraints.append(FixCartesian(same, mask=tuple(mask.tolist())))
    return constraints


def drop_other_constraints(atoms: Atoms) -> list[str]:
    """Leave only the constraints that hold coordinates on a structure; a sentence about each of the others."""
    kept, notes = [], []
    for constraint in atoms.constraints:
        if _held(constraint, atoms) is None:
            notes.append(f"the constraint {type(constraint).__name__} is left out; FixAtoms and FixCartesian are kept")
        else:
            kept.append(constraint)
    atoms.set_constraint(kept)
    return notes


def without_constraints(atoms: Atoms) -> Atoms:
    """A copy whose forces are the derivatives of its energy, whatever was fixed."""
    free: Atoms = atoms.copy()
    free.set_constraint()
    return free


def _held(constraint: FixConstraint, atoms: Atoms) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " 3"]] | None:
    """Atoms and which of their coordinates a constraint holds; None if it does anything else."""
    match constraint:
        case FixAtoms():
            held = np.eye(3)
        case FixCartesian():
            held = np.diag(np.broadcast_to(constraint.mask, 3).astype(float))
        case FixedPlane():
            held = np.outer(constraint.dir, constraint.dir)
        case FixedLine():
            held = np.eye(3) - np.outer(constraint.dir, constraint.dir)
        case FixScaled():
            normals = np.linalg.inv(atoms.cell.array).T[constraint.mask]
            held = np.linalg.pinv(normals) @ normals
        case _:
            return None
    # A projection onto the directions in which nothing moves: it must be one onto axes.
    mask: Bool[np.ndarray, " 3"] = np.diag(held) > 0.5
    return (np.asarray(constraint.index), mask) if np.allclose(held, np.diag(mask.astype(float)), atol=1e-8) else None
