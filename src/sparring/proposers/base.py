"""The seam of proposers: from a committee and seeds to structures that might be labelled.

A proposer is any function ``(committee, seeds, seed) -> Candidates``. Three are built in: attacks
(:mod:`sparring.proposers.ascent`), random displacements (:mod:`sparring.proposers.random`) and snapshots of dynamics
(:mod:`sparring.proposers.dynamics`). Other packages register theirs (:mod:`sparring.proposers.registry`).
"""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int

from sparring import uncertainty
from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Status
from sparring.committee import Committee

__all__ = ["Proposer", "predicted", "propose"]


@runtime_checkable
class Proposer(Protocol):
    """Finds structures that might be labelled.

    A proposer may have two more attributes, for the estimate of costs and the choice of seeds:

    * ``n_per_seed``: largest number of candidates from a seed; 1 if it is missing;
    * ``attackable(atoms) -> bool``: whether a structure can be a seed; all but isolated atoms if it is missing.
    """

    def __call__(self, committee: Committee, seeds: Structures, seed: int) -> Candidates:
        """Propose candidates.

        Args:
            committee: Committee whose uncertainty counts.
            seeds: Geometries to start from.
            seed: Seed of the random numbers; the same one gives the same candidates.

        Returns:
            Candidates, with ``origin`` unless there is one for each seed. Where the search for one failed, its score is
            NaN and its geometry that of its seed.
        """


def propose(proposer: Proposer, committee: Committee, seeds: Structures, seed: int) -> Candidates:
    """The candidates of a proposer, checked before they are written anywhere.

    Raises:
        ValueError: If these are no candidates, do not come from the seeds, or have positions that are not finite.
    """
    candidates = proposer(committee, seeds, seed)
    if not isinstance(candidates, Candidates):
        raise ValueError(f"a proposer returns Candidates, got {type(candidates).__name__}")
    n = candidates.structures.n_structures
    candidates.origins(seeds.n_structures)
    for name in ("score", "energy", "energy_variance", "force_variance", "status"):
        values = getattr(candidates, name)
        if values is not None and values.shape != (n,):
            raise ValueError(f"{name} of {n} candidates has the shape {values.shape}; wanted one value for each")
    if not bool(torch.isfinite(candidates.structures.positions).all()):
        raise ValueError("positions of candidates must be finite; keep those of the seed and give the score NaN")
    return candidates


def predicted(
    committee: Committee,
    structures: Structures,
    *,
    origin: Int[np.ndarray, " n_structures"] | None = None,
    max_memory: float | None = 4e9,
) -> Candidates:
    """Candidates from geometries, with the committee's predictions and the variance of forces as score.

    Args:
        committee: Committee that predicts.
        structures: Geometries.
        origin: Index of the seed of each; None where there is one for each seed, in their order.
        max_memory: Bytes to take at a time; None for no limit.

    Raises:
        ValueError: If the committee does not know an element.
    """
    committee.require_known(structures)
    committee = committee.without_domain()
    structures = replace(structures.to(device=committee.device), edges=None)
    n = structures.n_structures

    def observed(some: Structures) -> list[torch.Tensor]:
        energy, forces, _ = committee.predict(committee.prepare(some), differentiable=False)
        force_variance = uncertainty.force_variance(forces, some.structure_index, some.n_structures)
        return [energy.mean(0).double(), uncertainty.energy_variance(energy).double(), force_variance.double()]

    size = how_many_fit(structures, lambda some: held_bytes(lambda: observed(some)[2]), max_memory)
    chunks = [observed(structures.take(range(k, min(k + size, n)))) for k in range(0, n, size)]
    energy, energy_variance, force_variance = (torch.cat(one).cpu().numpy() for one in zip(*chunks, strict=True))
    finite = np.isfinite(energy) & np.isfinite(force_variance)
    return Candidates(
        structures=structures,
        score=np.where(finite, force_variance, np.nan),
        energy=energy,
        energy_variance=energy_variance,
        force_variance=force_variance,
        origin=origin,
        status=np.where(finite, int(Status.FINISHED), int(Status.NOT_FINITE)),
    )
