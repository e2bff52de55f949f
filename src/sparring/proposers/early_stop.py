"""Dynamics that ends at the first sign of trouble, and offers the frames that say the most about it.

A replica of every seed moves until it is unphysical (bonds, overlaps, energies below all labels), the members of the
committee disagree, or its time is over. It offers

* the last frame before the end, which still is physical, so that a labeller can take it;
* a frame on the way there: the one in the middle of the last stretch along which the uncertainty of the forces stays
  above its median over the trajectory. Where it never left the median, this is the last frame that was recorded;
* a frame after every quiet period: a committee can be wrong and certain of it, and only a label shows that.

All of them are :attr:`sparring.candidates.Candidates.unconditional`: a hole into which a replica fell counts, also
where all members agree on it. Their score puts unphysical ends before uncertain ones, and these before quiet frames;
within each, uncertain ones come first.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor

from sparring import dynamics
from sparring.atoms.bonds import find_bonds
from sparring.atoms.reference import ENERGY
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Status
from sparring.committee import Committee
from sparring.dynamics import (
    Bias,
    BondsKept,
    CloserThan,
    Criterion,
    DynamicsResult,
    EnergyBelow,
    Ensemble,
    UncertainForces,
    simulate,
)
from sparring.proposers.base import predicted
from sparring.proposers.dynamics import along, check_axes

__all__ = ["EarlyStop", "early_stopped", "largest_number_of_frames"]

logger = logging.getLogger(__name__)

QUIET, UNCERTAIN, UNPHYSICAL = range(3)
"""Ends of a stretch of a trajectory, in the order of their scores."""


@dataclass(frozen=True, kw_only=True)
class EarlyStop:
    """Conditions that end the trajectory of a replica.

    Attributes:
        force_sigma: Uncertainty of the forces in eV/Å above which a trajectory ends; None for no such end.
        bonds: Shortest and longest length of the bonds of a molecule, as multiples of those in its reference; None for
            no such end. Crystals have no such end.
        min_distance: Distance of two atoms in Å below which a trajectory ends; 0 for no such end.
        energy_below: Depth in eV below the lowest label of the same atoms, or below the lowest energy of the seeds
            where there is none; None for no such end.
        quiet: Time in fs after which a replica offers a frame in any case.
    """

    force_sigma: float | None = 0.5
    bonds: tuple[float, float] | None = (0.6, 1.6)
    min_distance: float = 0.5
    energy_below: float | None = 0.2
    quiet: float = 5000.0

    def criteria(self, reference: Atoms, lowest: float) -> tuple[Criterion, ...]:
        """The criteria for replicas of a structure, uncertainty last.

        Args:
            reference: Structure with the bonds that are kept.
            lowest: Lowest energy that is known, in eV.
        """
        found: list[Criterion] = []
        if self.min_distance:
            found.append(CloserThan(self.min_distance))
        if self.bonds is not None and not reference.pbc.any() and find_bonds(reference):
            found.append(BondsKept(reference, self.bonds))
        if self.energy_below is not None:
            found.append(EnergyBelow(lowest - self.energy_below))
        if self.force_sigma is not None:
            found.append(UncertainForces(self.force_sigma))
        return tuple(found)


class Frame(NamedTuple):
    """A frame that a replica offers.

    Attributes:
        seed: Index of its seed.
        kind: QUIET, UNCERTAIN or UNPHYSICAL.
        positions: Positions in Å; None for a replica that has none to offer.
        cell: Lattice vectors in Å.
        status: Status of the candidate.
    """

    seed: int
    kind: int
    positions: Float[Tensor, "n_atoms 3"] | None
    cell: Float[Tensor, "3 3"]
    status: Status = Status.FINISHED


def largest_number_of_frames(*, duration: float, quiet: float) -> int:
    """Largest number of frames that a replica offers.

    Raises:
        ValueError: If a replica to which nothing happens offers none.
    """
    if not 0 < quiet <= duration:
        raise ValueError(
            f"a replica to which nothing happens offers no frame: it is quiet for {quiet:g} fs of {duration:g} fs"
        )
    return 1 + int(np.ceil(duration / quiet))


def early_stopped(
    committee: Committee,
    seeds: Structures,
    *,
    ensemble: Ensemble,
    seed: int,
    stop: EarlyStop,
    duration: float = 5000.0,
    timestep: float = 0.5,
    every: int = 10,
    references: Sequence[Atoms] = (),
    bias: Bias | None = None,
    start: DynamicsResult | None = None,
    axes: str = "xyz",
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Move a replica of every seed until something happens, and offer the frames around it.

    A replica that ends at its first step has nothing to offer: its candidate has the geometry of its seed and a score
    of NaN.

    Args:
        committee: Committee whose mean forces act.
        seeds: Starting geometries.
        ensemble: Ensemble, with its temperature.
        seed: Seed of the velocities and the noise.
        stop: Conditions that end a trajectory.
        duration: Largest length of the trajectories in fs.
        timestep: Time step in fs.
        every: Number of steps between frames that are recorded.
        references: Intact structures, with the same atoms in the same order as seeds, for their bonds and, where they
            have labels, for the lowest energy; by default the first seed with these atoms.
        bias: Bias that is added to the mean energies; None for none.
        start: Result of dynamics of the seeds from which replicas go on, with their velocities; None to begin at the
            seeds.
        axes: Axes along which atoms move, for particles in a potential that does not depend on the others.
        max_memory: Bytes to take at a time; None for no limit.
        progress: Callback with the number of steps done and to do.

    Raises:
        ValueError: If an argument is out of range.
    """
    largest_number_of_frames(duration=duration, quiet=stop.quiet)
    check_axes(axes)
    seeds = replace(seeds.to(device=committee.device), edges=None)
    begin = seeds if start is None else start.structures
    n_steps, groups = round(duration / timestep), _alike(seeds)
    frames: list[Frame] = []
    for number, group in enumerate(groups):
        chosen = torch.tensor(group, device=committee.device)
        atoms = (seeds.structure_index.unsqueeze(-1) == chosen).any(-1)
        result = simulate(
            committee,
            begin.take(group),
            ensemble=ensemble,
            timestep=timestep,
            n_steps=n_steps,
            every=every,
            seed=seed,
            criteria=stop.criteria(*_reference(committee, seeds.take(group), references, max_memory)),
            bias=bias,
            velocities=None if start is None else start.velocities[atoms],
            fixed_centre=bool((seeds.counts > 1).all()),
            numbers=group,
            max_memory=max_memory,
            keep_frames=True,
            progress=_from(number * n_steps, n_steps, len(groups) * n_steps, progress),
        )
        quiet = max(1, int(stop.quiet / timestep / every + 1e-9))
        frames += _offered(begin.take(group), result, group, stop, quiet)
    return _candidates(committee, seeds, sorted(frames, key=lambda frame: frame.seed), axes, max_memory)


