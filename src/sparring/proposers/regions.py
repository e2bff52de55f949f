"""Regions of large structures: attacks that move some atoms only, those about a centre or the most uncertain ones.

The mean over a thousand atoms hardly notices what happens to ten. With a region, the others are held, and
:data:`sparring.proposers.objectives.free_force_variance` is the disagreement about the forces on those that move.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.guests import Guests, require_host
from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.proposers.base import Proposer

__all__ = ["Region", "atom_variances", "in_region", "most_uncertain"]


@dataclass(frozen=True, kw_only=True)
class Region:
    """Atoms of each seed within a distance of its centres, images among them.

    Attributes:
        radius: Distance from the nearest centre in Å; 0 for the centres alone.
        centres: Atoms of each seed, counted from 0; or its guests; None for the most uncertain ones.
        most_uncertain: Number of the most uncertain atoms that are centres, where none are named.
        max_memory: Bytes that predictions may take at a time; None for no limit.

    Raises:
        ValueError: If the radius is negative, or there is no centre.
    """

    radius: float = 4.0
    centres: tuple[int, ...] | Guests | None = None
    most_uncertain: int = 1
    max_memory: float | None = 4e9

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not 0 <= self.radius < float("inf"):
            raise ValueError(f"the radius of a region is a distance from 0 Å on, got {self.radius}")
        if isinstance(self.centres, tuple) and not (self.centres and min(self.centres) >= 0):
            raise ValueError(f"centres of a region are some indices of at least 0, got {self.centres}")
        if self.most_uncertain < 1:
            raise ValueError(f"a region needs at least one centre, got most_uncertain={self.most_uncertain}")

    def atoms(self, committee: Committee, seeds: Structures) -> Bool[Tensor, " n_atoms"]:
        """Mask of the atoms in the region of their seed.

        Raises:
            ValueError: If a seed does not have one of the centres, or its guests are all of it.
        """
        centre = self._centres(committee, seeds)
        if not self.radius:
            return centre
        near = with_edges(replace(seeds, edges=None), self.radius)
        assert near.edges is not None
        reached = centre[near.edges.source] & (distances(near) <= self.radius)
        return centre.long().index_add(0, near.edges.target, reached.long()) > 0

    def holding_others(self, committee: Committee, seeds: Structures) -> Structures:
        """The seeds with all atoms fixed that are not in the region, besides those that were fixed before."""
        outside = ~self.atoms(committee, seeds).unsqueeze(1).expand(-1, 3)
        return replace(seeds, fixed=outside if seeds.fixed is None else seeds.fixed | outside)

    def _centres(self, committee: Committee, seeds: Structures) -> Bool[Tensor, " n_atoms"]:
        mask = torch.zeros(seeds.n_atoms, dtype=torch.bool, device=seeds.positions.device)
        if self.centres is None:
            variance = atom_variances(committee, seeds, max_memory=self.max_memory).to(mask.device)
            if seeds.fixed is not None:
                variance = torch.where(seeds.fixed.all(1), -1.0, variance)  # a fixed atom cannot be attacked
            return mask.index_fill(0, most_uncertain(variance, seeds, self.most_uncertain), value=True)
        if isinstance(self.centres, Guests):
            return mask.index_fill(0, torch.tensor(_atoms_of(self.centres, seeds), device=mask.device), value=True)
        for index, count in enumerate(seeds.counts.tolist()):
            if max(self.centres) >= count:
                raise ValueError(f"atom {max(self.centres)} is to be a centre, but seed {index} has 0 to {count - 1}")
        centres = torch.tensor(self.centres, device=mask.device)
        return mask.index_fill(0, (seeds.first_atoms.unsqueeze(1) + centres).flatten(), value=True)


def _atoms_of(guests: Guests, seeds: Structures) -> list[int]:
    """Indices of the atoms of all guests."""
    found, first = list[int](), 0
    for atoms, molecules in zip(seeds.to_atoms(), guests.molecules(seeds), strict=True):
        require_host(atoms, molecules)
        found += [first + atom for molecule in molecules for atom in molecule]
        first += len(atoms)
    return found


def in_region(proposer: Proposer, region: Region) -> Proposer:
    """A proposer that moves the atoms of a region of each seed only; its candidates are fixed as their seeds are."""

    def propose(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        candidates = proposer(committee, region.holding_others(committee, seeds), seed)
        seeds_of = seeds.take(list(candidates.origins(seeds.n_structures)))
        return candidates._replace(structures=replace(candidates.structures, fixed=seeds_of.fixed))

    return propose


def atom_variances(
    committee: Committee, structures: Structures, *, max_memory: float | None = 4e9
) -> Float[Tensor, " n_atoms"]:
    """Disagreement about the force on each atom in (eV/Å)², of any number of structures, some at a time.

    Raises:
        ValueError: If there are fewer than two members.
    """
    committee, n = committee.without_domain(), structures.n_structures
    structures = replace(structures.to(device=committee.device), edges=None)

    def of(some: Structures) -> Tensor:
        return uncertainty.atom_variance(committee.predict(some, differentiable=False).forces).double()

    size = how_many_fit(structures, lambda some: held_bytes(lambda: of(some)), max_memory)
    return torch.cat([of(structures.take(range(k, min(k + size, n)))) for k in range(0, n, size)])


def most_uncertain(variance: Float[Tensor, " n_atoms"], structures: Structures, n: int) -> Int[Tensor, " n_chosen"]:
    """Indices of the n atoms of each structure with the largest values, or of all where there are fewer."""
    by_value = variance.argsort(descending=True, stable=True)
    order = by_value[structures.structure_index[by_value].argsort(stable=True)]
    owner = structures.structure_index[order]
    rank = torch.arange(len(order), device=order.device) - structures.first_atoms[owner]
    return order[rank < n]
