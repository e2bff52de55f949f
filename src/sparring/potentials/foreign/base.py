"""Adapters of other packages' potentials: their protocol, and the parts that all of them share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from sparring.atoms.neighbors import edge_vectors, with_edges
from sparring.atoms.structures import Edges, Structures

__all__ = [
    "ForeignPotential",
    "ShiftableEnergies",
    "close_edges",
    "close_pairs",
    "copy_weights",
    "drawing_from",
    "element_index",
]


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let what other packages build meanwhile draw its weights from a generator; the state of PyTorch's own is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy the parameters of a module into those of another of the same architecture; buffers stay."""
    with torch.no_grad():
        for new, old in zip(source.parameters(), target.parameters(), strict=True):
            old.copy_(new)


@runtime_checkable
class ForeignPotential(Protocol):
    """A potential of another package: energies of structures in eV, twice differentiable in positions and cells.

    Adapters are modules, whose precision is that of their weights. They may have ``features(structures)``, the values
    of each atom that the last layer reads, ``(n_atoms, n_features)``.

    Attributes:
        elements: Symbols of the elements that the model has parameters for.
        cutoff: Largest distance at which atoms interact directly, in Å.
    """

    elements: tuple[str, ...]
    cutoff: float

    def __call__(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure."""


@runtime_checkable
class ShiftableEnergies(Protocol):
    """A potential with a table of energies of free atoms."""

    def add_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Add energies in eV, by atomic number, to the table of the model."""


def close_edges(structures: Structures, cutoff: float) -> tuple[Edges, Float[Tensor, "n_edges 3"]]:
    """Edges shorter than the cutoff of a model, with their vectors from the central atom to its neighbour in Å.

    Structures may have longer edges: all pairs of a molecule, or those of a committee whose other members reach
    farther. Not every model is zero beyond its cutoff.

    Args:
        structures: Structures; edges are added if there are none.
        cutoff: Cutoff of the model, in Å.
    """
    structures = with_edges(structures, cutoff)
    assert structures.edges is not None
    vectors = edge_vectors(structures)
    if not structures.longer_edges and structures.edge_cutoff is not None and structures.edge_cutoff <= cutoff:
        return structures.edges, vectors  # none is longer, and the host need not wait to know how many there are
    near = (vectors.detach().square().sum(1) < cutoff**2).nonzero().squeeze(1)
    source, target, shifts = (values.index_select(0, near) for values in structures.edges)
    return Edges(source, target, shifts), vectors.index_select(0, near)


def close_pairs(structures: Structures, cutoff: float) -> tuple[Edges, Float[Tensor, "n_pairs 3"]]:
    """Edges shorter than the cutoff of a model, one for each pair of atoms instead of one for each direction.

    Args:
        structures: Structures; edges are added if there are none.
        cutoff: Cutoff of the model, in Å.
    """
    edges, vectors = close_edges(structures, cutoff)
    # The first number that is not zero says which of the two directions it is; an edge never equals its reverse.
    numbers = torch.cat([(edges.source - edges.target).unsqueeze(1), edges.shifts.round().long()], dim=1).sign()
    one = ((numbers * numbers.new_tensor([8, 4, 2, 1])).sum(1) > 0).nonzero().squeeze(1)
    source, target, shifts = (values.index_select(0, one) for values in edges)
    return Edges(source, target, shifts), vectors.index_select(0, one)


def element_index(structures: Structures, known: Int[Tensor, " n_elements"]) -> Int[Tensor, " n_atoms"]:
    """Row of each atom's element in the table of a model.

    Args:
        structures: Structures.
        known: Atomic numbers of the table, in its order.

    Raises:
        ValueError: If the model has no parameters for an element.
    """
    table = known.new_full((max(int(known.max()) + 1, 120),), -1)
    table[known] = torch.arange(len(known), device=known.device)
    index = table[structures.atomic_numbers]
    if bool((index < 0).any()):
        unknown = sorted(set(structures.atomic_numbers[index < 0].tolist()))
        raise ValueError(
            f"the model has no parameters for atomic numbers {unknown}; it has those for {sorted(known.tolist())}"
        )
    return index
