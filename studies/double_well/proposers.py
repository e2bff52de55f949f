"""Proposers of new points of a double well, for many loops at once: attacks, random displacements, dynamics.

Each strategy takes the committees of several loops as one, and gives the candidates of each loop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import Langevin, Observation, Status, init, step
from sparring.potentials import Potential
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import exp, force_variance, mean_energy
from sparring.proposers.spaces import Cartesian
from sparring.support.seeds import derive
from sparring.uncertainty import force_variance as variance_of_forces
from sparring.units import kT
from studies.double_well.protocol import WELLS, LoopState, Protocol
from studies.double_well.training import Layers, energies, layers_of

__all__ = ["STRATEGIES", "Proposal", "force_variances", "stack_points", "stacked_committee", "structures_of"]


class Proposal(NamedTuple):
    """Candidates of one loop, with the committee's disagreement and, from attacks, the objective."""

    points: np.ndarray
    score: np.ndarray
    force_variance: np.ndarray


def stacked_committee(protocol: Protocol, weights: Tensor) -> Committee:
    """The committees of several loops as one, for batches in which each loop has equally many points, in order.

    Args:
        protocol: Protocol with the network.
        weights: Weights (n_loops, n_members, n_weights).
    """

    def member(layers: Layers) -> Potential:
        def energy(structures: Structures) -> Tensor:
            points = structures.positions.to(weights.dtype).reshape(len(weights), -1, 3)
            return energies(layers, points[..., : protocol.n_coordinates]).flatten().double()

        return energy

    return Committee([member(layers_of(rows, protocol.network)) for rows in weights.unbind(1)])


def structures_of(points: np.ndarray) -> Structures:
    """A batch of single particles."""
    n = len(points)
    return Structures(
        positions=torch.as_tensor(points, dtype=torch.float64),
        atomic_numbers=torch.zeros(n, dtype=torch.long),
        structure_index=torch.arange(n),
        cells=torch.zeros(n, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(n, 3, dtype=torch.bool),
        periodic=False,
    )


def stack_points(sets: Sequence[np.ndarray]) -> tuple[Structures, list[slice]]:
    """Points of all loops as one batch, padded with repeats to equal numbers, and the slice of each loop's own."""
    width = max(len(points) for points in sets)
    batch = np.concatenate([points[np.arange(width) % len(points)] for points in sets])
    return structures_of(batch), [slice(i * width, i * width + len(points)) for i, points in enumerate(sets)]


def force_variances(committee: Committee, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Variance of the forces at each loop's points."""
    structures, places = stack_points(sets)
    forces = committee.predict(structures, differentiable=False).forces
    variances = variance_of_forces(forces, structures.structure_index, structures.n_structures).numpy()
    return [variances[place] for place in places]


def attacks(
    protocol: Protocol, committee: Committee, loops: Sequence[LoopState], thresholds: Sequence[float]
) -> list[Proposal]:
    """Attacks on all training points: Eq. 13 and 14.

    Q of Eq. 12 is one number for all points of a loop. It changes neither the path of Adam nor its best step,
    and is left out.
    """
    seeds = []
    for loop in loops:
        noise = np.random.default_rng(loop.seed(protocol, "attack")).normal(0.0, protocol.spread, loop.train.shape)
        noise[:, protocol.n_coordinates :] = 0.0
        seeds.append(loop.train + noise)
    structures, places = stack_points(seeds)
    result = attack(
        committee,
        structures,
        exp((-1 / protocol.kT) * mean_energy) * force_variance,
        seed=0,  # the noise is in the seeds already
        space=Cartesian(spread=0.0, axes="xyz"[: protocol.n_coordinates]),
        n_steps=protocol.attack_steps,
        learning_rate=protocol.attack_rate,
        max_memory=None,
    )
    points, best = result.structures.positions.numpy(), result.best()
    return [Proposal(points[p], best.objective.numpy()[p], best.force_variance.numpy()[p]) for p in places]


def random_displacements(
    protocol: Protocol, committee: Committee, loops: Sequence[LoopState], thresholds: Sequence[float]
) -> list[Proposal]:
    """Displacements of every training point by U(-amplitude, amplitude): the paper's baseline."""
    drawn = []
    for loop in loops:
        generator = np.random.default_rng(loop.seed(protocol, "random"))
        delta = generator.uniform(-protocol.amplitude, protocol.amplitude, loop.train.shape)
        delta[:, protocol.n_coordinates :] = 0.0
        drawn.append(loop.train + delta)
    return [Proposal(p, v, v) for p, v in zip(drawn, force_variances(committee, drawn), strict=True)]


def dynamics(
    protocol: Protocol, committee: Committee, loops: Sequence[LoopState], thresholds: Sequence[float]
) -> list[Proposal]:
    """Molecular dynamics under the mean forces from every training point, up to the first uncertain snapshot.

    The candidate of each trajectory is the first snapshot whose variance is above the threshold. (Later snapshots are
    far away: at this temperature a particle soon reaches all places to which an early committee assigns low energies.)
    A trajectory that falls kT below the lowest known energy before that has entered a hole, and gives no candidate.
    """
    structures, places = stack_points([loop.train for loop in loops])
    numbers = np.zeros(structures.n_structures, dtype=int)
    for loop, place in zip(loops, places, strict=True):
        numbers[place] = 100_000 * loop.number + 1_000 * loop.generation + np.arange(place.stop - place.start)
    floors, limits = (
        torch.full((structures.n_structures,), end, dtype=torch.float64) for end in (-torch.inf, torch.inf)
    )
    for loop, place, threshold in zip(loops, places, thresholds, strict=True):
        floors[place] = float(WELLS[protocol.well].energies(loop.points).min()) - protocol.kT
        limits[place] = threshold

    def in_hole(structures: Structures, observation: Observation) -> Tensor:
        return observation.energy < floors

    ensemble = Langevin(temperature=protocol.kT / kT(1.0), friction=protocol.friction)
    criteria = [in_hole]
    state = init(
        committee,
        structures,
        ensemble=ensemble,
        seed=derive(protocol.seed, "dynamics") % 2**31,
        criteria=criteria,
        fixed_centre=False,
        numbers=numbers.tolist(),
    )
    first, seen = structures.positions.clone(), torch.full_like(limits, torch.nan)
    for count in range(1, protocol.dynamics_steps + 1):
        # Replicas that have failed stay in the batch, since the slices of the loops must not change.
        state = step(committee, state, ensemble=ensemble, timestep=protocol.timestep, criteria=criteria)
        if count % protocol.snapshot_steps == 0:
            variance = state.phase.seen.force_variance
            uncertain = (variance >= limits) & torch.isnan(seen) & (state.status == Status.FINISHED)
            first[uncertain], seen[uncertain] = state.phase.positions[uncertain], variance[uncertain]
            if not torch.isnan(seen).any():
                break
    first[:, protocol.n_coordinates :] = 0.0  # no force acts along these axes, so that the particle drifts
    points, variances = first.numpy(), seen.numpy()
    return [Proposal(points[p], variances[p], variances[p]) for p in places]


STRATEGIES = {"adversarial": attacks, "random": random_displacements, "md": dynamics}
