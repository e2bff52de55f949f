"""Where attacks led: the best geometry of every path, the paths, and how each ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, TypeVar

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures
from sparring.selection import Candidates

__all__ = ["AttackResult", "Observation", "Status", "joined"]

T = TypeVar("T")


class Status(IntEnum):
    """How the attack on a seed ended."""

    FINISHED = 0
    NOT_FINITE = 1
    OVERLAP = 2


class Observation(NamedTuple):
    """What is seen of every seed at one step of its path."""

    objective: Float[Tensor, " n_seeds"]
    energy: Float[Tensor, " n_seeds"]
    energy_variance: Float[Tensor, " n_seeds"]
    force_variance: Float[Tensor, " n_seeds"]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """Where attacks led: the best geometry of every path, and the paths.

    Along a path, values behind the point where a seed was stopped are NaN, and its positions stay where they were.

    Attributes:
        structures: The geometry of every seed where its objective was highest; its start if that never was finite.
        best_step: At which step that was.
        status: How each attack ended, a :class:`Status`.
        objective: The objective along the paths.
        energy: The committee's mean energy along the paths, in eV.
        energy_variance: Variance of the energy along the paths, in eV².
        force_variance: Variance of the forces along the paths, in (eV/Å)².
        positions: The geometries along the paths, in Å.
        cells: Lattice vectors along the paths, in Å, where the space changes them; None where they are the seeds'.
    """

    structures: Structures
    best_step: Int[Tensor, " n_seeds"]
    status: Int[Tensor, " n_seeds"]
    objective: Float[Tensor, "n_points n_seeds"]
    energy: Float[Tensor, "n_points n_seeds"]
    energy_variance: Float[Tensor, "n_points n_seeds"]
    force_variance: Float[Tensor, "n_points n_seeds"]
    positions: Float[Tensor, "n_points n_atoms 3"]
    cells: Float[Tensor, "n_points n_seeds 3 3"] | None = None

    def best(self) -> Observation:
        """What was seen at the best step of every seed; NaN for a seed that never was finite."""
        step = self.best_step.unsqueeze(0)
        along = (self.objective, self.energy, self.energy_variance, self.force_variance)
        return Observation(*(values.gather(0, step).squeeze(0) for values in along))

    def origins(self, seeds: Sequence[T]) -> tuple[T, ...]:
        """The seed of every path. Whoever returns to the seeds several times gives paths in rounds of all seeds.

        Raises:
            ValueError: If these cannot be the seeds.
        """
        rounds, rest = divmod(self.structures.n_structures, len(seeds))
        if rest:
            raise ValueError(f"{self.structures.n_structures} paths cannot come from {len(seeds)} seeds each")
        return tuple(seeds) * rounds

    def heirs(self, seeds: Sequence[Atoms], extra: Sequence[str] = ()) -> list[Atoms]:
        """The best geometry of every path with what it inherits from its seed (:mod:`sparring.atoms.inheritance`)."""
        pairs = zip(self.structures.to_atoms(), self.origins(seeds), strict=True)
        return [inherit(atoms, seed, extra) for atoms, seed in pairs]

    def candidates(self) -> Candidates:
        """The best geometries and what was seen of them, to select from."""
        objective, *seen = (values.cpu().numpy() for values in self.best())
        return Candidates(self.structures, objective, *seen)

    def count(self, status: Status) -> int:
        """How many attacks ended that way."""
        return int((self.status == status).sum())

    def energy_fell(self) -> Bool[Tensor, " n_seeds"]:
        """Whether the committee's energy at the best step is below that at the first; False for what never climbed."""
        return self.best().energy < self.energy[0]


def joined(seeds: Structures, results: Sequence[AttackResult]) -> AttackResult:
    """The result of all seeds from those of consecutive chunks of them."""
    paths = (*Observation._fields, "positions")
    positions, cells = (torch.cat([getattr(r.structures, name) for r in results]) for name in ("positions", "cells"))
    strained = any(r.cells is not None for r in results)
    # In a chunk of seeds whose cells the space left alone, they are the same along the path.
    along = [r.structures.cells.expand(len(r.positions), -1, -1, -1) if r.cells is None else r.cells for r in results]
    return AttackResult(
        structures=replace(seeds, positions=positions, cells=cells if strained else seeds.cells, edges=None),
        cells=torch.cat(along, dim=1) if strained else None,
        best_step=torch.cat([r.best_step for r in results]),
        status=torch.cat([r.status for r in results]),
        **{name: torch.cat([getattr(r, name) for r in results], dim=1) for name in paths},
    )
