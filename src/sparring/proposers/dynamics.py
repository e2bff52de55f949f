"""Snapshots of molecular dynamics under a committee's own mean forces: the usual way to find structures to label.

Replicas of the seeds move at a temperature, and each leaves a snapshot every so many steps.

Snapshots before two atoms of a replica come too close count; the overlap itself and the rest of its trajectory do not.
Other snapshots that are unphysical, as of a molecule that fell apart, are candidates like any; an energy window in the
selection, or the bounds on labels, keeps them out of the data.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring import dynamics
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates, Status
from sparring.committee import Committee
from sparring.dynamics import CloserThan, DynamicsResult, Ensemble, simulate

__all__ = ["Snapshots", "along", "check_axes", "n_snapshots", "take_snapshots"]


@dataclass(frozen=True, kw_only=True)
class Snapshots:
    """Snapshots in rounds: first one of every seed at one time, then one of every seed at the next, and so on.

    A snapshot that a replica did not reach has the geometry of its seed, NaN for all predictions, and the status that
    says why.

    Attributes:
        structures: Geometries.
        origin: Index of the seed of each.
        status: Status of each, a :class:`sparring.candidates.Status`.
        energy: Mean energy of the committee, in eV.
        energy_variance: Variance of the energy, in eV².
        force_variance: Variance of the forces, in (eV/Å)².
    """

    structures: Structures
    origin: Int[Tensor, " n_snapshots"]
    status: Int[Tensor, " n_snapshots"]
    energy: Float[Tensor, " n_snapshots"]
    energy_variance: Float[Tensor, " n_snapshots"]
    force_variance: Float[Tensor, " n_snapshots"]

    def candidates(self) -> Candidates:
        """The snapshots to select from, with the variance of forces as score."""
        names = ("energy", "energy_variance", "force_variance", "origin", "status")
        values = {name: getattr(self, name).cpu().numpy() for name in names}
        return Candidates(self.structures, score=values["force_variance"], **values)

    def count(self, status: Status) -> int:
        """Number of snapshots with that status."""
        return int((self.status == status).sum())


def n_snapshots(*, duration: float, timestep: float, every: int) -> int:
    """Number of snapshots of a replica that reaches the end; duration and time step in fs.

    Raises:
        ValueError: If there is no snapshot.
    """
    if not timestep > 0 or every < 1:
        raise ValueError(f"need timestep > 0 and every >= 1, got {timestep} fs and {every}")
    count = round(duration / timestep) // every
    if count < 1:
        raise ValueError(
            f"{duration:g} fs are over before the first snapshot, which is after {every} steps of {timestep:g} fs"
        )
    return count


def take_snapshots(
    committee: Committee,
    seeds: Structures,
    *,
    ensemble: Ensemble,
    seed: int,
    duration: float = 5000.0,
    timestep: float = 0.5,
    every: int = 100,
    min_distance: float = 0.5,
    axes: str = "xyz",
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> Snapshots:
    """Move a replica of every seed by the committee's mean forces, and keep a snapshot every so many steps.

    Seeds themselves are no snapshots. Centres of mass rest, unless a seed is a single atom.

    Args:
        committee: Committee whose mean forces act.
        seeds: Starting geometries.
        ensemble: Ensemble, with its temperature.
        seed: Seed of the velocities and the noise.
        duration: Length of the trajectories in fs.
        timestep: Time step in fs.
        every: Number of steps from snapshot to snapshot.
        min_distance: Distance of two atoms, in Å, below which the trajectory of their replica ends; 0 for no such end.
        axes: Axes along which atoms move, for particles in a potential that does not depend on the others.
        max_memory: Bytes to take at a time; replicas beyond are simulated later. None for no limit.
        progress: Callback with the number of steps done and to do.

    Raises:
        ValueError: If an argument is out of range, or there is no snapshot.
    """
    count = n_snapshots(duration=duration, timestep=timestep, every=every)
    check_axes(axes)
    seeds = replace(seeds.to(device=committee.device), edges=None)
    result = simulate(
        committee,
        seeds,
        ensemble=ensemble,
        timestep=timestep,
        n_steps=count * every,
        every=every,
        seed=seed,
        criteria=[CloserThan(min_distance)] if min_distance else [],
        fixed_centre=bool((seeds.counts > 1).all()),
        max_memory=max_memory,
        keep_frames=True,
        progress=progress,
    )
    return _snapshots(seeds, result, count, axes)


def check_axes(axes: str) -> None:
    """Check the axes along which atoms move.

    Raises:
        ValueError: If they are not some of x, y and z.
    """
    if not axes or set(axes) - set("xyz"):
        raise ValueError(f"axes must be some of 'xyz', got {axes!r}")


def _snapshots(seeds: Structures, result: DynamicsResult, count: int, axes: str) -> Snapshots:
    assert result.positions is not None
    assert result.cells is not None
    origin = torch.arange(seeds.n_structures).repeat(count)
    rounds = seeds.take(origin)
    positions = along(axes, seeds.positions, result.positions[1:]).reshape(-1, 3)
    predictions = {
        name: getattr(result, name)[1:].reshape(-1) for name in ("energy", "energy_variance", "force_variance")
    }
    cells = result.cells[1:].reshape(-1, 3, 3)
    structures = replace(rounds, cells=torch.where(torch.isfinite(cells), cells, rounds.cells.double()))
    positions = torch.where(torch.isfinite(positions), positions, rounds.positions.double())
    return Snapshots(
        structures=structures.with_positions(positions),
        origin=origin,
        status=torch.where(torch.isfinite(predictions["energy"]), int(Status.FINISHED), _ends(result).repeat(count)),
        **predictions,
    )


def along(
    axes: str, start: Float[Tensor, "n_atoms 3"], trajectory: Float[Tensor, "n_rows n_atoms 3"]
) -> Float[Tensor, "n_rows n_atoms 3"]:
    """Positions of trajectories along the axes along which atoms move, and those of the start along the others."""
    free = torch.tensor([axis in axes for axis in "xyz"], device=start.device)
    return torch.where(free | ~torch.isfinite(trajectory), trajectory, start.double())


def _ends(result: DynamicsResult) -> Tensor:
    """Status of the candidates of trajectories that ended early."""
    overlap = result.status >= dynamics.Status.CRITERION
    return torch.where(overlap, int(Status.OVERLAP), result.status)
