r"""Adversarial attacks: gradient ascent on the geometry, all seeds at once (Eq. 14, with Adam).

.. math:: \delta^{(i+1)} = \delta^{(i)} + \alpha_\delta \frac{\partial \mathcal L_{adv}}{\partial \delta}

======================  ==========================================================
:math:`\delta`          displacement of the seeds, in whatever space is attacked
:math:`\alpha_\delta`   learning rate
:math:`L_{adv}`         objective, see :mod:`sparring.proposers.objectives`
======================  ==========================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.neighbors import shortest_distance, with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.proposers.objectives import Objective
from sparring.proposers.results import AttackResult, Observation, Status
from sparring.proposers.spaces import Cartesian, Space

__all__ = ["AttackResult", "Status", "attack"]


class State(NamedTuple):
    """What the next step of an attack needs: the point, Adam's moments, and who still climbs."""

    delta: Tensor
    previous: Tensor
    moment: Tensor
    square: Tensor
    status: Int[Tensor, " n_seeds"]
    best: Float[Tensor, " n_seeds"]
    best_step: Int[Tensor, " n_seeds"]


def attack(
    committee: Committee,
    seeds: Structures,
    objective: Objective,
    *,
    seed: int,
    space: Space | None = None,
    n_steps: int = 60,
    learning_rate: float = 0.01,
    min_distance: float = 0.5,
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> AttackResult:
    """Climb the objective from every seed, and keep the best geometry of each path.

    Seeds do not notice one another, and how they are divided to fit the memory changes nothing. With ``n_steps=0`` they
    are only displaced, which in the space of :class:`sparring.RandomDisplacement` is the random baseline.

    Args:
        committee: Whose uncertainty is attacked.
        seeds: The starting geometries.
        objective: What to climb.
        seed: Of the random numbers that displace the seeds.
        space: What moves; by default every atom by itself.
        n_steps: Number of steps of Adam.
        learning_rate: Length of a step, in units of delta.
        min_distance: Atoms closer than this, in Å, end the attack on their seed.
        max_memory: Bytes that an attack may take at a time; seeds beyond are attacked later. None for no limit.
        progress: Called with the number of steps done and to do.

    Raises:
        ValueError: If no seed has a finite objective to start from, the committee does not know its elements, or the
            arguments make no sense.
    """
    if n_steps < 0 or learning_rate <= 0:
        raise ValueError(f"need n_steps >= 0 and learning_rate > 0, got {n_steps} and {learning_rate}")
    space = space or Cartesian()
    committee.require_known(seeds)
    committee = committee.without_domain()  # to ask again in every step would make the host wait
    seeds = replace(seeds.to(device=committee.device), edges=None)
    generator = torch.Generator().manual_seed(seed)
    delta = space.initial(seeds, generator)
    owner = space.owner(seeds)
    size = chunk_size(committee, seeds, objective, max_memory)
    results: list[AttackResult] = []
    total = -(-seeds.n_structures // size) * (n_steps + 1)
    for start in range(0, seeds.n_structures, size):
        indices = range(start, min(start + size, seeds.n_structures))
        rows = (owner >= indices.start) & (owner < indices.stop)
        climb = _Climb(committee, with_reach(committee, seeds.take(indices), min_distance), objective, space)
        done = len(results) * (n_steps + 1)
        tick = (lambda k, done=done: progress(done + k, total)) if progress else None
        results.append(climb.run(delta[rows], n_steps, learning_rate, min_distance, tick))
    result = _join(seeds, results)
    if not bool(torch.isfinite(result.best().objective).any()):
        raise ValueError(
            "the objective is not finite at any seed: do the seeds overlap, "
            "or does the Boltzmann weight's data set lack their composition?"
        )
    return result


def with_reach(committee: Committee, seeds: Structures, min_distance: float) -> Structures:
    """The seeds with edges as far as the committee sees, and at least as far as an overlap."""
    # Where nobody sees anything and no distance is an overlap, any radius will do.
    return with_edges(seeds, max(committee.cutoff or 0.0, min_distance) or 1.0)


@dataclass(frozen=True)
class _Climb:
    """One chunk of seeds on its way up."""

    committee: Committee
    seeds: Structures
    objective: Objective
    space: Space

    def run(
        self,
        delta: Tensor,
        n_steps: int,
        learning_rate: float,
        min_distance: float,
        progress: Callable[[int], None] | None,
    ) -> AttackResult:
        state = self.start(delta)
        observations, geometries = [], []
        for step in range(n_steps + 1):
            state, observation, geometry = self.step(state, step, learning_rate, min_distance)
            observations.append(observation)
            geometries.append(geometry)
            if progress:
                progress(step + 1)
        positions = torch.stack([geometry.positions for geometry in geometries])
        best = _at(state.best_step[self.seeds.structure_index], positions)
        cells, best_cells = None, self.seeds.cells
        # A host's question: a space that leaves cells alone hands on the very same tensor.
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
        n_seeds = self.seeds.n_structures
        index = self.seeds.structure_index
        return State(
            delta=delta,
            previous=delta,
            moment=torch.zeros_like(delta),
            square=torch.zeros_like(delta),
            status=index.new_full((n_seeds,), Status.FINISHED),
            best=delta.new_full((n_seeds,), -torch.inf, dtype=torch.float64),
            best_step=index.new_zeros(n_seeds),
        )

    def step(
        self, state: State, step: int, learning_rate: float, min_distance: float
    ) -> tuple[State, Observation, Structures]:
        """Look where the seeds are, note it, and take one step of Adam uphill; no host synchronisation."""
        structures, observation, gradient = self.observe(state.delta)
        finite = torch.stack([torch.isfinite(values) for values in observation]).all(0) & self._finite_rows(gradient)
        overlap = shortest_distance(with_reach(self.committee, structures, min_distance)) < min_distance
        climbing = state.status == Status.FINISHED
        status = torch.where(climbing & ~finite, Status.NOT_FINITE, state.status)
        status = torch.where(climbing & overlap, Status.OVERLAP, status)
        valid = status == Status.FINISHED
        better = valid & (observation.objective > state.best)

        moment = torch.lerp(gradient, state.moment, 0.9)
        square = torch.lerp(gradient.square(), state.square, 0.999)
        scale = (square / (1 - 0.999 ** (step + 1))).sqrt() + 1e-30
        climbed = state.delta + learning_rate * moment / (1 - 0.9 ** (step + 1)) / scale
        owner = self.space.owner(self.seeds)
        moves = _like(valid[owner], gradient)
        new = State(
            # A seed that has been stopped goes back to its last good point and rests there.
            delta=torch.where(moves, self.space.project(self.seeds, climbed), state.previous),
            previous=torch.where(moves, state.delta, state.previous),
            moment=torch.where(moves, moment, 0.0),
            square=torch.where(moves, square, 0.0),
            status=status,
            best=torch.where(better, observation.objective, state.best),
            best_step=torch.where(better, step, state.best_step),
        )
        noted = Observation(*(torch.where(valid, values, torch.nan) for values in observation))
        here = self.displace(torch.where(moves, state.delta, state.previous))
        cells = here.cells if here.cells is self.seeds.cells else here.cells.detach()
        return new, noted, replace(self.seeds, positions=here.positions.detach(), cells=cells, edges=None)

    def observe(self, delta: Tensor) -> tuple[Structures, Observation, Tensor]:
        """The displaced seeds, what the committee makes of them, and d(objective)/d(delta)."""
        delta = delta.detach().requires_grad_()
        structures = self.committee.prepare(_with_fresh_edges(self.displace(delta)))
        prediction = self.committee.predict(structures)
        objective = self.objective(prediction, structures)
        (gradient,) = torch.autograd.grad(objective.sum(), delta)
        energy, forces = prediction.detach()
        several = self.committee.n_members > 1
        nothing = torch.zeros_like(energy[0])
        index, n = structures.structure_index, structures.n_structures
        observation = Observation(
            objective.detach().double(),
            energy.mean(0).double(),
            uncertainty.energy_variance(energy).double() if several else nothing,
            uncertainty.force_variance(forces, index, n).double() if several else nothing,
        )
        return structures, observation, gradient

    def displace(self, delta: Tensor) -> Structures:
        """The displaced seeds; fixed atoms stay also in a space that does not know of them."""
        moved, fixed = self.space.displace(self.seeds, delta), self.seeds.fixed
        if fixed is None:
            return moved
        return moved.with_positions(torch.where(fixed, self.seeds.positions, moved.positions))

    def _finite_rows(self, gradient: Tensor) -> Bool[Tensor, " n_seeds"]:
        bad = (~torch.isfinite(gradient)).reshape(len(gradient), -1).any(1).long()
        return bad.new_zeros(self.seeds.n_structures).index_add(0, self.space.owner(self.seeds), bad) == 0


def _at(step: Int[Tensor, " n_rows"], along: Float[Tensor, "n_points n_rows ..."]) -> Float[Tensor, "n_rows ..."]:
    """What every row of a path is at its own step."""
    index = step.reshape(1, -1, *[1] * (along.dim() - 2)).expand(1, *along.shape[1:])
    return along.gather(0, index).squeeze(0)


def _with_fresh_edges(displaced: Structures) -> Structures:
    """The structures without edges that may be out of date: where atoms or cells of a crystal move, images change."""
    return replace(displaced, edges=None) if displaced.periodic else displaced


def _like(flags: Bool[Tensor, " n_rows"], rows: Tensor) -> Tensor:
    return flags.reshape(-1, *[1] * (rows.dim() - 1))


def chunk_size(committee: Committee, seeds: Structures, objective: Objective, max_memory: float | None) -> int:
    """How many seeds fit the memory that the graph of one attack step takes."""

    def held(some: Structures) -> int:
        some = committee.prepare(some)
        some = some.with_positions(some.positions.detach().requires_grad_())
        return held_bytes(lambda: objective(committee.predict(some), some))

    return how_many_fit(seeds, held, max_memory)


def _join(seeds: Structures, results: list[AttackResult]) -> AttackResult:
    paths = (*Observation._fields, "positions")
    positions, cells = (torch.cat([getattr(r.structures, name) for r in results]) for name in ("positions", "cells"))
    strained = any(r.cells is not None for r in results)
    # A chunk of seeds whose cells the space left alone has them all along.
    along = [r.structures.cells.expand(len(r.positions), -1, -1, -1) if r.cells is None else r.cells for r in results]
    return AttackResult(
        structures=replace(seeds, positions=positions, cells=cells if strained else seeds.cells, edges=None),
        cells=torch.cat(along, dim=1) if strained else None,
        best_step=torch.cat([r.best_step for r in results]),
        status=torch.cat([r.status for r in results]),
        **{name: torch.cat([getattr(r, name) for r in results], dim=1) for name in paths},
    )
