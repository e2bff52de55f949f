"""What an attack moves: how a displacement delta turns seeds into structures."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.structures import Structures
from sparring.uncertainty import sum_over_atoms

__all__ = ["Cartesian", "RandomDisplacement", "Space"]


@runtime_checkable
class Space(Protocol):
    """A way to displace structures.

    ``delta`` has a leading axis of rows, each of which belongs to one seed; rows of different seeds never mix, so that
    seeds can be attacked together or apart with the same result.
    """

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """To which seed each row of delta belongs, in non-decreasing order."""

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_rows ..."]:
        """Where an attack starts: delta drawn from N(0, σ²)."""

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Structures:
        """The displaced structures, differentiable in delta."""

    def project(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Float[Tensor, "n_rows ..."]:
        """The nearest delta that is allowed."""


@dataclass(frozen=True, kw_only=True)
class Cartesian:
    r"""Every atom moves by itself: :math:`X_\delta = (Z, R + \delta)`.

    Attributes:
        spread: Standard deviation :math:`\sigma_\delta` of each coordinate of the initial delta, in Å.
        axes: Along which axes atoms may move, for instance ``"x"`` for the particle of a one-dimensional well.
        radius: Bound on the norm of a structure's delta, in Å; None for none.
        norm: The p of that norm, at least 1; ``inf`` bounds the largest coordinate.

    Raises:
        ValueError: If an axis is not one of x, y, z, or a size is negative, or the norm is below 1.
    """

    spread: float = 0.01
    axes: str = "xyz"
    radius: float | None = None
    norm: float = 2.0

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not self.axes or set(self.axes) - set("xyz"):
            raise ValueError(f"axes must be some of 'xyz', got {self.axes!r}")
        if self.spread < 0:
            raise ValueError(f"the initial spread must not be negative, got {self.spread} Å")
        if self.radius is not None and self.radius <= 0:
            raise ValueError(f"the radius of the bound must be positive, got {self.radius} Å")
        if not self.norm >= 1:
            raise ValueError(f"the norm of the bound must be a p of at least 1, got {self.norm}")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_atoms"]:
        """A row is an atom."""
        return seeds.structure_index

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_atoms 3"]:
        """Delta drawn from N(0, spread²) along the axes that are free."""
        noise = torch.randn(seeds.n_atoms, 3, generator=generator, dtype=torch.float64, device=generator.device)
        return self.project(seeds, (self.spread * noise).to(seeds.positions) * _free(self.axes, seeds.positions))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The seeds with delta added to their positions."""
        return seeds.with_positions(seeds.positions + delta * _free(self.axes, delta))

    def project(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_atoms 3"]:
        """Delta within the bound: the nearest for p = 2 and p = inf, scaled down to it for any other p."""
        if self.radius is None:
            return delta
        if self.norm == float("inf"):
            return delta.clamp(-self.radius, self.radius)
        # In units of the radius, so that powers neither overflow nor vanish.
        powers = (delta / self.radius).abs().pow(self.norm).sum(-1)
        norms = sum_over_atoms(powers, seeds.structure_index, seeds.n_structures).pow(1 / self.norm)
        return delta / norms.clamp(min=1.0).index_select(0, seeds.structure_index).unsqueeze(-1)


@dataclass(frozen=True, kw_only=True)
class RandomDisplacement:
    r"""Every coordinate of every atom is displaced at random, :math:`\delta \sim U(-\sigma_\delta, \sigma_\delta)`.

    The baseline of the paper (Sec. III.A and V.B): an attack in this space with no steps.

    Attributes:
        amplitude: Largest displacement :math:`\sigma_\delta` of a coordinate, in Å.
        axes: Along which axes atoms may move.

    Raises:
        ValueError: If the amplitude is not positive, or an axis is not one of x, y, z.
    """

    amplitude: float
    axes: str = "xyz"

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.amplitude <= 0:
            raise ValueError(f"the amplitude must be positive, got {self.amplitude} Å")
        Cartesian(axes=self.axes)  # raises where the axes make no sense

    @property
    def _cartesian(self) -> Cartesian:
        return Cartesian(axes=self.axes, radius=self.amplitude, norm=float("inf"))

    def owner(self, seeds: Structures) -> Int[Tensor, " n_atoms"]:
        """A row is an atom."""
        return self._cartesian.owner(seeds)

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_atoms 3"]:
        """Delta drawn from U(-amplitude, amplitude) along the axes that are free."""
        draw = torch.rand(seeds.n_atoms, 3, generator=generator, dtype=torch.float64, device=generator.device)
        return (self.amplitude * (2 * draw - 1)).to(seeds.positions) * _free(self.axes, seeds.positions)

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The seeds with delta added to their positions."""
        return self._cartesian.displace(seeds, delta)

    def project(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_atoms 3"]:
        """Delta clipped to the amplitude."""
        return self._cartesian.project(seeds, delta)


def _free(axes: str, like: Tensor) -> Float[Tensor, " 3"]:
    # Built on the device from a comparison, so that nothing is copied from the host in the loop of an attack.
    axis = torch.arange(3, device=like.device)
    free = torch.zeros_like(axis, dtype=torch.bool)
    for name in axes:
        free = free | (axis == "xyz".index(name))
    return free.to(like.dtype)
