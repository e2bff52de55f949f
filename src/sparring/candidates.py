"""Structures that might be labelled, with the committee's predictions for them: between a proposer and a selection."""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.inheritance import inherit
from sparring.atoms.structures import Structures

__all__ = ["Candidates", "Paths", "Status"]


class Status(IntEnum):
    """Outcome of the search for a candidate."""

    FINISHED = 0
    NOT_FINITE = 1
    OVERLAP = 2


class Paths(NamedTuple):
    """The paths from seeds to candidates, point by point.

    Attributes:
        best_step: Point of each path that is the candidate.
        objective: Objective along the paths.
        energy: Mean energy of the committee along the paths, in eV.
        energy_variance: Variance of the energy along the paths, in eV².
        force_variance: Variance of the forces along the paths, in (eV/Å)².
        positions: Geometries along the paths, in Å.
        cells: Lattice vectors along the paths, in Å; None where they are those of the seeds.
    """

    best_step: Int[Tensor, " n_candidates"]
    objective: Float[Tensor, "n_points n_candidates"]
    energy: Float[Tensor, "n_points n_candidates"]
    energy_variance: Float[Tensor, "n_points n_candidates"]
    force_variance: Float[Tensor, "n_points n_candidates"]
    positions: Float[Tensor, "n_points n_atoms 3"]
    cells: Float[Tensor, "n_points n_candidates 3 3"] | None = None


class Candidates(NamedTuple):
    """Structures that might be labelled, and the committee's predictions for them.

    Attributes:
        structures: Geometries; that of its seed where the search for a candidate failed.
        score: Objective; where a choice must be made the higher one stays. NaN where the search failed.
        energy: Mean energy in eV.
        energy_variance: Eq. 5, in eV².
        force_variance: Eq. 7, in (eV/Å)².
        charge: Total charges in e, that of the structure each comes from; None where all are neutral or none is known.
        origin: Index of the seed of each; None where there is one candidate for each seed, in their order.
        status: Outcome of the search for each, a :class:`Status`; None if all finished.
        paths: Paths from the seeds, of a proposer that has some.
        source: Part of a portfolio that each comes from; None where there are no parts.
        unconditional: True for candidates that are worth a label however certain the committee is; None if there are
            none.
    """

    structures: Structures
    score: Float[np.ndarray, " n_candidates"]
    energy: Float[np.ndarray, " n_candidates"]
    energy_variance: Float[np.ndarray, " n_candidates"]
    force_variance: Float[np.ndarray, " n_candidates"]
    charge: Int[np.ndarray, " n_candidates"] | None = None
    origin: Int[np.ndarray, " n_candidates"] | None = None
    status: Int[np.ndarray, " n_candidates"] | None = None
    paths: Paths | None = None
    source: tuple[str, ...] | None = None
    unconditional: Bool[np.ndarray, " n_candidates"] | None = None

    def take(self, indices: Int[np.ndarray, " n_taken"]) -> "Candidates":
        """Some of the candidates, in the order named, without paths."""
        names = ("charge", "origin", "status", "unconditional")
        known = {name: getattr(self, name) for name in names}
        return Candidates(
            structures=self.structures.take(torch.as_tensor(indices, dtype=torch.long)),
            score=self.score[indices],
            energy=self.energy[indices],
            energy_variance=self.energy_variance[indices],
            force_variance=self.force_variance[indices],
            source=None if self.source is None else tuple(self.source[index] for index in indices),
            **{name: None if values is None else values[indices] for name, values in known.items()},
        )

    def origins(self, n_seeds: int) -> tuple[int, ...]:
        """Index of the seed of every candidate.

        Raises:
            ValueError: If the candidates cannot come from so many seeds.
        """
        n = self.structures.n_structures
        if self.origin is None:
            if n != n_seeds:
                raise ValueError(f"{n} candidates of {n_seeds} seeds need `origin`, the index of the seed of each")
            return tuple(range(n))
        if len(self.origin) != n or (n and not (self.origin.min() >= 0 and self.origin.max() < n_seeds)):
            raise ValueError(f"`origin` needs {n} indices below {n_seeds}, got {self.origin.tolist()!s:.80}")
        return tuple(int(index) for index in self.origin)

    def numbers(self, index: int) -> dict[str, float | int]:
        """Score and predictions of a candidate, and the step of its path where it was best, by their names in files."""
        return {
            "best_step": 0 if self.paths is None else int(self.paths.best_step[index]),
            "objective": float(self.score[index]),
            "committee_energy": float(self.energy[index]),
            "energy_variance": float(self.energy_variance[index]),
            "force_variance": float(self.force_variance[index]),
        }

    def heirs(self, seeds: Sequence[Atoms], extra: Sequence[str] = ()) -> list[Atoms]:
        """The candidates with what they inherit from their seeds (:mod:`sparring.atoms.inheritance`).

        Args:
            seeds: Seeds of the proposer.
            extra: Further names in info or arrays to inherit.
        """
        pairs = zip(self.structures.to_atoms(), self.origins(len(seeds)), strict=True)
        return [inherit(atoms, seeds[origin], extra) for atoms, origin in pairs]

    def comparable_score(self) -> Float[np.ndarray, " n_candidates"]:
        """The scores, where parts of a portfolio have scores of different kinds: the rank of each in its part, up to 1.

        Without parts, the scores as they are.
        """
        if self.source is None:
            return self.score
        ranks, parts = np.empty_like(self.score), np.array(self.source)
        for part in dict.fromkeys(self.source):
            of_part = self.score[parts == part]
            ranks[parts == part] = np.searchsorted(np.sort(of_part), of_part, side="right") / len(of_part)
        return ranks

    def count(self, status: Status) -> int:
        """Number of searches that ended that way."""
        if self.status is None:
            return self.structures.n_structures if status == Status.FINISHED else 0
        return int((self.status == status).sum())

    def energy_fell(self) -> Bool[np.ndarray, " n_candidates"]:
        """True where the committee's energy is below that at the start of the path; False without paths."""
        if self.paths is None:
            return np.zeros(self.structures.n_structures, dtype=bool)
        return np.asarray(self.energy < self.paths.energy[0].cpu().numpy())
