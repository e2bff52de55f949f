"""Criteria that end the trajectory of a replica, besides values that are not finite."""

import functools
import itertools
import math
from dataclasses import dataclass

import torch
from ase.data import atomic_numbers
from jaxtyping import Bool, Int
from torch import Tensor

from sparring.atoms.neighbors import distances, shortest_distance
from sparring.atoms.structures import Structures
from sparring.dynamics.phase import Observation

__all__ = ["CloserThan", "DistanceWindow", "EnergyBelow", "UncertainForces"]


@dataclass(frozen=True)
class CloserThan:
    """Two atoms, or an atom and an image, have run into each other.

    Attributes:
        distance: Shortest allowed distance in Å.

    Raises:
        ValueError: If the distance is not positive.
    """

    distance: float

    def __post_init__(self) -> None:
        """Check the distance."""
        if not self.distance > 0:
            raise ValueError(f"the distance must be positive, got {self.distance} Å")

    def __str__(self) -> str:
        """Description for messages."""
        return f"atoms closer than {self.distance:g} Å"

    @property
    def reach(self) -> float:
        """Length of the edges that it needs, in Å."""
        return self.distance

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Replicas with such a pair."""
        return shortest_distance(structures) < self.distance


@dataclass(frozen=True)
class EnergyBelow:
    """The energy is lower than it can be.

    Attributes:
        energy: Lowest allowed energy in eV, on the scale of the committee.
    """

    energy: float

    def __str__(self) -> str:
        """Description for messages."""
        return f"energy below {self.energy:.10g} eV"

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Replicas with a lower mean energy."""
        return observation.energy < self.energy


