"""Atoms that move together along given directions."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.proposers.spaces.base import check_sizes, normal, within

__all__ = ["Directions"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Directions:
    r"""Collective displacements, for instance along normal modes: :math:`X_\delta = (Z, R + \sum_d \delta_d D_d)`.

    Delta has a row for each seed and a column for each direction. Directions are those of the frame in which the seeds
    stand, and all seeds have the same atoms.

    Attributes:
        directions: Displacement of each atom for a delta of one, in Å, such as a normal mode.
        spread: Standard deviation of the initial delta of each direction.
        radius: Bound on the norm of a seed's delta; None for none.
        norm: Value of p in that norm, at least 1.

    Raises:
        ValueError: If directions have another shape, are not finite or do not move anything, or a size makes no sense.
    """

    directions: Float[np.ndarray, "n_directions n_atoms 3"]
    spread: float = 0.01
    radius: float | None = None
    norm: float = 2.0
    _kept: dict[tuple[torch.device, torch.dtype], Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the arguments."""
        shape = np.shape(self.directions)
        if len(shape) != 3 or shape[2] != 3 or 0 in shape:
            raise ValueError(f"directions must have the shape (n_directions, n_atoms, 3), got {shape}")
        sizes = np.abs(self.directions).max(axis=(1, 2))
        if not (np.isfinite(sizes).all() and (sizes > 0).all()):
            raise ValueError("every direction must be finite and move an atom")
        check_sizes(spread=self.spread, radius=self.radius, norm=self.norm, unit="")

    def owner(self, seeds: Structures) -> Int[Tensor, " n_structures"]:
        """A row is a seed."""
        return torch.arange(seeds.n_structures, device=seeds.structure_index.device)

    def initial(self, seeds: Structures, generator: torch.Generator) -> Float[Tensor, "n_structures n_directions"]:
        """Delta drawn from N(0, spread²).

        Raises:
            ValueError: If a seed has another number of atoms than the directions.
        """
        n_atoms = self.directions.shape[1]
        for index, count in enumerate(seeds.counts.tolist()):
            if count != n_atoms:
                raise ValueError(f"the directions move {n_atoms} atoms, seed {index} has {count}")
        shape = (seeds.n_structures, len(self.directions))
        return self.project(seeds, normal(shape, self.spread, generator, seeds.positions))

    def displace(self, seeds: Structures, delta: Float[Tensor, "n_structures n_directions"]) -> Structures:
        """The seeds, moved along the directions; fixed atoms stay."""
        shift = (delta @ self._on(seeds.positions)).reshape(-1, 3)
        return seeds.with_free_positions(seeds.positions + shift)

    def project(
        self, seeds: Structures, delta: Float[Tensor, "n_structures n_directions"]
    ) -> Float[Tensor, "n_structures n_directions"]:
        """Delta within the bound."""
        return within(delta, self.owner(seeds), seeds.n_structures, radius=self.radius, norm=self.norm)

    def _on(self, like: Tensor) -> Float[Tensor, "n_directions n_coordinates"]:
        """Kept on the device: to copy the directions there in every step would make the host wait."""
        key = (like.device, like.dtype)
        if key not in self._kept:
            self._kept[key] = torch.as_tensor(self.directions).to(like).flatten(1)
        return self._kept[key]