def _from(
    done: int, n_steps: int, n_all: int, progress: Callable[[int, int], None] | None
) -> Callable[[int, int], None] | None:
    """The progress of one of several simulations as part of that of all."""
    return None if progress is None else lambda k, n: progress(done + k * n_steps // n, n_all)


def _alike(seeds: Structures) -> list[list[int]]:
    """Indices of the seeds that have the same atoms in the same order."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, numbers in enumerate(seeds.atomic_numbers.cpu().split(seeds.counts.tolist())):
        groups.setdefault(tuple(numbers.tolist()), []).append(index)
    return list(groups.values())


def _reference(
    committee: Committee, seeds: Structures, references: Sequence[Atoms], max_memory: float | None
) -> tuple[Atoms, float]:
    """The structure with the bonds of seeds of the same atoms, and the lowest energy that is known."""
    first = seeds.take([0]).to_atoms()[0]
    known = [one for one in references if np.array_equal(one.numbers, first.numbers)]
    labels = [float(one.info[ENERGY]) for one in known if ENERGY in one.info]
    lowest = min(labels) if labels else float(np.nanmin(predicted(committee, seeds, max_memory=max_memory).energy))
    return (known or [first])[0], lowest


def _offered(
    begin: Structures, result: DynamicsResult, group: Sequence[int], stop: EarlyStop, quiet: int
) -> Iterator[Frame]:
    """The frames that the replicas of a simulation offer; `quiet` is a number of recorded frames."""
    assert result.positions is not None
    assert result.cells is not None
    status, sigma = result.status.cpu(), result.force_variance.cpu().numpy()
    uncertain = None if stop.force_sigma is None else len(result.reasons) - 1
    counts = begin.counts.tolist()
    lasts, paths = result.structures.positions.split(counts), result.positions.split(counts, dim=1)
    for place, (index, start) in enumerate(zip(group, begin.positions.double().split(counts), strict=True)):
        path, last, cells = paths[place], lasts[place], result.cells[:, place]
        last_cell = result.structures.cells[place]
        recorded = sigma[:, place][np.isfinite(sigma[:, place])]
        offers = [Frame(index, QUIET, path[row], cells[row]) for row in range(quiet, len(recorded), quiet)]
        if (ending := int(status[place])) != dynamics.Status.FINISHED:
            kind = UNCERTAIN if ending == uncertain else UNPHYSICAL
            # At the start a replica is its seed, whose label is known.
            if not torch.equal(start, last):
                offers.append(Frame(index, kind, last, last_cell))
            if len(recorded) > 1 and (row := way_down(recorded)) and not torch.equal(path[row], last):
                offers.append(Frame(index, kind, path[row], cells[row]))
        overlap = ending >= dynamics.Status.CRITERION
        ended = Status.OVERLAP if overlap else Status.NOT_FINITE
        yield from offers or [Frame(index, QUIET, None, last_cell, ended)]


def way_down(force_variance: Float[np.ndarray, " n_frames"]) -> int:
    """The frame in the middle of the last stretch along which a variance stays above its median.

    Args:
        force_variance: Variance of the forces at the recorded frames, the last of which is before the end.
    """
    onset = int(np.flatnonzero(force_variance <= np.median(force_variance))[-1])
    return (onset + len(force_variance)) // 2


def _candidates(
    committee: Committee, seeds: Structures, frames: Sequence[Frame], axes: str, max_memory: float | None
) -> Candidates:
    origin: Int[np.ndarray, " n"] = np.array([frame.seed for frame in frames])
    structures = replace(seeds.take(origin.tolist()), cells=torch.stack([frame.cell for frame in frames]))
    begin = structures.positions.double()
    given = begin.split(structures.counts.tolist())
    offered = torch.cat(
        [one if frame.positions is None else frame.positions for one, frame in zip(given, frames, strict=True)]
    )
    structures = structures.with_positions(along(axes, begin, offered.unsqueeze(0))[0])
    candidates = predicted(committee, structures, origin=origin, max_memory=max_memory)
    missing = np.array([frame.positions is None for frame in frames])
    if missing.all():
        logger.warning("all %d replicas ended at their start: the seeds are beyond the limits of `stop`", len(frames))
    kinds, status = (
        np.array([int(value) for value in column]) for column in zip(*[(f.kind, f.status) for f in frames], strict=True)
    )
    assert candidates.status is not None
    return candidates._replace(
        score=np.where(missing, np.nan, kinds + candidates.score / (1 + candidates.score)),
        status=np.where(missing, status, candidates.status),
        unconditional=~missing,
    )