@dataclass(frozen=True)
class UncertainForces:
    """The members disagree about the forces: the root of their variance (Eq. 7) is too large.

    Attributes:
        sigma: Largest allowed uncertainty in eV/Å.

    Raises:
        ValueError: If it is not positive.
    """

    sigma: float

    def __post_init__(self) -> None:
        """Check the uncertainty."""
        if not self.sigma > 0:
            raise ValueError(f"the uncertainty at which trajectories end must be positive, got {self.sigma} eV/Å")

    def __str__(self) -> str:
        """Description for messages."""
        return f"uncertainty of forces above {self.sigma:g} eV/Å"

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Replicas with a larger uncertainty."""
        return observation.force_variance > self.sigma**2


@dataclass(frozen=True)
class DistanceWindow:
    """Two atoms are closer, or farther apart, than they may be.

    Elements stand for every pair of their atoms in a replica, bonded or not; indices for the listed pairs, the first
    with the first and so on. In periodic structures, the nearest images of a pair count.

    Attributes:
        first: Symbol of an element, or indices of atoms in a replica, from 0.
        second: Symbol of an element, or as many indices of atoms.
        low: Shortest distance in Å.
        high: Longest distance in Å; infinite for no upper bound.

    Raises:
        ValueError: If there is no such element or pair, or the window is empty or excludes nothing.
    """

    first: str | tuple[int, ...]
    second: str | tuple[int, ...]
    low: float = 0.0
    high: float = math.inf

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not 0 <= self.low < self.high or not (self.low > 0 or self.high < math.inf):
            raise ValueError(f"a window needs 0 <= low < high, and one of them, got {self.low} Å and {self.high} Å")
        if isinstance(self.first, str) and isinstance(self.second, str):
            for symbol in (self.first, self.second):
                if symbol not in atomic_numbers:
                    raise ValueError(f"unknown element {symbol!r}; wanted a symbol such as 'H'")
            return
        pairs = self._pairs
        if not pairs or any(low < 0 or low == high for low, high in pairs):
            raise ValueError(
                "a window needs two elements, or two lists of the same length of different atoms, counted from 0; "
                f"got {self.first!r} and {self.second!r}"
            )

    def __str__(self) -> str:
        """Description for messages."""
        pairs = " ".join(f"{i}-{j}" for i, j in self._pairs) or f"{self.first}-{self.second}"
        if self.high == math.inf:
            return f"{pairs} closer than {self.low:g} Å"
        return f"{pairs} outside {self.low:g} to {self.high:g} Å"

    @property
    def reach(self) -> float:
        """Length of the edges that it needs, in Å."""
        return self.low if self.high == math.inf else self.high

    @property
    def _pairs(self) -> tuple[tuple[int, int], ...]:
        """The listed pairs, each once; none if there are elements, or the lists make no pairs."""
        if isinstance(self.first, str) or isinstance(self.second, str) or len(self.first) != len(self.second):
            return ()
        return tuple(sorted({(min(pair), max(pair)) for pair in zip(self.first, self.second, strict=True)}))

    def check(self, structures: Structures) -> None:
        """Check that the criterion applies to every structure.

        Raises:
            ValueError: If one of them has no such pair.
        """
        if self._pairs:
            needed, smallest = 1 + max(itertools.chain(*self._pairs)), int(structures.counts.min())
            if needed > smallest:
                raise ValueError(f"{self}: there is no atom {needed - 1}; the structure has {smallest}, counted from 0")
        elif bool((self._n_pairs(structures) == 0).any()):
            raise ValueError(f"{self}: the structure has no pair of {self.first} and {self.second}")

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Replicas with a pair outside.

        No host synchronisation, except for periodic structures and an upper bound.
        """
        distance, edges = distances(structures), structures.edges
        assert edges is not None  # distances() requires them
        owner = structures.structure_index.index_select(0, edges.target)
        is_pair = self._is_pair(structures, edges.source, edges.target)
        if self.high == math.inf:
            return _any_of(is_pair & (distance < self.low), owner, structures.n_structures)
        if not structures.periodic:  # then the edges are all pairs
            outside = (distance < self.low) | (distance > self.high)
            return _any_of(is_pair & outside, owner, structures.n_structures)
        closer = _any_of(is_pair & (distance < self.low), owner, structures.n_structures)
        return closer | (self._n_near(structures, is_pair & (distance <= self.high)) < self._n_pairs(structures))

    def _is_pair(
        self, structures: Structures, source: Int[Tensor, " n_edges"], target: Int[Tensor, " n_edges"]
    ) -> Bool[Tensor, " n_edges"]:
        """Mask of the edges that join a pair of the criterion, in either order."""
        if isinstance(self.first, str) and isinstance(self.second, str):
            one, other = atomic_numbers[self.first], atomic_numbers[self.second]
            numbers = structures.atomic_numbers
            source_z, target_z = numbers.index_select(0, source), numbers.index_select(0, target)
            return ((source_z == one) & (target_z == other)) | ((source_z == other) & (target_z == one))
        table = _table(self._pairs, source.device)
        beyond = len(table) - 1
        first = structures.first_atoms.index_select(0, structures.structure_index)
        place = (torch.arange(structures.n_atoms, device=first.device) - first).clamp(max=beyond)
        flat = place.index_select(0, target) * len(table) + place.index_select(0, source)
        return table.flatten().index_select(0, flat)

    def _n_pairs(self, structures: Structures) -> Int[Tensor, " n_copies"]:
        """Number of ordered pairs of different atoms of the criterion in each replica."""
        index = structures.structure_index
        zeros = index.new_zeros(structures.n_structures)
        if self._pairs:
            return zeros + 2 * len(self._pairs)
        numbers = structures.atomic_numbers
        one, other = (
            zeros.index_add(0, index, (numbers == atomic_numbers[str(symbol)]).long())
            for symbol in (self.first, self.second)
        )
        return one * (one - 1) if self.first == self.second else 2 * one * other

    def _n_near(self, structures: Structures, near: Bool[Tensor, " n_edges"]) -> Int[Tensor, " n_copies"]:
        """Number of ordered pairs of different atoms with an edge in `near`, in each replica."""
        assert structures.edges is not None
        source, target, _ = structures.edges
        near = near & (source != target)
        pairs = torch.unique(target[near] * structures.n_atoms + source[near])
        owner = structures.structure_index[pairs // structures.n_atoms]
        return owner.new_zeros(structures.n_structures).index_add(0, owner, torch.ones_like(owner))


def _any_of(
    flags: Bool[Tensor, " n_edges"], owner: Int[Tensor, " n_edges"], n_copies: int
) -> Bool[Tensor, " n_copies"]:
    """Replicas with any true flag."""
    return owner.new_zeros(n_copies).index_add(0, owner, flags.long()) > 0


# Kept on the device: to copy it there in every step would make the host wait.
@functools.lru_cache(maxsize=64)
def _table(pairs: tuple[tuple[int, int], ...], device: torch.device) -> Bool[Tensor, "size size"]:
    """Matrix of the indices that make a pair; the last row and column are for all indices beyond."""
    size = 2 + max(itertools.chain(*pairs))
    table = torch.zeros(size, size, dtype=torch.bool)
    for i, j in pairs:
        table[i, j] = table[j, i] = True
    return table.to(device)
