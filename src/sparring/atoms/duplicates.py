r"""Structures that are in a data set more than once, also where the whole of one has been moved, turned or mirrored.

Two structures are duplicates if they have the same elements in the same order and the same geometry. Molecules are
compared by their distances :math:`d_{ij}`, crystals by the lengths and angles of their cells and by the places of atoms
in the cell relative to the first one. No potential that knows only distances can tell such structures apart: one of
them in the test set is no test if the other was learnt.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import pdist

from sparring.atoms.structures import Structures

__all__ = ["duplicate_groups"]

TOLERANCE = 1e-5
"""Largest difference in Å of duplicates: files have eight decimals or so, of which rotations use up some."""

Same = Callable[[int, int], bool]


def duplicate_groups(structures: Structures, tolerance: float = TOLERANCE) -> Int[np.ndarray, " n_structures"]:
    """For each structure the index of the first one that is the same; its own where there is none before it.

    The dummy atom of toy wells (atomic number 0) has a place: only equal positions are the same.

    Args:
        structures: The structures to compare.
        tolerance: Largest difference in Å, of distances between atoms or, in a crystal, of places in the cell.
    """
    groups = np.arange(structures.n_structures)
    ends = structures.counts.cumsum(0)[:-1].cpu().numpy()
    numbers = np.split(structures.atomic_numbers.cpu().numpy(), ends)
    positions = np.split(structures.positions.detach().cpu().double().numpy(), ends)
    cells, pbc = structures.cells.detach().cpu().double().numpy(), structures.pbc.cpu().numpy()
    alike: dict[tuple[bytes, bytes], list[int]] = {}
    for index, elements in enumerate(numbers):
        alike.setdefault((elements.tobytes(), pbc[index].tobytes()), []).append(index)
    for members in alike.values():
        if len(members) > 1:
            first = members[0]
            places = np.stack([positions[i] for i in members])
            if (numbers[first] == 0).any():
                found = _in_place(places, tolerance)
            elif pbc[first].any():
                found = _crystals(places, cells[members], pbc[first], tolerance)
            else:
                found = _molecules(places, tolerance)
            groups[members] = np.array(members)[found]
    return groups


def _in_place(places: Float[np.ndarray, "k n 3"], tolerance: float) -> Int[np.ndarray, " k"]:
    sizes = places.mean(axis=(1, 2))
    return _grouped(sizes, 2 * tolerance, lambda i, j: bool(np.abs(places[i] - places[j]).max() <= tolerance))


def _molecules(places: Float[np.ndarray, "k n 3"], tolerance: float) -> Int[np.ndarray, " k"]:
    n_atoms = places.shape[1]
    if n_atoms == 1:
        return np.zeros(len(places), dtype=np.int64)
    # Distances from the centre, the later atoms weighing more, hardly differ where no distance of atoms does.
    arms = np.linalg.norm(places - places.mean(axis=1, keepdims=True), axis=2)
    sizes = arms @ np.linspace(1.0, 2.0, n_atoms) / n_atoms

    def same(i: int, j: int) -> bool:
        return bool(np.abs(pdist(places[i]) - pdist(places[j])).max() <= tolerance)

    return _grouped(sizes, 10 * tolerance, same)


def _crystals(
    places: Float[np.ndarray, "k n 3"], cells: Float[np.ndarray, "k 3 3"], pbc: np.ndarray, tolerance: float
) -> Int[np.ndarray, " k"]:
    cells = np.stack([_completed(cell) for cell in cells])
    lengths = np.linalg.norm(cells, axis=2)
    angles = np.einsum("kia,kja->kij", cells, cells) / lengths[:, :, None]
    fractions = np.einsum("kna,kai->kni", places - places[:, :1], np.linalg.inv(cells))

    def same(i: int, j: int) -> bool:
        if np.abs(angles[i] - angles[j]).max() > tolerance:
            return False
        apart = fractions[i] - fractions[j]
        apart[:, pbc] -= np.round(apart[:, pbc])
        return bool(np.linalg.norm(apart @ cells[i], axis=1).max() <= tolerance)

    # Frames of one cell differ in where their atoms are; the cosine does not change where an atom leaves the cell.
    turns = np.where(pbc, np.cos(2 * np.pi * fractions) / (2 * np.pi), fractions) * lengths[:, None, :]
    sizes = lengths.mean(axis=1) + turns.sum(axis=2) @ np.linspace(1.0, 2.0, places.shape[1]) / places.shape[1]
    return _grouped(sizes, 100 * tolerance, same)


def _completed(cell: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The cell with unit vectors at right angles in place of those that are zero, along which nothing repeats."""
    cell = cell.copy()
    missing = np.flatnonzero(~cell.any(axis=1))
    if len(missing):
        _, _, directions = np.linalg.svd(cell)
        cell[missing] = directions[3 - len(missing) :]
    return cell


def _grouped(sizes: Float[np.ndarray, " k"], width: float, same: Same) -> Int[np.ndarray, " k"]:
    """The first of those that are the same as each, looked for only among those whose size differs by the width."""
    found = np.arange(len(sizes))
    nearby: list[int] = []
    for index in np.argsort(sizes, kind="stable").tolist():
        nearby = [one for one in nearby if sizes[index] - sizes[one] <= width]
        twin = next((one for one in nearby if same(index, one)), None)
        if twin is None:
            nearby.append(index)
        else:
            found[index] = twin
    # The first in the order of the data stands for all.
    first = np.arange(len(sizes))
    np.minimum.at(first, found, np.arange(len(sizes)))
    return np.asarray(first[found])
