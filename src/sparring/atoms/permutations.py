"""The best rotation (Kabsch) and the best exchange of like atoms that bring one geometry of a molecule onto another."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

__all__ = ["best_orders", "centred", "least_permuted_rmsd", "overlap", "rotations"]

FEW = 48
"""Up to so many permutations, trying all of all pairs at once is faster than ruling some out pair by pair."""
N_FIRST = 8
"""Number of the most promising orders that are computed before others are ruled out."""
MAX_BOUNDS = 4_000_000
"""Number of distances, of all permutations together, that are compared at a time."""


def best_orders(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
    max_permutations: int,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    """The order of the second geometry's atoms that brings it closest to the first, for every pair.

    Exact over all exchanges of like atoms up to `max_permutations` of them; beyond, assignment and rotation alternate
    from several starts.
    """
    n_permutations = _n_permutations(atomic_numbers)
    search = _best_of_all_orders if n_permutations <= FEW else _best_of_possible_orders
    if n_permutations > max_permutations:
        search = _best_assignments
    return search(geometries, first, second, atomic_numbers, align=align, reflect=reflect)


def least_permuted_rmsd(
    positions: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool = True,
    enough: float = math.inf,
) -> Float[np.ndarray, " n_pairs"]:
    r"""Lower bound of the RMSD of pairs over all permutations of like atoms and all rotations, in Å.

    .. math:: n\, \mathrm{RMSD}^2 \geq \min_\pi \sum_i (r_i - r'_{\pi(i)})^2, \qquad
        2 n^2\, \mathrm{RMSD}^2 \geq \min_\pi \sum_{ij} (d_{ij} - d'_{\pi(i) j})^2

    r are distances from the centre; d those of an atom from the atoms of each element, nearest first, so that
    exchanges do not change them. The second, an assignment, is looked for where the first is not `enough`.
    """
    n_atoms = len(atomic_numbers)
    geometries = centred(positions.astype(np.float64)) if align else positions.astype(np.float64)
    elements = _elements(atomic_numbers)
    radii = np.linalg.norm(geometries, axis=-1)
    between = np.linalg.norm(geometries[:, :, None] - geometries[:, None], axis=-1)
    sorted_radii = np.concatenate([np.sort(radii[:, atoms], axis=1) for atoms in elements], axis=1)
    profiles = np.concatenate([np.sort(between[:, :, atoms], axis=2) for atoms in elements], axis=2)
    bounds = np.sqrt(((sorted_radii[first] - sorted_radii[second]) ** 2).mean(axis=1))
    for pair in np.flatnonzero(bounds <= enough):
        square = 0.0
        for atoms in elements:
            cost = cdist(profiles[first[pair], atoms], profiles[second[pair], atoms], "sqeuclidean")
            square += cost[linear_sum_assignment(cost)].sum()
        bounds[pair] = max(bounds[pair], math.sqrt(square / 2) / n_atoms)
    return np.asarray(bounds)


def centred(positions: Float[np.ndarray, "n_structures n_atoms 3"]) -> Float[np.ndarray, "n_structures n_atoms 3"]:
    """Geometries about the centre of their atoms."""
    return np.asarray(positions - positions.mean(axis=1, keepdims=True))


def rotations(covariance: Float[np.ndarray, "*batch 3 3"], *, reflect: bool) -> Float[np.ndarray, "*batch 3 3"]:
    """The rotation R that makes a·R closest to b, from aᵀb (Kabsch)."""
    left, _, right = np.linalg.svd(covariance)
    if not reflect:
        handedness = np.linalg.det(left) * np.linalg.det(right)
        left = np.concatenate([left[..., :2], left[..., 2:] * np.sign(handedness)[..., None, None]], axis=-1)
    return np.asarray(left @ right)


def overlap(covariance: Float[np.ndarray, "*batch 3 3"], *, align: bool, reflect: bool) -> Float[np.ndarray, "*batch"]:
    """The sum of a·b over all atoms, after the best rotation with `align`: the larger, the closer a and b."""
    if not align:
        return np.asarray(np.trace(covariance, axis1=-2, axis2=-1))
    values = np.linalg.svd(covariance, compute_uv=False)
    last = values[..., 2] if reflect else values[..., 2] * np.sign(np.linalg.det(covariance))
    return np.asarray(values[..., 0] + values[..., 1] + last)


def _elements(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> list[list[int]]:
    return [np.flatnonzero(atomic_numbers == number).tolist() for number in np.unique(atomic_numbers)]


def _n_permutations(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> int:
    return math.prod(math.factorial(len(atoms)) for atoms in _elements(atomic_numbers))


def _all_orders(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> Iterator[Int[np.ndarray, " n_atoms"]]:
    elements = _elements(atomic_numbers)
    places = list(itertools.chain.from_iterable(elements))
    for exchange in itertools.product(*(itertools.permutations(atoms) for atoms in elements)):
        order = np.empty(len(atomic_numbers), dtype=np.int64)
        order[places] = list(itertools.chain.from_iterable(exchange))
        yield order


def _best_of_all_orders(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    # One permutation at a time but all pairs at once: the memory does not grow with the number of permutations.
    best = np.full(len(first), -np.inf)
    best_order = np.zeros((len(first), len(atomic_numbers)), dtype=np.int64)
    transposed = geometries[first].swapaxes(-1, -2)
    partners = geometries[second]
    for order in _all_orders(atomic_numbers):
        found = overlap(transposed @ partners[:, order], align=align, reflect=reflect)
        better = found > best
        best[better] = found[better]
        best_order[better] = order
    return best_order


def _best_of_possible_orders(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    # The distances within molecules bound the RMSD of every order from below (see least_permuted_rmsd). What is found
    # in the orders of the lowest bounds rules out all orders whose bound is above it; few need a rotation.
    orders = np.array(list(_all_orders(atomic_numbers)))
    n_atoms = len(atomic_numbers)
    i, j = (side[: max(1, MAX_BOUNDS // len(orders))] for side in np.triu_indices(n_atoms, k=1))
    exchanged = orders[:, i] * n_atoms + orders[:, j]
    best = np.zeros((len(first), n_atoms), dtype=np.int64)
    for pair, (one, other) in enumerate(zip(first, second, strict=True)):
        a, b = geometries[one], geometries[other]
        within_a, within_b = cdist(a, a)[i, j], cdist(b, b)
        bounds = ((within_b.ravel()[exchanged] - within_a) ** 2).sum(1) / n_atoms
        # Several, because distances do not tell mirror images apart.
        promising = orders[np.argpartition(bounds, N_FIRST)[:N_FIRST]]
        largest = overlap(a.T @ b[promising], align=align, reflect=reflect).max()
        square = (a**2).sum() + (b**2).sum() - 2 * largest
        possible = orders[bounds <= square * (1 + 1e-9) + 1e-9]
        overlaps = overlap(a.T @ b[possible], align=align, reflect=reflect)
        best[pair] = possible[int(np.argmax(overlaps))]
    return best


def _best_assignments(
    geometries: Float[np.ndarray, "n_structures n_atoms 3"],
    first: Int[np.ndarray, " n_pairs"],
    second: Int[np.ndarray, " n_pairs"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    reflect: bool,
) -> Int[np.ndarray, "n_pairs n_atoms"]:
    elements = _elements(atomic_numbers)
    orders = np.zeros((len(first), len(atomic_numbers)), dtype=np.int64)
    for pair, (i, j) in enumerate(zip(first, second, strict=True)):
        a, b = geometries[i], geometries[j]
        if not align:
            orders[pair] = _assignment(a, b, elements)
            continue
        found = [_alternate(a, b, start, elements, reflect=reflect) for start in _starts(a, b, reflect=reflect)]
        overlaps = overlap(a.T @ np.stack([b[order] for order in found]), align=True, reflect=reflect)
        orders[pair] = found[int(np.argmax(overlaps))]
    return orders


def _starts(
    a: Float[np.ndarray, "n_atoms 3"], b: Float[np.ndarray, "n_atoms 3"], *, reflect: bool
) -> list[Float[np.ndarray, "3 3"]]:
    """Rotations to begin from: none, the one for atoms as numbered, and those that align the principal axes."""
    axes_of_a, axes_of_b = (np.linalg.svd(geometry, full_matrices=False)[2] for geometry in (a, b))
    signs = [np.diag(s) for s in itertools.product((1.0, -1.0), repeat=3)]
    principal = [axes_of_a.T @ sign @ axes_of_b for sign in signs]
    proper = [rotation for rotation in principal if reflect or np.linalg.det(rotation) > 0]
    return [np.eye(3), rotations(a.T @ b, reflect=reflect), *proper]


def _alternate(
    a: Float[np.ndarray, "n_atoms 3"],
    b: Float[np.ndarray, "n_atoms 3"],
    rotation: Float[np.ndarray, "3 3"],
    elements: list[list[int]],
    *,
    reflect: bool,
) -> Int[np.ndarray, " n_atoms"]:
    # Each half step can only bring a and b closer and there are finitely many assignments, so this ends.
    order = _assignment(a @ rotation, b, elements)
    while True:
        rotation = rotations(a.T @ b[order], reflect=reflect)
        new_order = _assignment(a @ rotation, b, elements)
        gain = ((a @ rotation) * (b[new_order] - b[order])).sum()
        if gain <= 1e-12 * (b**2).sum():
            return order
        order = new_order


def _assignment(
    a: Float[np.ndarray, "n_atoms 3"], b: Float[np.ndarray, "n_atoms 3"], elements: list[list[int]]
) -> Int[np.ndarray, " n_atoms"]:
    """For each atom of a, the atom of b of the same element that it is paired with: the least sum of squares."""
    order = np.empty(len(a), dtype=np.int64)
    for atoms in elements:
        rows, columns = linear_sum_assignment(a[atoms] @ b[atoms].T, maximize=True)
        order[np.asarray(atoms)[rows]] = np.asarray(atoms)[columns]
    return order
