"""The two ends of a path: checked, relaxed on one surface, and laid onto each other."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixAtoms, FixCartesian
from ase.geometry import find_mic

from sparring.atoms.constraints import fixed_coordinates
from sparring.atoms.inheritance import geometry_of, inherit
from sparring.labels import LabelError
from sparring.labels.base import electronic_state
from sparring.starting_data.relaxation import RelaxationError, relax

__all__ = ["Ends", "relaxed_ends", "require_path"]

# Geometries no atom of which differs by more than this, in Å, are the same minimum.
SAME = 0.05


class Ends(NamedTuple):
    """Two minima, the second laid onto the first, and how far an atom moved at most to get into each, in Å."""

    first: Atoms
    last: Atoms
    moved: tuple[float, float]


def relaxed_ends(
    start: Atoms,
    end: Atoms,
    calculator: BaseCalculator,
    *,
    fmax: float,
    max_steps: int,
    extra: Sequence[str] = (),
) -> Ends:
    """The minima that two geometries relax to.

    Atoms are never renumbered. A free molecule is shifted and turned onto the start, a crystal only shifted, and its
    atoms go the shortest way round. Nothing moves what is held in place: by constraints, or by the field of a toy well.

    Args:
        start: Geometry near the first minimum.
        end: Geometry near the second, its atoms in the same order.
        calculator: Surface.
        fmax: Largest force on an atom of a minimum, in eV/Å.
        max_steps: Maximum number of steps for each.
        extra: Names in info or arrays that the surface depends on, besides what all descendants have.

    Raises:
        ValueError: If there can be no path between the two.
        RelaxationError: If one of them does not relax, or both relax to the same minimum.
        LabelError: If the calculator is one of labels, and a label fails.
    """
    start, end = _bare(start, extra), _bare(end, extra)
    require_path(start, end)
    first = _relaxed("start", start, calculator, fmax=fmax, max_steps=max_steps)
    last = _laid_onto(first, _relaxed("end", end, calculator, fmax=fmax, max_steps=max_steps))
    moved = (_distance(start, first), _distance(end, last))
    if _distance(first, last) < SAME:
        raise RelaxationError(
            f"both ends of the path relax to the same minimum of {start.symbols} (the start moved by {moved[0]:.2g} Å, "
            f"the end by {moved[1]:.2g} Å): on this surface there is no second minimum where one was expected"
        )
    return Ends(first, last, moved)


def _relaxed(name: str, atoms: Atoms, calculator: BaseCalculator, *, fmax: float, max_steps: int) -> Atoms:
    try:
        return relax(atoms, calculator, fmax=fmax, max_steps=max_steps)
    except LabelError as error:
        raise LabelError(error.reason, f"the {name} of the path: {error}") from error
    except RelaxationError as error:
        raise RelaxationError(f"the {name} of the path: {error}") from error


def _bare(atoms: Atoms, extra: Sequence[str]) -> Atoms:
    """The geometry with the properties that other images inherit."""
    return inherit(geometry_of(atoms), atoms, extra)


def require_path(start: Atoms, end: Atoms) -> None:
    """Check that there can be a path between two geometries.

    Raises:
        ValueError: If atoms, their order, cells, charges or fixed atoms differ, or both are the same geometry.
    """
    if sorted(start.numbers) != sorted(end.numbers):
        raise ValueError(f"the ends of a path have the same atoms, got {start.symbols} and {end.symbols}")
    if (start.numbers != end.numbers).any():
        at = int((start.numbers != end.numbers).argmax())
        raise ValueError(
            f"the ends of a path have their atoms in the same order, got {start.symbols} and {end.symbols}: atom {at} "
            f"is {start.symbols[at]} in one and {end.symbols[at]} in the other; renumber one of them"
        )
    if (start.pbc != end.pbc).any() or not np.allclose(start.cell[start.pbc], end.cell[end.pbc], atol=1e-8):
        raise ValueError("the ends of a path have the same cell and pbc; relax both ends in one cell")
    if electronic_state(start) != electronic_state(end):
        raise ValueError(
            f"the ends of a path have the same charge and multiplicity, got {tuple(electronic_state(start))} and "
            f"{tuple(electronic_state(end))}"
        )
    _require_fixed_atoms_in_place(start, end)
    if (apart := _distance(start, end)) < SAME:
        raise ValueError(
            f"start and end are the same geometry: laid onto each other, no atom is farther away than {apart:.2g} Å; "
            "give two minima"
        )


def _require_fixed_atoms_in_place(start: Atoms, end: Atoms) -> None:
    """A path goes straight from end to end at first: it would move atoms that are fixed at two different places."""
    shift = end.positions - start.positions
    if start.pbc.any():
        shift = find_mic(shift, start.cell, start.pbc)[0]
    for atoms in (start, end):
        fixed = fixed_coordinates(_only_fixed(atoms))
        moved = np.zeros(len(atoms), dtype=bool) if fixed is None else (fixed & (np.abs(shift) > 1e-4)).any(axis=1)
        for atom in np.flatnonzero(moved)[:1]:
            places = [one.positions[atom].round(4).tolist() for one in (start, end)]
            raise ValueError(
                f"atom {atom} ({start.symbols[atom]}) is fixed, but stands at {places[0]} at the start and at "
                f"{places[1]} at the end of the path; put fixed atoms at the same place in both"
            )


def _only_fixed(atoms: Atoms) -> Atoms:
    only: Atoms = atoms.copy()
    only.set_constraint([one for one in atoms.constraints if isinstance(one, FixAtoms | FixCartesian)])
    return only


def _laid_onto(reference: Atoms, atoms: Atoms) -> Atoms:
    """The atoms as near to the reference as motions bring them that cost no energy."""
    laid: Atoms = atoms.copy()
    held = len(atoms) == 1 or bool(atoms.constraints) or bool((atoms.numbers == 0).any())
    if not held:
        minimize_rotation_and_translation(reference, laid)
    elif atoms.pbc.any():
        laid.positions = reference.positions + find_mic(atoms.positions - reference.positions, atoms.cell, atoms.pbc)[0]
    return laid


def _distance(reference: Atoms, atoms: Atoms) -> float:
    """The largest displacement of an atom, in Å, when both are laid onto each other."""
    return float(np.linalg.norm(_laid_onto(reference, atoms).positions - reference.positions, axis=1).max())
