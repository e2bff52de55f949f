"""Several proposers in one generation, each with a share of the labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparring.atoms import structures as batches
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Paths, Status
from sparring.committee import Committee
from sparring.proposers.base import Proposer, propose
from sparring.support.seeds import derive

__all__ = ["Portfolio"]

OBSERVED = ("objective", "energy", "energy_variance", "force_variance")


@dataclass(frozen=True, kw_only=True)
class Portfolio:
    """Proposers by name, which together are a proposer: the candidates of all, one part after the other.

    ``source`` of the candidates has the name of the part of each. Its random numbers depend on the name, and not on the
    other parts. In a selection, :class:`sparring.Budget` with the ``shares`` of the portfolio divides the labels.

    Attributes:
        proposers: Proposers by name.
        shares: Share of the labels of each; they need not add up to 1.
        seeds: Indices of the seeds that each gets; None for all seeds.

    Raises:
        ValueError: If there are no proposers, the names differ, or a share is not positive.
    """

    proposers: Mapping[str, Proposer]
    shares: Mapping[str, float]
    seeds: Mapping[str, range] | None = None

    def __post_init__(self) -> None:
        """Check names and shares."""
        if not self.proposers:
            raise ValueError("a portfolio needs at least one proposer")
        for named in (self.shares, *([] if self.seeds is None else [self.seeds])):
            if set(named) != set(self.proposers):
                raise ValueError(f"proposers are called {sorted(self.proposers)}; got values for {sorted(named)}")
        for name, share in self.shares.items():
            if not 0 < share < float("inf"):
                raise ValueError(f"the share of {name!r} must be positive, got {share}")

    def __call__(self, committee: Committee, seeds: Structures, seed: int) -> Candidates:
        """Propose candidates with all proposers."""
        found = []
        for name, proposer in self.proposers.items():
            own = range(seeds.n_structures) if self.seeds is None else self.seeds[name]
            candidates = propose(proposer, committee, seeds.take(own), derive(seed, name))
            origin = np.array([own[index] for index in candidates.origins(len(own))], dtype=np.int64)
            source = (name,) * candidates.structures.n_structures
            found.append(candidates._replace(origin=origin, source=source))
        return _joined(found)


def _joined(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of all parts; those without status finished, and those without paths have paths of one point."""
    names = ("score", "energy", "energy_variance", "force_variance", "origin")
    status = [_or_zeros(part.status, part, int(Status.FINISHED)) for part in parts]
    unconditional = [_or_zeros(part.unconditional, part, False) for part in parts]
    charge = [_or_zeros(part.charge, part, 0) for part in parts]
    return Candidates(
        structures=batches.joined([part.structures for part in parts]),
        charge=np.concatenate(charge) if any(part.charge is not None for part in parts) else None,
        status=np.concatenate(status),
        paths=_joined_paths(parts) if any(part.paths is not None for part in parts) else None,
        source=tuple(name for part in parts for name in part.source or ()),
        unconditional=np.concatenate(unconditional) if any(part.unconditional is not None for part in parts) else None,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
    )


def _or_zeros(values: np.ndarray | None, part: Candidates, zero: int | bool) -> np.ndarray:
    return np.full(part.structures.n_structures, zero) if values is None else values


def _joined_paths(parts: Sequence[Candidates]) -> Paths:
    """Paths of equal length: beyond the end of a path its values are NaN, and its positions stay where they were."""
    paths = [part.paths or _of_one_point(part) for part in parts]
    device = paths[0].positions.device
    n_points = max(len(path.objective) for path in paths)
    strained = any(path.cells is not None for path in paths)

    def longer(values: Tensor, beyond: Tensor) -> Tensor:
        rest = beyond.expand(n_points - len(values), *values.shape[1:])
        return torch.cat([values.double(), rest.double()]).to(device)

    cells = [
        longer(all_cells, all_cells[-1])
        for path, part in zip(paths, parts, strict=True)
        for all_cells in [part.structures.cells.unsqueeze(0) if path.cells is None else path.cells]
    ]
    none = torch.tensor(torch.nan)
    return Paths(
        best_step=torch.cat([path.best_step.to(device) for path in paths]),
        positions=torch.cat([longer(path.positions, path.positions[-1]) for path in paths], dim=1),
        cells=torch.cat(cells, dim=1) if strained else None,
        **{
            name: torch.cat(
                [longer(values, none.to(values)) for values in (getattr(path, name) for path in paths)], dim=1
            )
            for name in OBSERVED
        },
    )


def _of_one_point(part: Candidates) -> Paths:
    values = (part.score, part.energy, part.energy_variance, part.force_variance)
    observed = {name: torch.as_tensor(one).unsqueeze(0) for name, one in zip(OBSERVED, values, strict=True)}
    best_step = torch.zeros(part.structures.n_structures, dtype=torch.long)
    return Paths(best_step, **observed, positions=part.structures.positions.detach().unsqueeze(0))
