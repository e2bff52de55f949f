"""Similarity of structures: SOAP vectors by DScribe, their nearest neighbours, and a 2D embedding by UMAP.

SOAP: Bartók et al. 2013, doi:10.1103/PhysRevB.87.184115. UMAP: McInnes et al. 2018, doi:10.21105/joss.00861.
"""

import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

__all__ = ["FEWEST", "distance_to_nearest", "nearest", "soap", "umap_embedding"]

FEWEST = 4
"""Smallest number of different vectors: with fewer, the spectral start of UMAP does not exist."""


def soap(
    structures: Sequence[Atoms], *, cutoff: float = 5.0, n_max: int = 5, l_max: int = 6, sigma: float = 1.0
) -> Float[np.ndarray, "n_structures n_features"]:
    """SOAP vectors, which translations, rotations, reflections and exchanges of like atoms leave as they are.

    With the paper's settings: spherical primitive Gaussian type orbitals, and the average over sites before the
    magnetic quantum numbers are summed (DScribe's "inner"), so that structures of any size can be compared. Periodic
    structures see their images.

    Args:
        structures: Structures; the elements of all of them define the vector.
        cutoff: Cutoff radius in Å.
        n_max: Number of radial functions.
        l_max: Highest degree of the spherical harmonics.
        sigma: Standard deviation of the Gaussians that stand for atoms, in Å.

    Raises:
        ModuleNotFoundError: If DScribe is not installed.
    """
    try:
        from dscribe.descriptors import SOAP
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('SOAP vectors need DScribe: pip install "sparring[maps]"') from error
    species = sorted({int(number) for atoms in structures for number in atoms.numbers})
    settings = {"r_cut": cutoff, "n_max": n_max, "l_max": l_max, "sigma": sigma, "rbf": "gto", "average": "inner"}
    describe = {periodic: SOAP(species=species, periodic=periodic, **settings) for periodic in (False, True)}
    # DScribe wants three lattice vectors also of a slab; along those that do not repeat it looks for no images.
    whole = [Atoms(atoms.numbers, atoms.positions, cell=atoms.cell.complete(), pbc=atoms.pbc) for atoms in structures]
    return np.stack([np.ravel(describe[bool(atoms.pbc.any())].create(atoms)) for atoms in whole])


def umap_embedding(
    vectors: Float[np.ndarray, "n n_features"], *, seed: int, n_neighbors: int = 15
) -> tuple[Float[np.ndarray, "n 2"], int]:
    """A 2D UMAP embedding of the vectors, and the n_neighbors it was made with (the point itself included).

    The paper names no settings of UMAP; these are UMAP's own, with Euclidean distances. Equal vectors are mapped once.
    Where there are not more than `n_neighbors` different ones, all but one are neighbours.

    Raises:
        ValueError: If fewer than four vectors differ, or there are too few neighbours.
        ModuleNotFoundError: If umap-learn is not installed.
    """
    if n_neighbors < 2:
        raise ValueError(f"an embedding needs n_neighbors >= 2, the structure itself included, got {n_neighbors}")
    # Copies would fill one another's neighbourhoods. What differs by rounding only, as after a rotation, is a copy.
    rounded = np.round(vectors / np.abs(vectors).max(), 9)
    _, first, copy_of = np.unique(rounded, axis=0, return_index=True, return_inverse=True)
    if len(first) < FEWEST:
        raise ValueError(
            f"an embedding needs at least {FEWEST} different structures, got {len(first)} (of {len(vectors)})"
        )
    order = np.argsort(first)
    distinct = vectors[first[order]]
    n_neighbors = min(n_neighbors, len(distinct) - 1)
    mapped = _umap(distinct, nearest(distinct, n_neighbors), seed)
    return mapped[np.argsort(order)[copy_of]], n_neighbors


def nearest(
    vectors: Float[np.ndarray, "n n_features"], n_neighbors: int
) -> tuple[Int[np.ndarray, "n n_neighbors"], Float[np.ndarray, "n n_neighbors"]]:
    """The nearest neighbours of each vector, itself first, and their Euclidean distances."""
    indices, distances = [], []
    for start, block in _distances(vectors, vectors):
        rows = np.arange(len(block))
        block[rows, start + rows] = -1.0  # itself first, also before its copies
        order = np.argsort(block, axis=1, kind="stable")[:, :n_neighbors]
        indices.append(order)
        distances.append(np.take_along_axis(block, order, axis=1).clip(min=0.0))
    return np.concatenate(indices), np.concatenate(distances)


def distance_to_nearest(
    vectors: Float[np.ndarray, "n n_features"], known: Float[np.ndarray, "m n_features"]
) -> Float[np.ndarray, " n"]:
    """The Euclidean distance of each vector to the nearest of those known."""
    return np.concatenate([block.min(axis=1) for _, block in _distances(vectors, known)])


def _distances(
    first: Float[np.ndarray, "n n_features"], second: Float[np.ndarray, "m n_features"], *, n_at_once: int = 1024
) -> Iterator[tuple[int, Float[np.ndarray, "n_rows m"]]]:
    """All distances, some rows at a time, each time with the number of the first."""
    for start in range(0, len(first), n_at_once):
        yield start, cdist(first[start : start + n_at_once], second)


def _umap(
    vectors: Float[np.ndarray, "n n_features"],
    neighbors: tuple[Int[np.ndarray, "n n_neighbors"], Float[np.ndarray, "n n_neighbors"]],
    seed: int,
) -> Float[np.ndarray, "n 2"]:
    who, how_far = neighbors
    with warnings.catch_warnings():
        # umap-learn warns that its ParametricUMAP needs TensorFlow; it is not used here.
        warnings.filterwarnings("ignore", "Tensorflow not installed", ImportWarning)
        try:
            from umap import UMAP
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('maps need umap-learn: pip install "sparring[maps]"') from error
        # umap-learn's: neighbours that are given cannot place further points later. There are none; and given are the
        # exact ones, while UMAP's own search is approximate for many points, and takes long to compile for few.
        warnings.filterwarnings("ignore", r"precomputed_knn\[2\]", UserWarning)
        # With more than one thread a seed would not fix the map.
        reducer = UMAP(
            n_neighbors=who.shape[1],
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(who, how_far.astype(np.float32)),
        )
        return np.asarray(reducer.fit_transform(vectors), dtype=np.float64)
