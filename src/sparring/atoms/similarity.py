"""Clusters of similar structures: hierarchical clustering that computes only the distances that matter.

Two clusters can only be merged if some pair of their structures is within the threshold, for every linkage. So pairs
that a lower bound keeps apart need no distance, unless other structures connect them.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.cluster.hierarchy import fcluster
from scipy.cluster.hierarchy import linkage as cluster_tree
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from sparring.atoms.crystals import Crystal, crystal_distance, least_distance
from sparring.atoms.geometry import rmsd_of_pairs
from sparring.atoms.permutations import least_permuted_rmsd
from sparring.atoms.structures import Structures

__all__ = ["Linkage", "alike"]

Linkage = Literal["average", "single", "complete"]
Pairs = Int[np.ndarray, " n_pairs"]
Measure = Callable[[Pairs, Pairs], Float[np.ndarray, " n_pairs"]]
N_AT_ONCE = {False: 16384, True: 256}
"""Number of pairs between two calls of `progress`, without and with permutations."""


class _Group(NamedTuple):
    """Structures that can be compared: the same atoms, periodic along the same lattice vectors.

    Attributes:
        members: Indices of the structures.
        least: A lower bound of the distances of pairs, in Å, in numbers within the group.
        distance: The distances themselves.
    """

    members: Int[np.ndarray, " n_members"]
    least: Measure
    distance: Measure

    @property
    def n_pairs(self) -> int:
        return len(self.members) * (len(self.members) - 1) // 2


def alike(
    structures: Structures,
    *,
    rmsd: float,
    align: bool = True,
    permute: bool = False,
    linkage: Linkage = "average",
    progress: Callable[[int, int], None] | None = None,
) -> Int[np.ndarray, " n_structures"]:
    """A number for every structure, the same for structures of one cluster.

    Args:
        structures: Molecules, crystals, slabs and chains in any mixture.
        rmsd: Distance in Å within which clusters are merged.
        align: Flag to compare structures after the best translation and rotation.
        permute: Flag to allow permutations of atoms of one element.
        linkage: Distance of two clusters: the mean over all pairs, or the shortest, or the longest.
        progress: Callback with the number of pairs done and of all.
    """
    numbers = np.full(structures.n_structures, -1, dtype=np.int64)
    groups = _groups(structures, rmsd=rmsd, align=align, permute=permute)
    total, done = sum(group.n_pairs for group in groups), 0

    def ticking(measure: Measure) -> Measure:
        def measured(first: Pairs, second: Pairs) -> Float[np.ndarray, " n_pairs"]:
            nonlocal done
            parts = [np.zeros(0)]
            for start in range(0, len(first), N_AT_ONCE[permute]):
                part = slice(start, start + N_AT_ONCE[permute])
                parts.append(measure(first[part], second[part]))
                done += len(parts[-1])
                if progress and done < total:
                    progress(done, total)
            return np.concatenate(parts)

        return measured

    for group, begin in zip(groups, np.cumsum([0, *(group.n_pairs for group in groups)]), strict=False):
        done = int(begin)
        clusters = _clusters(len(group.members), group.least, ticking(group.distance), rmsd, linkage)
        numbers[group.members] = clusters + numbers.max() + 1
    if progress and total:
        progress(total, total)
    return numbers


def _clusters(
    n: int, least: Measure, distance: Measure, threshold: float, linkage: Linkage
) -> Int[np.ndarray, " n_members"]:
    """Clusters of the hierarchical tree below the threshold, numbered from 0."""
    first, second = np.triu_indices(n, k=1)
    # Rounding must not keep apart what is as far away as the threshold.
    possible = np.flatnonzero(least(first, second) <= threshold * (1 + 1e-9) + 1e-9)
    matrix = np.full((n, n), np.nan)
    matrix[first[possible], second[possible]] = distance(first[possible], second[possible])
    near = np.nonzero(matrix <= threshold)
    count, component = connected_components(coo_array((np.ones(len(near[0])), near), shape=(n, n)), directed=False)
    clusters = np.zeros(n, dtype=np.int64)
    for one in range(count):
        members = np.flatnonzero(component == one)
        if len(members) == 1:
            clusters[members] = clusters.max() + 1
            continue
        rows, columns = (members[side] for side in np.triu_indices(len(members), k=1))
        unknown = np.isnan(matrix[rows, columns])
        matrix[rows[unknown], columns[unknown]] = distance(rows[unknown], columns[unknown])
        square = np.nan_to_num(matrix[np.ix_(members, members)])
        tree = cluster_tree(squareform(square + square.T, checks=False), method=linkage)
        clusters[members] = fcluster(tree, t=threshold, criterion="distance") + clusters.max()
    return clusters


def _groups(structures: Structures, *, rmsd: float, align: bool, permute: bool) -> list[_Group]:
    ends = np.cumsum(structures.counts.cpu().numpy())[:-1]
    positions = np.split(structures.positions.detach().cpu().double().numpy(), ends)
    elements = np.split(structures.atomic_numbers.cpu().numpy(), ends)
    cells, pbc = structures.cells.detach().cpu().double().numpy(), structures.pbc.cpu().numpy()
    found: dict[tuple[tuple[int, ...], tuple[bool, ...]], list[int]] = {}
    for index, numbers in enumerate(elements):
        if permute:
            order = np.argsort(numbers, kind="stable")
            numbers, positions[index] = numbers[order], positions[index][order]
        found.setdefault((tuple(numbers.tolist()), tuple(pbc[index].tolist())), []).append(index)
    groups = []
    for (species, repeats), members in found.items():
        atoms, same = np.array(species), [positions[index] for index in members]
        if any(repeats):
            crystals = [Crystal.of(positions[i], cells[i], pbc[i]) for i in members]
            groups.append(_of_crystals(np.array(members), crystals, atoms, align=align, permute=permute))
        else:
            # The particle of a toy well is nowhere but where it is: its potential does not move with it.
            turned = align and bool(atoms.any())
            groups.append(_of_molecules(np.array(members), np.stack(same), atoms, rmsd, align=turned, permute=permute))
    return groups


def _of_molecules(
    members: Int[np.ndarray, " n_members"],
    positions: Float[np.ndarray, "n_members n_atoms 3"],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    rmsd: float,
    *,
    align: bool,
    permute: bool,
) -> _Group:
    def least(first: Pairs, second: Pairs) -> Float[np.ndarray, " n_pairs"]:
        if not permute:
            return np.zeros(len(first))
        return least_permuted_rmsd(positions, first, second, atomic_numbers, align=align, enough=rmsd)

    def distance(first: Pairs, second: Pairs) -> Float[np.ndarray, " n_pairs"]:
        return rmsd_of_pairs(positions, first, second, atomic_numbers, align=align, permute=permute)

    return _Group(members, least, distance)


def _of_crystals(
    members: Int[np.ndarray, " n_members"],
    crystals: list[Crystal],
    atomic_numbers: Int[np.ndarray, " n_atoms"],
    *,
    align: bool,
    permute: bool,
) -> _Group:
    def least(first: Pairs, second: Pairs) -> Float[np.ndarray, " n_pairs"]:
        return np.array([least_distance(crystals[i], crystals[j]) for i, j in zip(first, second, strict=True)])

    def distance(first: Pairs, second: Pairs) -> Float[np.ndarray, " n_pairs"]:
        pairs = zip(first, second, strict=True)
        arguments = {"align": align, "permute": permute}
        return np.array([crystal_distance(crystals[i], crystals[j], atomic_numbers, **arguments) for i, j in pairs])

    return _Group(members, least, distance)
