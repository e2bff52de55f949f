"""Cells about an atom, cut from a larger periodic structure, and the images of its atoms."""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

from sparring.atoms.guests import fragments

__all__ = ["cell_about", "images_within"]

BELOW, ABOVE = np.arange(0.0, 1.9, 0.3), np.arange(0.0, 4.1, 0.25)
"""Lengths in Å beyond core and shell, on both sides, at which a cell may end."""
N_NEAR, FIRST_SHELL, TOLERANCE = 8, 5.0, 0.05
"""Number of neighbours that an atom at a face should have as elsewhere; first guess of their distance in Å; and part by
which these distances may change."""
LARGEST_MOLECULE = 50
"""Number of atoms up to which molecules stay whole."""
SIZE = 0.05
"""Part of the atoms that must fit better in a cell of twice the length."""
CLOSE = 0.9
"""Part of the shortest distance in the structure, below which atoms at opposite faces are too close: one goes."""


class Window(NamedTuple):
    """A part of a lattice vector, from the centre on."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Length of the part."""
        return self.high - self.low


def cell_about(atoms: Atoms, centre: int, reach: float) -> Atoms:
    """The part of a periodic structure in a smaller cell about an atom."""
    bare, heights = atoms.copy(), _heights(atoms)
    around = _distances_around(bare)
    bare.set_array("around", around)
    _unwrap_molecules(bare)
    chosen = {}
    for axis in np.flatnonzero(atoms.pbc).tolist():
        # Along one vector at a time: how faces fit does not depend on where the others end.
        windows = _windows(reach, float(heights[axis]))
        misfits = [_misfit(_part(bare, {axis: one}, centre)) + SIZE * one.width / windows[0].width for one in windows]
        chosen[axis] = windows[int(np.argmin(misfits))]
    part = _part(bare, chosen, centre)
    del part[_too_close(part, CLOSE * around[:, 0].min())]
    del part.arrays["around"], part.arrays["molecule"]
    part.set_array("cap", np.zeros(len(part), dtype=int))
    return part


def _unwrap_molecules(atoms: Atoms) -> None:
    """Put the atoms of every molecule together, and name it by its first atom; what is large counts atom by atom."""
    molecule, shifts = np.arange(len(atoms)), np.zeros((len(atoms), 3))
    for one in fragments(atoms):
        if len(one.atoms) <= LARGEST_MOLECULE:
            members = list(one.atoms)
            molecule[members], shifts[members] = one.atoms[0], one.shifts
    atoms.positions += shifts @ atoms.cell.complete().array
    atoms.set_array("molecule", molecule)


def _windows(reach: float, height: float) -> list[Window]:
    """Parts of a lattice vector that contain the reach on both sides of the centre; the whole vector if it is short."""
    pairs = ((reach + low, reach + high) for low in BELOW for high in ABOVE)
    found = [Window(-low / height, high / height) for low, high in pairs if low + high < height]
    return found or [Window(-0.5, 0.5)]


def _misfit(part: Atoms) -> float:
    """Part of the atoms whose nearest neighbours are not as far as in the whole structure."""
    before = part.arrays["around"]
    changed = np.sqrt(np.square(_distances_around(part) - before).mean(1)) / before.mean(1)
    return float((changed > TOLERANCE).mean())


def _distances_around(atoms: Atoms) -> Float[np.ndarray, "n_atoms n_near"]:
    """Distances from each atom to its nearest neighbours, images among them, in Å."""
    reach = FIRST_SHELL
    while True:
        images = images_within(atoms, reach)
        found, _ = cKDTree(images.positions).query(images.positions[: len(atoms)], k=N_NEAR + 1)
        distance = np.asarray(found)
        if distance.max() <= reach:
            return distance[:, 1:]
        reach *= 1.5


def _heights(atoms: Atoms) -> Float[np.ndarray, " 3"]:
    """Distances of opposite faces of the cell in Å."""
    heights: Float[np.ndarray, " 3"] = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.complete().array), axis=0)
    return heights


def _part(atoms: Atoms, windows: Mapping[int, Window], centre: int) -> Atoms:
    """Atoms in a cell about the centre that is as long as the windows; the centre is the first."""
    complete, axes = atoms.cell.complete().array, list(windows)
    scaled = np.linalg.solve(complete.T, (atoms.positions - atoms.positions[centre]).T).T
    low, width = (np.array([getattr(window, name) for window in windows.values()]) for name in ("low", "width"))
    # Molecules go as their first atoms do, that of the centre as the centre does.
    first = np.where(atoms.arrays["molecule"] == atoms.arrays["molecule"][centre], centre, atoms.arrays["molecule"])
    wrapped = low + (scaled[first][:, axes] - low) % 1.0
    scaled[:, axes] += wrapped - scaled[first][:, axes]
    inside = (wrapped < low + width).all(1)
    order = sorted(np.flatnonzero(inside).tolist(), key=lambda atom: (atom != centre, atom))
    part: Atoms = atoms[order]
    part.positions = atoms.positions[centre] + scaled[order] @ complete
    cell = atoms.cell.array.copy()
    cell[axes] *= width[:, None]
    part.set_cell(cell)
    return part


def _too_close(part: Atoms, distance: float) -> Int[np.ndarray, " n_atoms_too_close"]:
    """Atoms of one of each two molecules at opposite faces that are too close; never the centre's, the first."""
    images, molecule = images_within(part, distance), part.arrays["molecule"]
    pairs = images.arrays["image_of"][cKDTree(images.positions).query_pairs(distance, output_type="ndarray")]
    gone: set[int] = set()
    for first, second in np.sort(pairs, axis=1).tolist():
        one, other = molecule[first], molecule[second]
        if one != other and not {one, other} & gone:
            gone.add(int(one if other == molecule[0] else other))
    return np.flatnonzero(np.isin(molecule, sorted(gone)))


def images_within(atoms: Atoms, reach: float) -> Atoms:
    """The atoms, and behind them their images up to a distance from the cell's faces."""
    scaled = np.linalg.solve(atoms.cell.complete().T, atoms.positions.T).T
    margin = reach / _heights(atoms)
    counts = np.where(atoms.pbc, np.ceil(margin).astype(int) + 1, 0)
    shifts = np.array(list(itertools.product(*(range(-n, n + 1) for n in counts))))
    shifts = shifts[np.argsort(np.abs(shifts).sum(1), kind="stable")]  # no shift comes first
    low, high = scaled.min(0), scaled.max(0)
    rows, moved = [], []
    for shift in shifts:
        there = scaled + shift
        indices = np.flatnonzero(((there >= low - margin) & (there <= high + margin)).all(1))
        rows.append(indices)
        moved.append(np.broadcast_to(shift, (len(indices), 3)))
    repeated: Atoms = atoms[np.concatenate(rows)]
    repeated.set_array("image_of", np.concatenate(rows))
    repeated.positions += np.concatenate(moved) @ atoms.cell.complete().array
    repeated.pbc = False
    return repeated
