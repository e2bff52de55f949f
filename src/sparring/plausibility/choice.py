"""Choice of frames of a file that a labeller labels again for a comparison."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from ase import Atoms

from sparring.atoms.dataset import ENERGY, FORCES
from sparring.atoms.electronic_state import electronic_state
from sparring.labels import Bounds, Label, LabelError
from sparring.labels import check as check_label

__all__ = ["bounds_error", "frames_to_compare", "name_of"]

_PATIENCE = 50
"""Frames that are tried one after the other until a label is within bounds."""


def frames_to_compare(structures: Sequence[Atoms], bounds: Bounds | None = None, *, at_most: int = 3) -> list[int]:
    """A few informative labelled frames: smallest molecules first, all of one composition but one.

    Of the smallest composition the frame of lowest energy and the one in the middle, whose difference shows the unit
    and whose totals the zero; then one of the next composition, or the frame with the largest forces. Frames whose
    labels are out of bounds, and atoms by themselves if there is anything else, are left out.
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, atoms in enumerate(structures):
        if ENERGY in atoms.info:
            groups.setdefault(_kind(atoms), []).append(index)
    molecules = {kind: members for kind, members in groups.items() if len(structures[members[0]]) > 1} or groups
    by_cost = sorted(molecules.values(), key=lambda members: (len(members) < 2, len(structures[members[0]])))
    by_energy = [sorted(members, key=lambda index: float(structures[index].info[ENERGY])) for members in by_cost]
    orders = [order for members in by_energy[:1] for order in (members, members[len(members) // 2 :])]
    if len(by_energy) > 1:
        orders.append(by_energy[1][len(by_energy[1]) // 2 :])
    elif by_energy:
        orders.append(sorted(by_energy[0], key=lambda index: -_largest_force(structures[index])))
    if not orders:
        return []
    bounds = bounds or Bounds()
    # Labels in another unit may all be out of bounds; geometries then decide.
    for limits in (bounds, replace(bounds, max_force=None)):
        chosen: list[int] = []
        for order in orders:
            chosen += [index for index in order[:_PATIENCE] if bounds_error(structures[index], limits) is None][:1]
        if chosen:
            break
    return list(dict.fromkeys(chosen))[:at_most]


def bounds_error(atoms: Atoms, bounds: Bounds) -> str | None:
    """Message if the label that a frame carries is out of bounds, or None."""
    forces = atoms.arrays.get(FORCES)
    known = Label(
        energy=float(atoms.info[ENERGY]),
        forces=np.zeros((len(atoms), 3)) if forces is None else np.asarray(forces, dtype=float),
        method="the file",
        version="",
        converged=True,
        wall_time=0.0,
    )
    try:
        check_label(known, atoms, bounds)
    except LabelError as error:
        return error.message
    return None


def name_of(atoms: Atoms, index: int) -> str:
    """Name of a frame in messages."""
    return f"frame {index} ({atoms.get_chemical_formula()})"


def _kind(atoms: Atoms) -> tuple[object, ...]:
    try:
        state: object = electronic_state(atoms)
    except ValueError:
        state = None
    return (atoms.get_chemical_formula(), state)


def _largest_force(atoms: Atoms) -> float:
    forces = atoms.arrays.get(FORCES)
    return 0.0 if forces is None else float(np.linalg.norm(forces, axis=1).max())
