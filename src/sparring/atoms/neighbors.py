"""Neighbours: all pairs of a molecule, a cell list for periodic structures, behind one function."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Edges, Structures

__all__ = ["distances", "edge_vectors", "shortest_distance", "with_edges"]


def with_edges(structures: Structures, cutoff: float) -> Structures:
    """The same batch with its edges.

    A batch of molecules gets all pairs at any distance: such a list stays valid as atoms move, and potentials vanish at
    their cutoff. As soon as one structure is periodic, periodic structures get every pair of images closer than the
    cutoff.

    Args:
        structures: The batch; edges that it already has are kept.
        cutoff: Radius of the cell list, in Å.

    Raises:
        ValueError: If the cutoff is not positive, or longer than the one that the edges were found with.
    """
    if cutoff <= 0:
        raise ValueError(f"the cutoff must be positive, got {cutoff} Å")
    if structures.edges is not None:
        reach = structures.edge_cutoff
        if reach is not None and reach < cutoff:
            raise ValueError(
                f"the structures have edges up to {reach} Å, and {cutoff} Å are needed: neighbours would be missing; "
                f"give structures without edges, or make them by with_edges(structures, {cutoff})"
            )
        return structures
    if not structures.periodic:
        return replace(structures, edges=all_pairs(structures), edge_cutoff=None)
    crystals = bool(structures.pbc.any(1).all())  # a molecule among them has all its pairs
    return replace(structures, edges=_mixed(structures, cutoff), edge_cutoff=cutoff if crystals else None)


def all_pairs(structures: Structures) -> Edges:
    """Every ordered pair of different atoms of the same structure, without a Python loop over structures."""
    index, counts = structures.structure_index, structures.counts
    size = counts[index]
    first = structures.first_atoms[index]
    atoms = torch.arange(structures.n_atoms, device=index.device)
    target = torch.repeat_interleave(atoms, size - 1)
    first_edge = (size - 1).cumsum(0) - (size - 1)
    local = torch.arange(len(target), device=index.device) - first_edge[target]
    # The k-th neighbour of the i-th atom is atom k, or k + 1 from i on: an atom is not its own neighbour.
    source = first[target] + local + (local >= (target - first[target])).long()
    return Edges(source, target, structures.positions.new_zeros(len(target), 3))


def _mixed(structures: Structures, cutoff: float) -> Edges:
    pieces, start = [], 0
    positions, cells = (values.detach().cpu().double().numpy() for values in (structures.positions, structures.cells))
    pbc = structures.pbc.cpu().numpy()
    for i, count in enumerate(structures.counts.tolist()):
        points = positions[start : start + count]
        if pbc[i].any():
            source, target, shifts = _cell_list(points, cells[i], pbc[i], cutoff)
        else:
            target, source = np.nonzero(~np.eye(count, dtype=bool))
            shifts = np.zeros((len(target), 3))
        pieces.append((source + start, target + start, shifts))
        start += count
    device, dtype = structures.positions.device, structures.positions.dtype
    source, target, shifts = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    return Edges(
        torch.as_tensor(source.astype(np.int64), device=device),
        torch.as_tensor(target.astype(np.int64), device=device),
        torch.as_tensor(shifts, dtype=dtype, device=device),
    )


def _cell_list(
    points: Float[np.ndarray, "n_atoms 3"], cell: Float[np.ndarray, "3 3"], pbc: np.ndarray, cutoff: float
) -> tuple[Int[np.ndarray, " n_edges"], Int[np.ndarray, " n_edges"], Float[np.ndarray, "n_edges 3"]]:
    import vesin

    finder = vesin.NeighborList(cutoff=cutoff, full_list=True)
    target, source, shifts = finder.compute(points=points, box=cell, periodic=pbc, quantities="ijS")
    order = np.lexsort((*shifts.T, source, target))
    return source[order].astype(np.int64), target[order].astype(np.int64), shifts[order].astype(float)


def edge_vectors(structures: Structures) -> Float[Tensor, "n_edges 3"]:
    """Vectors from each atom to its neighbours, in Å.

    Raises:
        ValueError: If the structures have no edges.
    """
    if structures.edges is None:
        raise ValueError("the structures have no edges yet; call neighbors.with_edges(structures, cutoff) first")
    source, target, shifts = structures.edges
    vectors = structures.positions.index_select(0, source) - structures.positions.index_select(0, target)
    if not structures.periodic:
        return vectors
    cells = structures.cells.index_select(0, structures.structure_index.index_select(0, target))
    return vectors + (shifts.unsqueeze(1) @ cells).squeeze(1)


def distances(structures: Structures) -> Float[Tensor, " n_edges"]:
    """Length of every edge, in Å."""
    return edge_vectors(structures).square().sum(-1).sqrt()


def shortest_distance(structures: Structures) -> Float[Tensor, " n_structures"]:
    """Length of the shortest edge of each structure, in Å, without its graph; infinite where there is no edge."""
    with torch.no_grad():
        distance = distances(structures)
        assert structures.edges is not None  # distances() has just looked
        owner = structures.structure_index.index_select(0, structures.edges.target)
        return distance.new_full((structures.n_structures,), torch.inf).scatter_reduce(0, owner, distance, "amin")
