"""A user's own map from variables to atoms."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import check_sizes, normal, within

__all__ = ["CollectiveVariables", "Map"]

Map = Callable[[Tensor, Tensor], Tensor]
"""The positions of one seed (n_atoms, 3) in Å, and its delta (n_variables,), to new positions (n_atoms, 3)."""


class _Group(NamedTuple):
    """The seeds of one size, and their atoms."""

    seeds: Int[Tensor, " n"]
    atoms: Int[Tensor, "n size"]


@dataclass(frozen=True, kw_only=True)
class CollectiveVariables:
    r"""One's own map from collective variables to atoms: :math:`X_\delta = (Z, s^{-1}(X, \delta))` (Sec. II.C).

    The map is a function of PyTorch for one seed, without ifs on values and without writing into its arguments; seeds
    of one size go through it together, by `torch.vmap`. Delta has a row for each seed and a column for each variable.
    With a delta of zero, the map should leave the atoms where they are.

    Attributes:
        function: From the positions of one seed and its delta to new positions.
        n_variables: Number of variables.
        spread: Standard deviation of each variable of the initial delta, in its units.
        radius: Bound on the norm of a seed's delta; None for none.
        norm: Value of p in that norm, at least 1.

    Raises:
        ValueError: If there is no variable, or a size makes no sense.
    """

    function: Map
    n_variables: int
    spread: float = 0.01
    radius: float | None = None
    norm: float = 2.0
    _groups: WeakTensorKeyDictionary = field(
        default_factory=WeakTensorKeyDictionary, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.n_variables < 1:
            raise ValueError(f"need at least one variable, got {self.n_variables}")
        check_sizes(spread=self.spread, radius=self.radius, norm=self.norm, unit="")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_structures"]:
        """A row is a seed."""
        return torch.arange(seeds.n_structures, device=seeds.structure_index.device)

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_structures n_variables"]:
        """Delta drawn from N(0, spread²)."""
        shape = (seeds.n_structures, self.n_variables)
        return self.project(seeds, normal(shape, self.spread, generator, seeds.positions))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_structures n_variables"]) -> Structures:
        """The seeds where the map takes them; fixed atoms stay.

        Raises:
            ValueError: If the map gives something else than positions.
        """
        positions = torch.empty_like(seeds.positions)
        for group in self._of(seeds):
            before = seeds.positions.index_select(0, group.atoms.flatten()).unflatten(0, group.atoms.shape)
            after = torch.vmap(self.function)(before, delta.index_select(0, group.seeds))
            if after.shape != before.shape:
                raise ValueError(
                    f"the map must give positions of shape {tuple(before.shape[1:])}, got {tuple(after.shape[1:])}"
                )
            positions = positions.index_copy(0, group.atoms.flatten(), after.flatten(0, 1))
        return seeds.with_free_positions(positions)

    def project(
        self, seeds: Structures, delta: Float[Tensor, "n_structures n_variables"]
    ) -> Float[Tensor, "n_structures n_variables"]:
        """Delta within the bound."""
        return within(delta, self.owner(seeds), seeds.n_structures, radius=self.radius, norm=self.norm)

    def _of(self, seeds: Structures) -> tuple[_Group, ...]:
        # Found once for each batch, because sizes are on the device and only the host can sort by them.
        groups: tuple[_Group, ...] | None = self._groups.get(seeds.structure_index)
        if groups is None:
            groups = self._groups[seeds.structure_index] = tuple(_grouped(seeds))
        return groups


def _grouped(seeds: Structures) -> list[_Group]:
    counts, first = seeds.counts, seeds.first_atoms
    groups = []
    for size in sorted(set(counts.tolist())):
        of_size = torch.nonzero(counts == size).flatten()
        groups.append(_Group(of_size, first[of_size].unsqueeze(1) + torch.arange(size, device=counts.device)))
    return groups
