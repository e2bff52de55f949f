r"""Adversarial attacks: gradient ascent of an objective on the geometry, all seeds at once (Eq. 14).

.. math:: \delta^{(i+1)} = \delta^{(i)} + \alpha_\delta \frac{\partial \mathcal L_{adv}}{\partial \delta}

======================  ==========================================================
:math:`\delta`          displacement of the seeds, in the space that is attacked
:math:`\alpha_\delta`   learning rate
:math:`L_{adv}`         objective, see :mod:`sparring.proposers.objectives`
======================  ==========================================================

The rule that makes a step of a gradient is an argument: Adam, or the equation as printed
(:mod:`sparring.proposers.updates`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.neighbors import shortest_distance
from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList
from sparring.committee import Committee
from sparring.proposers.objectives import Objective, needs_stress
from sparring.proposers.results import AttackResult, Observation, Status, joined
from sparring.proposers.spaces import Cartesian, Space
from sparring.proposers.updates import Moments, Update, adam, update_rule

__all__ = ["Ascent", "AttackResult", "Status", "attack"]


class State(NamedTuple):
    """State of an ascent between two steps.

    Attributes:
        delta: Displacement at which the next step looks.
        previous: Last displacement at which everything was finite.
        moments: Moments of the update rule.
        status: Status of each seed, a :class:`Status`.
        best: Highest objective so far.
        best_step: Step of the highest objective.
    """

    delta: Tensor
    previous: Tensor
    moments: Moments
    status: Int[Tensor, " n_seeds"]
    best: Float[Tensor, " n_seeds"]
    best_step: Int[Tensor, " n_seeds"]


class Point(NamedTuple):
    """Displaced seeds, their observed values, and the gradient of the objective in the displacement."""

    structures: Structures
    observation: Observation
    gradient: Tensor


def attack(
    committee: Committee,
    seeds: Structures,
    objective: Objective,
    *,
    seed: int,
    space: Space | None = None,
    n_steps: int = 60,
    learning_rate: float = 0.01,
    update: str | Update = "adam",
    min_distance: float = 0.5,
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Climb the objective from every seed, and keep the best geometry of each path.

    Seeds do not depend on one another, unless the objective has them repel each other in groups, which stay together;
    how they are divided to fit the memory changes nothing. With ``n_steps=0`` they are only displaced.

    Args:
        committee: Committee that is attacked.
        seeds: Starting geometries.
        objective: Objective to climb.
        seed: Seed of the random numbers that displace the seeds.
        space: Space of the displacements; by default every atom moves by itself.
        n_steps: Number of steps.
        learning_rate: Length of a step, in units of delta.
        update: Update rule: "adam", "gradient" (Eq. 14 as printed), or a function (:class:`Update`).
        min_distance: Distance of two atoms, in Å, below which the attack on their seed ends.
        max_memory: Bytes that an attack may take at a time; seeds beyond are attacked later. None for no limit.
        progress: Callback with the number of steps done and to do.

    Raises:
        ValueError: If no seed has a finite objective to start from, the committee does not know its elements, or an
            argument is out of range.
    """
    if n_steps < 0 or learning_rate <= 0:
        raise ValueError(f"need n_steps >= 0 and learning_rate > 0, got {n_steps} and {learning_rate}")
    rule, space = update_rule(update), space or Cartesian()
    committee.require_known(seeds)
    committee = committee.without_domain()  # its check in every step would make the host wait
    seeds = replace(seeds.to(device=committee.device), edges=None)
    delta = space.initial(seeds, torch.Generator().manual_seed(seed))
    owner = space.owner(seeds)
    size = chunk_size(committee, seeds, objective, max_memory)
    results: list[AttackResult] = []
    total = -(-seeds.n_structures // size) * (n_steps + 1)
    for start in range(0, seeds.n_structures, size):
        indices = range(start, min(start + size, seeds.n_structures))
        rows = (owner >= indices.start) & (owner < indices.stop)
        ascent = Ascent(committee, seeds.take(indices), objective, space, rule, learning_rate, min_distance)
        done = len(results) * (n_steps + 1)
        tick = (lambda k, done=done: progress(done + k, total)) if progress else None
        results.append(ascent.run(delta[rows], n_steps, tick))
    return _some_finite(joined(seeds, results))


def _some_finite(result: AttackResult) -> AttackResult:
    if not bool(torch.isfinite(result.best().objective).any()):
        raise ValueError(
            "the objective is not finite at any seed: do the seeds overlap, "
            "or does the Boltzmann weight's data set lack their composition?"
        )
    return result


@dataclass(frozen=True)
class Ascent:
    """Gradient ascent from one chunk of seeds.

    Attributes:
        committee: Committee that is attacked.
        seeds: Starting geometries.
        objective: Objective to climb.
        space: Space of the displacements.
        update: Update rule.
        learning_rate: Length of a step, in units of delta.
        min_distance: Distance of two atoms, in Å, below which the attack on their seed ends.
    """

    committee: Committee
    seeds: Structures
    objective: Objective
    space: Space
    update: Update = adam
    learning_rate: float = 0.01
    min_distance: float = 0.5
    # A cache: edges that are found anew lead to the same objective, but for the last bits.
    _neighbors: NeighborList = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """No neighbours are known yet; any radius will do where none is needed."""
        reach = max(self.committee.cutoff or 0.0, self.min_distance) or 1.0
        object.__setattr__(self, "_neighbors", NeighborList(reach))

    def run(self, delta: Tensor, n_steps: int, progress: Callable[[int], None] | None = None) -> AttackResult:
        """All steps, and the paths that they make."""
        state = self.start(delta)
        observations, geometries = [], []
        for number in range(n_steps + 1):
            state, observation, geometry = self.step(state, number)
            observations.append(observation)
            geometries.append(geometry)
            if progress:
                progress(number + 1)
        positions = torch.stack([geometry.positions for geometry in geometries])
        best = _at(state.best_step[self.seeds.structure_index], positions)
        cells, best_cells = None, self.seeds.cells
        # Compared on the host: a space that leaves cells alone returns the very same tensor.
        if any(geometry.cells is not self.seeds.cells for geometry in geometries):
            cells = torch.stack([geometry.cells for geometry in geometries])
            best_cells = _at(state.best_step, cells)
        return AttackResult(
            structures=replace(self.seeds, positions=best, cells=best_cells, edges=None),
            best_step=state.best_step,
            status=state.status,
            positions=positions,
            cells=cells,
            **{name: torch.stack([getattr(o, name) for o in observations]) for name in Observation._fields},
        )

    def start(self, delta: Tensor) -> State:
        """The state before the first step."""
        n_seeds = self.seeds.n_structures
        index = self.seeds.structure_index
        return State(
            delta=delta,
            previous=delta,
            moments=Moments(torch.zeros_like(delta), torch.zeros_like(delta)),
            status=index.new_full((n_seeds,), Status.FINISHED),
            best=delta.new_full((n_seeds,), -torch.inf, dtype=torch.float64),
            best_step=index.new_zeros(n_seeds),
        )

    def step(self, state: State, number: int) -> tuple[State, Observation, Structures]:
        """Predict, update, project, keep the best, and roll back seeds that stop; without a host synchronisation.

        Returns:
            The next state, and the observed values and the geometries of this point.
        """
        point = self.observe(state.delta)
        status = self.status_at(point, state.status)
        active = status == Status.FINISHED
        climbed, moments = self.update(
            state.delta, point.gradient, state.moments, n_steps=number + 1, learning_rate=self.learning_rate
        )
        projected = self.space.project(self.seeds, climbed)
        better = active & (point.observation.objective > state.best)
        # A seed that is stopped returns to its last finite point and stays there.
        moves = _like(active[self.space.owner(self.seeds)], point.gradient)
        here = torch.where(moves, state.delta, state.previous)
        following = State(
            delta=torch.where(moves, projected, state.previous),
            previous=here,
            moments=Moments(*(torch.where(moves, moment, 0.0) for moment in moments)),
            status=status,
            best=torch.where(better, point.observation.objective, state.best),
            best_step=torch.where(better, number, state.best_step),
        )
        observation = Observation(*(torch.where(active, values, torch.nan) for values in point.observation))
        return following, observation, self.geometry(here)

    def observe(self, delta: Tensor) -> Point:
        """Predict for the displaced seeds, and differentiate the objective in the displacement."""
        point = self._observe(delta)
        while not self._neighbors.is_complete():  # asked when the work is queued, so that no device waits
            point = self._observe(delta)
        return point

    def _observe(self, delta: Tensor) -> Point:
        delta = delta.detach().requires_grad_()
        displaced = self.displace(delta).to(dtype=self.committee.dtype, device=self.committee.device)
        structures = self.committee.prepare(self._neighbors.update(displaced))
        prediction = self.committee.predict(structures, stress=needs_stress(self.objective))
        objective = self.objective(prediction, structures)
        (gradient,) = torch.autograd.grad(objective.sum(), delta)
        energy, forces, _ = prediction.detach()
        several = self.committee.n_members > 1
        zeros = torch.zeros_like(energy[0])
        index, n = structures.structure_index, structures.n_structures
        observation = Observation(
            objective.detach().double(),
            energy.mean(0).double(),
            uncertainty.energy_variance(energy).double() if several else zeros,
            uncertainty.force_variance(forces, index, n).double() if several else zeros,
        )
        return Point(structures, observation, gradient)

    def status_at(self, point: Point, before: Int[Tensor, " n_seeds"]) -> Int[Tensor, " n_seeds"]:
        """Status of every seed: one that was stopped stays so; an overlap counts before a value that is not finite."""
        finite = torch.stack([torch.isfinite(values) for values in point.observation]).all(0)
        finite &= self._finite_rows(point.gradient)
        overlap = shortest_distance(point.structures) < self.min_distance
        active = before == Status.FINISHED
        status = torch.where(active & ~finite, Status.NOT_FINITE, before)
        return torch.where(active & overlap, Status.OVERLAP, status)

    def displace(self, delta: Tensor) -> Structures:
        """The displaced seeds; fixed atoms stay also in a space that does not know of them."""
        moved, fixed = self.space.displace(self.seeds, delta), self.seeds.fixed
        if fixed is None:
            return moved
        return moved.with_positions(torch.where(fixed, self.seeds.positions, moved.positions))

    def geometry(self, delta: Tensor) -> Structures:
        """The displaced seeds without a graph."""
        moved = self.displace(delta)
        cells = moved.cells if moved.cells is self.seeds.cells else moved.cells.detach()
        return replace(self.seeds, positions=moved.positions.detach(), cells=cells, edges=None)

    def _finite_rows(self, gradient: Tensor) -> Bool[Tensor, " n_seeds"]:
        bad = (~torch.isfinite(gradient)).reshape(len(gradient), -1).any(1).long()
        return bad.new_zeros(self.seeds.n_structures).index_add(0, self.space.owner(self.seeds), bad) == 0


def _at(step: Int[Tensor, " n_rows"], along: Float[Tensor, "n_points n_rows ..."]) -> Float[Tensor, "n_rows ..."]:
    """The values of every row of a path at its own step."""
    index = step.reshape(1, -1, *[1] * (along.dim() - 2)).expand(1, *along.shape[1:])
    return along.gather(0, index).squeeze(0)


def _like(flags: Bool[Tensor, " n_rows"], rows: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (rows.dim() - 1))


def chunk_size(committee: Committee, seeds: Structures, objective: Objective, max_memory: float | None) -> int:
    """Number of seeds whose graph of one attack step fits into memory, in whole groups that depend on each other."""
    stress = needs_stress(objective)

    def graph_bytes(structures: Structures) -> int:
        structures = committee.prepare(structures)
        structures = structures.with_positions(structures.positions.detach().requires_grad_())
        return held_bytes(lambda: objective(committee.predict(structures, stress=stress), structures))

    among: int = getattr(objective, "among", 1)
    return max(how_many_fit(seeds, graph_bytes, max_memory) // among, 1) * among
