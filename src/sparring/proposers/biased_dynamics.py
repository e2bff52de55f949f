"""Dynamics that is driven towards structures on which the members of a committee disagree, with an early stop."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from ase import Atoms

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.dynamics import HAL, Bias, DynamicsResult, Ensemble, simulate
from sparring.dynamics.bias import bias_strength
from sparring.proposers.early_stop import EarlyStop, early_stopped
from sparring.support.seeds import derive

__all__ = ["biased_dynamics"]

MOST_FRAMES = 50
"""Largest number of frames without bias from which its strength is taken."""


def biased_dynamics(
    committee: Committee,
    seeds: Structures,
    *,
    ensemble: Ensemble,
    seed: int,
    stop: EarlyStop,
    bias: Bias | float = 0.25,
    burn_in: float = 100.0,
    duration: float = 5000.0,
    timestep: float = 0.5,
    every: int = 10,
    references: Sequence[Atoms] = (),
    axes: str = "xyz",
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Move a replica of every seed on a biased surface until something happens (:func:`.early_stopped`).

    Energies, variances and criteria are those of the committee; only the forces that act are biased.

    Args:
        committee: Committee of several members.
        seeds: Starting geometries.
        ensemble: Ensemble, with its temperature.
        seed: Seed of the velocities and the noise.
        stop: Conditions that end a trajectory.
        bias: Bias, such as :class:`sparring.UDD`; or a number: the mean bias force of :class:`sparring.HAL` as a share
            of the mean force, both measured during dynamics without bias.
        burn_in: Length of that dynamics in fs, after which the replicas go on with the bias; only with a number.
        duration: Largest length of the biased trajectories in fs.
        timestep: Time step in fs.
        every: Number of steps between frames that are recorded.
        references: Intact structures, for bonds and the lowest energy; see :func:`.early_stopped`.
        axes: Axes along which atoms move.
        max_memory: Bytes to take at a time; None for no limit.
        progress: Callback with the number of steps done and to do.

    Raises:
        ValueError: If an argument is out of range, there is a single member, or all members agree.
    """
    if committee.n_members < 2:
        raise ValueError("a bias needs the uncertainty of a committee, got a single member")
    start = None
    if isinstance(bias, int | float):
        if not (bias > 0 and burn_in >= timestep > 0):
            raise ValueError(f"need bias > 0 and burn_in >= timestep > 0, got {bias}, {burn_in} fs and {timestep} fs")
        start = _burnt_in(committee, seeds, ensemble, seed, timestep, round(burn_in / timestep), max_memory)
        bias = HAL(tau=bias_strength(committee, _frames(seeds, start), relative=bias, max_memory=max_memory))
    return early_stopped(
        committee,
        seeds,
        ensemble=ensemble,
        seed=seed,
        stop=stop,
        duration=duration,
        timestep=timestep,
        every=every,
        references=references,
        bias=bias,
        start=start,
        axes=axes,
        max_memory=max_memory,
        progress=progress,
    )


def _burnt_in(
    committee: Committee,
    seeds: Structures,
    ensemble: Ensemble,
    seed: int,
    timestep: float,
    n_steps: int,
    max_memory: float | None,
) -> DynamicsResult:
    """Dynamics of the seeds without bias."""
    return simulate(
        committee,
        replace(seeds.to(device=committee.device), edges=None),
        ensemble=ensemble,
        timestep=timestep,
        n_steps=n_steps,
        every=max(1, n_steps // MOST_FRAMES),
        seed=derive(seed, "burn-in"),
        fixed_centre=bool((seeds.counts > 1).all()),
        max_memory=max_memory,
        keep_frames=True,
    )


def _frames(seeds: Structures, result: DynamicsResult) -> Structures:
    """The frames of the second half of a simulation, of replicas that are still there."""
    assert result.positions is not None
    assert result.cells is not None
    there = [(row, copy) for row, copy in result.energy.isfinite().nonzero().tolist()]
    # At the start velocities are thermal, and positions are not.
    there = [pair for pair in there if 2 * pair[0] >= len(result.positions)] or there
    rows = seeds.to(device=result.positions.device).take([copy for _, copy in there])
    paths = result.positions.split(seeds.counts.tolist(), dim=1)
    cells = torch.stack([result.cells[row, copy] for row, copy in there])
    rows = replace(rows, edges=None, cells=cells)
    return rows.with_positions(torch.cat([paths[copy][row] for row, copy in there]))
