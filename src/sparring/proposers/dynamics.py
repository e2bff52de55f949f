"""Snapshots of molecular dynamics under a committee's own mean forces: the usual way to find structures to label.

Copies of the seeds move at a temperature, and every so many steps each leaves a snapshot that may be labelled. In the
words of :mod:`sparring.proposers.ascent` a snapshot is an attack that takes no step; all that follows is the same.

What people do with a trajectory that goes wrong is done here, too: what it left before two of its atoms ran into each
other counts, the overlap itself does not. Other snapshots that are unphysical, as of a molecule that fell apart, are
candidates like any; an energy window in the selection, or the bounds on labels, keeps them out of the data.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from sparring import dynamics
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import CloserThan, DynamicsResult, Ensemble, simulate
from sparring.proposers.ascent import AttackResult, Status

__all__ = ["n_snapshots", "take_snapshots"]


def n_snapshots(*, duration: float, timestep: float, every: int) -> int:
    """How many snapshots a copy leaves, if nothing happens to it; duration and time step in fs.

    Raises:
        ValueError: If there is none.
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
) -> AttackResult:
    """Move a copy of every seed by the committee's mean forces, and keep a snapshot every so many steps.

    Snapshots come in rounds: first one of every seed, all at the same time, then one of every seed at the next, and so
    on; seeds themselves are none. Their objective is the variance of forces. One that a copy has not lived to leave has
    the geometry of its seed, nan for all that is seen of it, and the status that says why; a selection drops it.

    Centres of mass rest, unless a seed is a single atom.

    Args:
        committee: Whose mean forces act.
        seeds: Where copies start.
        ensemble: What is held constant, and the temperature.
        seed: Of the velocities and the noise.
        duration: In fs.
        timestep: In fs.
        every: After how many steps snapshots are taken.
        min_distance: Atoms closer than this, in Å, end the trajectory of their copy; 0 for no such end.
        axes: Along which axes atoms move, for particles in a potential that does not feel the others: what they move
            along those is left out.
        max_memory: Bytes to take at a time; copies beyond are simulated later. None for no limit.
        progress: Called with the number of steps done and to do.

    Raises:
        ValueError: If the arguments make no sense, or there is no snapshot.
    """
    count = n_snapshots(duration=duration, timestep=timestep, every=every)
    if not axes or set(axes) - set("xyz"):
        raise ValueError(f"axes must be some of 'xyz', got {axes!r}")
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
    assert result.positions is not None
    rounds = seeds.take(torch.arange(seeds.n_structures).repeat(count))
    positions = _along(axes, seeds.positions, result.positions[1:]).reshape(-1, 3)
    seen = {name: getattr(result, name)[1:].reshape(-1) for name in ("energy", "energy_variance", "force_variance")}
    structures = rounds.with_positions(torch.where(torch.isfinite(positions), positions, rounds.positions.double()))
    return AttackResult(
        structures=structures,
        best_step=torch.zeros_like(seen["energy"], dtype=torch.long),
        status=torch.where(torch.isfinite(seen["energy"]), int(Status.FINISHED), _ends(result).repeat(count)),
        objective=seen["force_variance"].unsqueeze(0),
        positions=structures.positions.unsqueeze(0),
        **{name: values.unsqueeze(0) for name, values in seen.items()},
    )


def _along(
    axes: str, start: Float[Tensor, "n_atoms 3"], trajectory: Float[Tensor, "n_rows n_atoms 3"]
) -> Float[Tensor, "n_rows n_atoms 3"]:
    free = torch.tensor([axis in axes for axis in "xyz"], device=start.device)
    return torch.where(free | ~torch.isfinite(trajectory), trajectory, start.double())


def _ends(result: DynamicsResult) -> Tensor:
    """How the trajectories ended, in the words of attacks."""
    overlap = result.status >= dynamics.Status.CRITERION
    return torch.where(overlap, int(Status.OVERLAP), result.status)
