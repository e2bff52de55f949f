"""Neighbours: all pairs of a molecule, a cell list for periodic structures, behind one function."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.cell_lists import FINDERS
from sparring.atoms.structures import Edges, Structures

__all__ = ["distances", "edge_vectors", "joined_edges", "shortest_distance", "with_edges"]


def with_edges(structures: Structures, cutoff: float, *, method: str | None = None) -> Structures:
    """The same batch with its edges.

    A batch of molecules gets all pairs at any distance: such a list stays valid as atoms move, and potentials vanish at
    their cutoff. As soon as one structure is periodic, periodic structures get every pair of images closer than the
    cutoff.

    Args:
        structures: The batch; edges that it already has are kept.
        cutoff: Radius of the cell list, in Å.
        method: Cell list: "torch" for all structures at once on their device, "vesin" for one after another on the CPU;
            None for vesin on the CPU and torch elsewhere.

    Raises:
        ValueError: If the cutoff is not positive, or longer than the one that the edges were found with, or the method
            is not known.
    """
    if cutoff <= 0:
        raise ValueError(f"the cutoff must be positive, got {cutoff} Å")
    if method not in (None, *FINDERS):
        raise ValueError(f"unknown cell list {method!r}; wanted one of {', '.join(FINDERS)}")
    if structures.edges is not None:
        reach = structures.edge_cutoff
        if reach is not None and reach < cutoff:
            raise ValueError(
                f"the structures have edges up to {reach} Å, and {cutoff} Å are needed: neighbours would be missing; "
                f"give structures without edges, or make them by with_edges(structures, {cutoff})"
            )
        return structures
    crystals = structures.pbc.any(1)
    if not structures.periodic or not bool(crystals.any()):
        return replace(structures, edges=all_pairs(structures), edge_cutoff=None, longer_edges=True)
    finder = FINDERS[method or ("vesin" if structures.positions.device.type == "cpu" else "torch")]
    if bool(crystals.all()):
        return replace(structures, edges=finder(structures, cutoff), edge_cutoff=cutoff, longer_edges=False)
    parts = []
    for chosen, find in ((crystals, lambda some: finder(some, cutoff)), (~crystals, all_pairs)):
        atoms = chosen[structures.structure_index].nonzero().squeeze(1)
        parts.append((atoms, find(structures.take(chosen.nonzero().squeeze(1)))))
    return replace(structures, edges=joined_edges(structures, parts), edge_cutoff=cutoff, longer_edges=True)


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


def joined_edges(structures: Structures, parts: Sequence[tuple[Int[Tensor, " _"], Edges]]) -> Edges:
    """Edges of parts of a batch as those of the batch, sorted by the target.

    Args:
        structures: The batch.
        parts: Indices of the atoms of some structures, in their order, and the edges between these.
    """
    source = torch.cat([atoms[edges.source] for atoms, edges in parts])
    target, order = torch.sort(torch.cat([atoms[edges.target] for atoms, edges in parts]), stable=True)
    shifts = torch.cat([edges.shifts for _, edges in parts])
    return Edges(source[order], target, shifts[order].to(structures.positions.dtype))


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
