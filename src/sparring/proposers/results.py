"""The result of attacks: the best geometry of every path, the paths, and how each ended."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Paths, Status

__all__ = ["AttackResult", "Observation", "Status", "joined"]


class Observation(NamedTuple):
    """Values observed at one step of every path."""

    objective: Float[Tensor, " n_seeds"]
    energy: Float[Tensor, " n_seeds"]
    energy_variance: Float[Tensor, " n_seeds"]
    force_variance: Float[Tensor, " n_seeds"]


@dataclass(frozen=True, kw_only=True)
class AttackResult:
    """The result of attacks: the best geometry of every path, and the paths.

    Along a path, values behind the point where a seed was stopped are NaN, and its positions stay where they were.

    Attributes:
        structures: Geometry of every seed where its objective was highest; its start if that never was finite.
        best_step: Step of that geometry.
        status: Status of each seed, a :class:`Status`.
        objective: Objective along the paths.
        energy: Mean energy of the committee along the paths, in eV.
        energy_variance: Variance of the energy along the paths, in eV².
        force_variance: Variance of the forces along the paths, in (eV/Å)².
        positions: Geometries along the paths, in Å.
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
        """Values observed at the best step of every seed; NaN for a seed that never was finite."""
        step = self.best_step.unsqueeze(0)
        along = (self.objective, self.energy, self.energy_variance, self.force_variance)
        return Observation(*(values.gather(0, step).squeeze(0) for values in along))

    def heirs(self, seeds: Sequence[Atoms], extra: Sequence[str] = ()) -> list[Atoms]:
        """The best geometry of every path with what it inherits from its seed (:mod:`sparring.atoms.inheritance`)."""
        return self.candidates().heirs(seeds, extra)

    def candidates(self) -> Candidates:
        """The best geometries with the values observed there, to select from; paths of one point are left out."""
        best = {name: values.cpu().numpy() for name, values in self.best()._asdict().items()}
        paths = Paths(
            best_step=self.best_step,
            positions=self.positions,
            cells=self.cells,
            **{name: getattr(self, name) for name in Observation._fields},
        )
        return Candidates(
            self.structures,
            score=best.pop("objective"),
            **best,
            status=self.status.cpu().numpy(),
            paths=paths if len(self.objective) > 1 else None,
        )

    def count(self, status: Status) -> int:
        """Number of attacks that ended that way."""
        return int((self.status == status).sum())

    def energy_fell(self) -> Bool[Tensor, " n_seeds"]:
        """True where the committee's energy at the best step is below that at the first."""
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
