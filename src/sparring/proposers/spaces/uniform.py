"""Uniform random displacements in any space: the baseline."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import Space
from sparring.proposers.spaces.cartesian import Cartesian

__all__ = ["RandomDisplacement", "Uniform"]


@dataclass(frozen=True, kw_only=True)
class Uniform:
    r"""Another space whose delta is drawn at random, :math:`\delta \sim U(-a, a)` in every coordinate.

    An attack in this space with no steps is the random baseline: with torsions and an amplitude of π, all their angles
    are equally likely.

    Attributes:
        space: Space of the displacements.
        amplitude: Largest coordinate of delta, in its units.

    Raises:
        ValueError: If the amplitude is not positive.
    """

    space: Space
    amplitude: float

    def __post_init__(self) -> None:
        """Check the amplitude."""
        if not self.amplitude > 0:
            raise ValueError(f"the amplitude must be positive, got {self.amplitude}")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_rows"]:
        """As in the space itself."""
        return self.space.owner(seeds)

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_rows ..."]:
        """Delta drawn from U(-amplitude, amplitude), within the bound of the space if that has one."""
        like = self.space.initial(seeds, torch.Generator(generator.device))
        draw = torch.rand(like.shape, generator=generator, dtype=torch.float64, device=generator.device)
        return self.project(seeds, (self.amplitude * (2 * draw - 1)).to(like))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Structures:
        """As in the space itself."""
        return self.space.displace(seeds, delta)

    def project(self, seeds: Structures, delta: Float[Tensor, "n_rows ..."]) -> Float[Tensor, "n_rows ..."]:
        """Delta within the bound of the space, clipped to the amplitude."""
        return self.space.project(seeds, delta).clamp(-self.amplitude, self.amplitude)


@dataclass(frozen=True, kw_only=True)
class RandomDisplacement:
    r"""Every coordinate of every atom is displaced at random, :math:`\delta \sim U(-\sigma_\delta, \sigma_\delta)`.

    The baseline of the paper (Sec. III.A and V.B): an attack in this space with no steps.

    Attributes:
        amplitude: Largest displacement :math:`\sigma_\delta` of a coordinate, in Å.
        axes: Along which axes atoms may move.
        atoms: Atoms of each seed that may move, counted from 0; None for all.

    Raises:
        ValueError: If the amplitude is not positive, an axis is not one of x, y, z, or an atom is negative.
    """

    amplitude: float
    axes: str = "xyz"
    atoms: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Check the arguments."""
        if self.amplitude <= 0:
            raise ValueError(f"the amplitude must be positive, got {self.amplitude} Å")
        Cartesian(axes=self.axes, atoms=self.atoms)  # raises where they make no sense

    @property
    def _cartesian(self) -> Cartesian:
        return Cartesian(axes=self.axes, atoms=self.atoms)

    @property
    def _uniform(self) -> Uniform:
        return Uniform(space=self._cartesian, amplitude=self.amplitude)

    def owner(self, seeds: Structures) -> Int[Tensor, " n_atoms"]:
        """A row is an atom."""
        return seeds.structure_index

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_atoms 3"]:
        """Delta drawn from U(-amplitude, amplitude) for the atoms and along the axes that are free."""
        return self._uniform.initial(seeds, generator) * self._cartesian.free(seeds)

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The seeds with delta added to their positions."""
        return self._cartesian.displace(seeds, delta)

    def project(self, seeds: Structures, delta: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_atoms 3"]:
        """Delta clipped to the amplitude."""
        return self._uniform.project(seeds, delta)
