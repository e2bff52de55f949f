"""The smallest cell of a crystal, found by the translations that bring it to itself.

Data are often supercells, rattled or not, of a crystal whose smallest cell takes a fraction of the labels.
"""

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from jaxtyping import Float, Int

from sparring.atoms.electronic_state import electronic_state

__all__ = ["has_vacuum", "is_crystal", "primitive"]

TOLERANCE = 0.1
"""Largest distance in Å between an atom and the image of another."""
VACUUM = 6.0
"""Smallest width in Å of an empty layer that counts as vacuum; layers of van der Waals crystals are 3.5 Å apart."""
MOST_ATOMS = 500
NOTHING = 1e-6


def is_crystal(atoms: Atoms) -> bool:
    """True if a structure is periodic in three directions and has no layer of vacuum."""
    return bool(atoms.pbc.all()) and atoms.cell.rank == 3 and not has_vacuum(atoms)


def has_vacuum(atoms: Atoms) -> bool:
    """True if a layer of at least 6 Å between two planes of lattice vectors is empty, as in slabs and boxes."""
    fractional = np.sort(atoms.get_scaled_positions(), axis=0)
    gaps = np.diff(np.concatenate([fractional, fractional[:1] + 1.0]), axis=0).max(axis=0)
    return bool((gaps / np.linalg.norm(atoms.cell.reciprocal(), axis=1) > VACUUM).any())


def primitive(atoms: Atoms, *, tolerance: float = TOLERANCE) -> Atoms:
    """The crystal in its smallest cell, with the orientation that it has; each atom at the mean of its images.

    A structure that no smaller cell repeats is returned as it is, as are charged or magnetic ones, and those of more
    than 500 atoms.

    Args:
        atoms: Crystal, periodic in three directions.
        tolerance: Largest distance between an atom and the image of another, in Å.
    """
    whole = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
    magnetic = atoms.has("initial_magmoms") and bool(np.any(atoms.get_initial_magnetic_moments()))
    if len(atoms) > MOST_ATOMS or magnetic or electronic_state(atoms).charge:
        return whole
    cell = np.asarray(minkowski_reduce(atoms.cell.array, atoms.pbc)[0])
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    translations = _translations(fractional, cell, atoms.numbers, tolerance)
    if len(translations) == 1:
        return whole
    smallest = _shortest_basis(translations, cell)
    found = _folded(whole, smallest, len(translations), tolerance)
    return whole if found is None else found


def _translations(
    fractional: Float[np.ndarray, "n_atoms 3"],
    cell: Float[np.ndarray, "3 3"],
    numbers: Int[np.ndarray, " n_atoms"],
    tolerance: float,
) -> Float[np.ndarray, "n_translations 3"]:
    """Fractional translations that bring every atom to one of its element; a group, so that their number divides."""
    elements, counts = np.unique(numbers, return_counts=True)
    rarest = np.flatnonzero(numbers == elements[counts.argmin()])
    different = numbers[:, None] != numbers[None]
    kept = [np.zeros(3)]
    for other in rarest[1:]:
        shift = fractional[other] - fractional[rarest[0]]
        for _ in range(2):  # the second time with the mean of all atoms, not that of one
            away = fractional[None] - fractional[:, None] - shift
            away = away - np.round(away)
            distance = np.linalg.norm(away @ cell, axis=-1)
            distance[different] = np.inf
            nearest = distance.argmin(axis=1)
            shift = shift + away[np.arange(len(numbers)), nearest].mean(axis=0)
        if distance.min(axis=1).max() <= tolerance and len(set(nearest.tolist())) == len(numbers):
            kept.append(shift)
    n = len(kept)
    exact = np.round(np.array(kept) * n) / n  # n times a translation of a group of n is a lattice vector
    closed = len(np.unique(np.round(n * exact).astype(int) % n, axis=0)) == n
    return exact if closed and len(numbers) % n == 0 else np.zeros((1, 3))


def _shortest_basis(
    translations: Float[np.ndarray, "n_translations 3"], cell: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """Three shortest independent vectors of the lattice, right-handed: in three dimensions they are a basis."""
    images = np.stack(np.meshgrid(*[[-1, 0, 1]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    vectors = ((translations - np.round(translations))[:, None] + images).reshape(-1, 3) @ cell
    lengths = np.linalg.norm(vectors, axis=1)
    # Of vectors of one length, the one along the axes, so that the choice does not hang on rounding.
    order = np.lexsort((*np.round(-vectors.T, 4), np.round(lengths, 4)))
    chosen: list[np.ndarray] = []
    for vector in vectors[order]:
        if np.linalg.matrix_rank(np.array([*chosen, vector]), tol=1e-3) == len(chosen) + 1:
            chosen.append(vector)
        if len(chosen) == 3:
            break
    basis = np.array(chosen)
    return basis if np.linalg.det(basis) > 0 else -basis


def _folded(atoms: Atoms, cell: Float[np.ndarray, "3 3"], n_images: int, tolerance: float) -> Atoms | None:
    """Atoms of a smaller cell, each at the mean of its images; None if there are not as many images of each."""
    if abs(np.linalg.det(cell) * n_images / atoms.cell.volume - 1) > NOTHING:
        return None
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    numbers, places, left = [], [], np.arange(len(atoms))
    while len(left):
        first = left[0]
        away = fractional[left] - fractional[first]
        away = away - np.round(away)
        images = (np.linalg.norm(away @ cell, axis=1) <= 2 * tolerance) & (atoms.numbers[left] == atoms.numbers[first])
        if images.sum() != n_images:
            return None
        numbers.append(atoms.numbers[first])
        places.append(fractional[first] + away[images].mean(axis=0))
        left = left[~images]
    return Atoms(numbers, scaled_positions=places, cell=cell, pbc=True)
