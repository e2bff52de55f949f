"""Where new points of a double well come from: attacks, chance, or molecular dynamics, for many loops at once.

Each strategy takes the committees of several loops as one, and gives the candidates of each loop.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from double_well_networks import Layers, energies, layers_of
from double_well_protocol import WELLS, Course, Protocol
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

__all__ = ["STRATEGIES", "Found", "crew", "structures_of", "survey", "together"]


class Found(NamedTuple):
    """Candidates of one course, with the committee's disagreement and, from attacks, the objective."""

    points: np.ndarray
    score: np.ndarray
    force_variance: np.ndarray


def crew(protocol: Protocol, weights: Tensor) -> Committee:
    """The committees of several courses as one, for batches in which each course has equally many points, in order.

    Args:
        protocol: Tells the network.
        weights: Of shape (n_courses, n_members, n_weights).
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


def together(sets: Sequence[np.ndarray]) -> tuple[Structures, list[slice]]:
    """Points of all courses as one batch, filled up with repeats to equally many, and where each course's own are."""
    width = max(len(points) for points in sets)
    batch = np.concatenate([points[np.arange(width) % len(points)] for points in sets])
    return structures_of(batch), [slice(i * width, i * width + len(points)) for i, points in enumerate(sets)]


def survey(team: Committee, sets: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Variance of the forces at each course's points."""
    structures, places = together(sets)
    forces = team.predict(structures, differentiable=False).forces
    variances = variance_of_forces(forces, structures.structure_index, structures.n_structures).numpy()
    return [variances[place] for place in places]


def by_attacks(
    protocol: Protocol, team: Committee, courses: Sequence[Course], thresholds: Sequence[float]
) -> list[Found]:
    """Attacks on all training points: Eq. 13 and 14.

    Q of Eq. 12 is one number for all points of a course. It changes neither Adam's path nor which step of it is best,
    and is left out.
    """
    seeds = []
    for course in courses:
        noise = np.random.default_rng(course.seed(protocol, "attack")).normal(0.0, protocol.spread, course.train.shape)
        noise[:, protocol.n_coordinates :] = 0.0
        seeds.append(course.train + noise)
    structures, places = together(seeds)
    result = attack(
        team,
        structures,
        exp((-1 / protocol.kT) * mean_energy) * force_variance,
        seed=0,  # the noise is in the seeds already
        space=Cartesian(spread=0.0, axes="xyz"[: protocol.n_coordinates]),
        n_steps=protocol.attack_steps,
        learning_rate=protocol.attack_rate,
        max_memory=None,
    )
    points, best = result.structures.positions.numpy(), result.best()
    return [Found(points[p], best.objective.numpy()[p], best.force_variance.numpy()[p]) for p in places]


def by_chance(
    protocol: Protocol, team: Committee, courses: Sequence[Course], thresholds: Sequence[float]
) -> list[Found]:
    """Every training point displaced by U(-amplitude, amplitude): the paper's baseline."""
    drawn = []
    for course in courses:
        generator = np.random.default_rng(course.seed(protocol, "random"))
        delta = generator.uniform(-protocol.amplitude, protocol.amplitude, course.train.shape)
        delta[:, protocol.n_coordinates :] = 0.0
        drawn.append(course.train + delta)
    return [Found(p, v, v) for p, v in zip(drawn, survey(team, drawn), strict=True)]


def by_dynamics(
    protocol: Protocol, team: Committee, courses: Sequence[Course], thresholds: Sequence[float]
) -> list[Found]:
    """Molecular dynamics under the committee's mean forces from every training point, until it knows no more.

    Of each trajectory the first snapshot is a candidate whose variance is above the threshold. (Later ones lead far
    astray: at this temperature a particle is soon anywhere that a young committee does not forbid.) A trajectory that
    falls kT below the lowest known energy before has found a hole, and none.
    """
    structures, places = together([course.train for course in courses])
    numbers = np.zeros(structures.n_structures, dtype=int)
    for course, place in zip(courses, places, strict=True):
        numbers[place] = 100_000 * course.number + 1_000 * course.generation + np.arange(place.stop - place.start)
    floors, limits = (
        torch.full((structures.n_structures,), end, dtype=torch.float64) for end in (-torch.inf, torch.inf)
    )
    for course, place, threshold in zip(courses, places, thresholds, strict=True):
        floors[place] = float(WELLS[protocol.well].energies(course.points).min()) - protocol.kT
        limits[place] = threshold

    def in_a_hole(structures: Structures, observation: Observation) -> Tensor:
        return observation.energy < floors

    ensemble = Langevin(temperature=protocol.kT / kT(1.0), friction=protocol.friction)
    criteria = [in_a_hole]
    state = init(
        team,
        structures,
        ensemble=ensemble,
        seed=derive(protocol.seed, "dynamics") % 2**31,
        criteria=criteria,
        fixed_centre=False,
        numbers=numbers.tolist(),
    )
    first, seen = structures.positions.clone(), torch.full_like(limits, torch.nan)
    for count in range(1, protocol.dynamics_steps + 1):
        # Copies that have failed stay in the batch, where a course is known by the places of its copies.
        state = step(team, state, ensemble=ensemble, timestep=protocol.timestep, criteria=criteria)
        if count % protocol.snapshot_steps == 0:
            variance = state.phase.seen.force_variance
            strange = (variance >= limits) & torch.isnan(seen) & (state.status == Status.FINISHED)
            first[strange], seen[strange] = state.phase.positions[strange], variance[strange]
            if not torch.isnan(seen).any():
                break
    first[:, protocol.n_coordinates :] = 0.0  # where nothing acts, the particle drifts away
    points, variances = first.numpy(), seen.numpy()
    return [Found(points[p], variances[p], variances[p]) for p in places]


STRATEGIES = {"adversarial": by_attacks, "random": by_chance, "md": by_dynamics}
