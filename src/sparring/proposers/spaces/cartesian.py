"""Atoms that move by themselves."""

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import check_sizes, normal, within

__all__ = ["Cartesian"]


@dataclass(frozen=True, kw_only=True)
class Cartesian:
    r"""Every atom moves by itself: :math:`X_\delta = (Z, R + \delta)`. Fixed atoms stay.

    Attributes:
        spread: Standard deviation :math:`\sigma_\delta` of each coordinate of the initial delta, in Å.
        axes: Along which axes atoms may move, for instance ``"x"`` for the particle of a one-dimensional well.
        atoms: Atoms of each seed that may move, counted from 0; None for all.
        radius: Bound on the norm of a structure's delta, in Å; None for none.
        norm: Value of p in that norm, at least 1; ``inf`` bounds the largest coordinate.

    Raises:
        ValueError: If an axis is not one of x, y, z, there is no atom or a negative one, a size is negative, or the
            norm is below 1.
    """

    spread: float = 0.01
    axes: str = "xyz"
    atoms: tuple[int, ...] | None = None
    radius: float | None = None
    norm: float = 2.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.axes or set(self.axes) - set("xyz"):
            raise ValueError(f"axes must be some of 'xyz', got {self.axes!r}")
        if self.atoms is not None and not (self.atoms and min(self.atoms) >= 0):
            raise ValueError(f"atoms must be some indices of at least 0, or None for all, got {self.atoms}")
        check_sizes(spread=self.spread, radius=self.radius, norm=self.norm, unit="Å")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_atoms"]:
        """A row is an atom."""
        return seeds.structure_index

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_atoms 3"]:
        """Delta drawn from N(0, spread²) for the atoms and along the axes that are free.

        Raises:
            ValueError: If a seed does not have one of the atoms.
        """
        self._check(seeds)
        drawn = normal((seeds.n_atoms, 3), self.spread, generator, seeds.positions)
        return self.project(seeds, drawn * self.free(seeds))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The seeds with delta added to their positions."""
        return seeds.with_free_positions(seeds.positions + delta * self.free(seeds))

    def project(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_atoms 3"]:
        """Delta within the bound, which counts coordinates that are not fixed."""
        delta = seeds.on_free(delta)
        return within(delta, seeds.structure_index, seeds.n_structures, radius=self.radius, norm=self.norm)

    def free(self, seeds: Structures) -> Float[Tensor, "#n_atoms 3"]:
        """1 for coordinates that may move, else 0."""
        free = self._named(seeds)
        return free if seeds.fixed is None else torch.where(seeds.fixed, 0.0, free)

    def _named(self, seeds: Structures) -> Float[Tensor, "#n_atoms 3"]:
        """1 along the axes and for the atoms that are named."""
        axes = _axes(self.axes, seeds.positions)
        if self.atoms is None:
            return axes.unsqueeze(0)
        index = seeds.structure_index
        within_seed = torch.arange(seeds.n_atoms, device=index.device) - seeds.first_atoms[index]
        moving = torch.isin(within_seed, _indices(self.atoms, index.device))
        return moving.to(axes).unsqueeze(1) * axes

    def _check(self, seeds: Structures) -> None:
        for index, count in enumerate(seeds.counts.tolist() if self.atoms is not None else ()):
            if self.atoms is not None and max(self.atoms) >= count:
                raise ValueError(f"atom {max(self.atoms)} is to be moved, but seed {index} has atoms 0 to {count - 1}")


def _axes(axes: str, like: Tensor) -> Float[Tensor, " 3"]:
    # Built on the device from a comparison, so that nothing is copied from the host in the loop of an attack.
    axis = torch.arange(3, device=like.device)
    free = torch.zeros_like(axis, dtype=torch.bool)
    for name in axes:
        free = free | (axis == "xyz".index(name))
    return free.to(like.dtype)


# Kept on the device, for the same reason.
@functools.lru_cache(maxsize=64)
def _indices(atoms: tuple[int, ...], device: torch.device) -> Int[Tensor, " n_moving"]:
    return torch.tensor(atoms, device=device)
