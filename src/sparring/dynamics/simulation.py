"""Dynamics of many replicas, in one batch or in as many as the memory requires."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics.bias import Bias
from sparring.dynamics.ensembles import VELOCITIES, Ensemble, Temperature, per_copy
from sparring.dynamics.phase import Criterion, Phase, Status, pick
from sparring.dynamics.records import Log, State, Write
from sparring.dynamics.results import DynamicsResult, join
from sparring.dynamics.system import LARGEST_CHANGE, System, observe
from sparring.support.seeds import derive

__all__ = ["init", "side_by_side", "simulate", "step"]


def init(
    committee: Committee,
    start: Structures,
    *,
    ensemble: Ensemble,
    seed: int,
    temperature: Temperature | None = None,
    criteria: Sequence[Criterion] = (),
    bias: Bias | None = None,
    velocities: Float[Tensor, "n_atoms 3"] | None = None,
    fixed_centre: bool = True,
    numbers: Sequence[int] | None = None,
) -> State:
    """Initial state of all replicas; for the arguments see :func:`simulate`.

    A temperature replaces that of the ensemble.
    """
    committee.require_known(start)
    n_copies = start.n_structures
    numbers = _numbers(numbers, n_copies)
    if fixed_centre and bool((start.counts == 1).any()):
        raise ValueError("a single atom cannot move with a fixed centre of mass; pass fixed_centre=False")
    if start.fixed is not None:
        for index, fixed in enumerate(start.fixed.split(start.counts.tolist())):
            if bool(fixed.all()):
                raise ValueError(f"replica {index} cannot move: all its {len(fixed)} atoms are fixed; free some")
    system = System.of(
        replace(start, edges=None).to(dtype=committee.dtype, device=committee.device),
        temperature=per_copy(ensemble.temperature if temperature is None else temperature, n_copies),
        key=torch.tensor([derive(seed, "dynamics", number) for number in numbers]),
        fixed_centre=fixed_centre,
        reach=max([committee.cutoff or 0.0, *(getattr(criterion, "reach", 0.0) for criterion in criteria)]),
    )
    positions = start.positions.to(dtype=torch.float64, device=committee.device)
    if velocities is None:
        velocities = system.thermal(stream=VELOCITIES, step=0)
    elif velocities.shape != positions.shape:
        raise ValueError(f"need velocities of shape {tuple(positions.shape)}, got {tuple(velocities.shape)}")
    velocities = system.structures.on_free(velocities.to(positions))
    bath = ensemble.bath(system)
    cells = start.cells.to(positions)
    seen = observe(committee, system, criteria, bias, positions, cells, moving_cells=ensemble.moves_cells)
    assert system.neighbors.is_complete()  # found at these positions
    return State(
        system=system,
        phase=Phase(positions, velocities, seen, bath, cells),
        step=0,
        status=seen.status,
        failed_at=torch.where(seen.status == Status.FINISHED, -1, 0),
        offending=positions,
        offending_cells=cells,
    )


def step(
    committee: Committee,
    state: State,
    *,
    ensemble: Ensemble,
    timestep: float,
    criteria: Sequence[Criterion] = (),
    bias: Bias | None = None,
) -> State:
    """All replicas one time step later.

    No host synchronisation, except where neighbours of periodic structures are found anew.
    """
    system, old = state.system, state.phase
    look = partial(observe, committee, system, criteria, bias, moving_cells=ensemble.moves_cells)
    new = ensemble.step(old, system, look, timestep=timestep, step=state.step)
    while not system.neighbors.is_complete():  # asked when the work is queued, so that no device waits
        new = ensemble.step(old, system, look, timestep=timestep, step=state.step)
    going = state.status == Status.FINISHED
    status = torch.where(system.finite(new.velocities), new.seen.status, int(Status.NOT_FINITE))
    fails = going & (status != Status.FINISHED)
    return State(
        system=system,
        phase=pick(going & ~fails, system.index, new, old),
        step=state.step + 1,
        status=torch.where(fails, status, state.status),
        failed_at=torch.where(fails, state.step + 1, state.failed_at),
        offending=torch.where(fails[system.index].unsqueeze(-1), new.positions, state.offending),
        offending_cells=torch.where(fails[:, None, None], new.cells, state.offending_cells),
    )


def simulate(
    committee: Committee,
    start: Structures,
    *,
    ensemble: Ensemble,
    timestep: float,
    n_steps: int,
    seed: int,
    every: int = 1,
    criteria: Sequence[Criterion] = (),
    bias: Bias | None = None,
    velocities: Float[Tensor, "n_atoms 3"] | None = None,
    fixed_centre: bool = True,
    numbers: Sequence[int] | None = None,
    max_memory: float | None = 4e9,
    keep_frames: bool = False,
    write: Write | None = None,
    watch: Callable[[State], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> DynamicsResult:
    """Molecular dynamics of all structures at once, under the mean forces of a committee.

    Replicas are independent: how they are divided to fit the memory, and which of them fail, changes nothing for the
    others. Positions and velocities are in double precision, independent of the precision of the committee.

    Args:
        committee: Committee with the mean forces that act.
        start: Starting geometries; see :func:`side_by_side` for many replicas of a structure.
        ensemble: Ensemble, such as :class:`sparring.NVE`, :class:`sparring.Langevin`,
            :class:`sparring.NoseHooverChain` or, with cells that move, :class:`sparring.NPT`.
        timestep: Time step in fs.
        n_steps: Number of steps.
        seed: Seed of the velocities and the noise.
        every: Number of steps between rows of traces, frames, and removals of replicas that have failed.
        criteria: Criteria that end a trajectory, besides values that are not finite.
        bias: Bias that is added to the mean energies, such as :class:`sparring.HAL`; None for none.
        velocities: Initial velocities in Å/fs, taken as they are; by default drawn at the temperatures of the
            ensemble. Those of fixed atoms are zero.
        fixed_centre: Flag to keep the centre of mass of each replica at rest. Then a replica of n atoms has 3n - 3
            degrees of freedom, else 3n. False for an external potential. The centre moves along axes along which an
            atom is fixed; f fixed coordinates are f degrees of freedom less.
        numbers: Number of each replica in frames and for random numbers, so that a replica can be repeated without the
            others; by default its index.
        max_memory: Bytes to take at a time; further replicas are simulated later. None for no limit.
        keep_frames: Flag to keep whole trajectories in memory.
        write: Function that takes the frames of all replicas at one point in time, and the frames before and at a
            failure. If not all replicas fit the memory, the frames of each part come together.
        watch: Function that sees the state of all replicas that go on, as often as there are rows of traces. If not
            all replicas fit the memory, those of each part come together, from step 0.
        progress: Callback with the number of steps done and of all.

    Raises:
        ValueError: If the arguments make no sense, or a single member has a bias.
    """
    if bias is not None and committee.n_members < 2:
        raise ValueError("a bias needs the uncertainty of a committee, got a single member")
    if not timestep > 0 or n_steps < 0 or every < 1:
        raise ValueError(f"need timestep > 0, n_steps >= 0 and every >= 1, got {timestep} fs, {n_steps} and {every}")
    n_copies = start.n_structures
    temperature = per_copy(ensemble.temperature, n_copies)
    numbers = _numbers(numbers, n_copies)
    if velocities is not None and velocities.shape != start.positions.shape:
        raise ValueError(f"need velocities of shape {tuple(start.positions.shape)}, got {tuple(velocities.shape)}")
    committee.require_known(start)
    committee = committee.without_domain()
    start = replace(start.to(device=committee.device), edges=None)
    reasons = ("finished", not_finite(ensemble), *(getattr(one, "__name__", repr(one)) for one in criteria))
    new_log = partial(Log, timestep=timestep, reasons=reasons, keep_frames=keep_frames, write=write, watch=watch)
    size = how_many_fit(start, lambda some: _graph_bytes(committee, some, ensemble.moves_cells), max_memory)
    parts: list[DynamicsResult] = []
    total = -(-n_copies // size) * n_steps
    for first in range(0, n_copies, size):
        part = slice(first, min(first + size, n_copies))
        atoms = (start.structure_index >= part.start) & (start.structure_index < part.stop)
        here = start.take(range(part.start, part.stop))
        state = init(
            committee,
            here,
            ensemble=ensemble,
            seed=seed,
            temperature=temperature[part],
            criteria=criteria,
            bias=bias,
            velocities=None if velocities is None else velocities.to(atoms.device)[atoms],
            fixed_centre=fixed_centre,
            numbers=numbers[part],
        )
        log = new_log(here, numbers[part])
        state = log.record(state)
        done = len(parts) * n_steps
        for count in range(1, n_steps + 1):
            if state.system.n_copies:
                state = step(committee, state, ensemble=ensemble, timestep=timestep, criteria=criteria, bias=bias)
            if count % every == 0:
                state = log.record(replace(state, step=count))
            if progress:
                progress(done + count, total)
        parts.append(log.close(state))
    return join(start, parts)


def side_by_side(
    structures: Structures, temperatures: Sequence[float], n_copies: int
) -> tuple[Structures, Float[Tensor, " n_all"]]:
    """Replicas of every structure at every temperature: starting geometries, and the temperature of each in K.

    Temperatures are in the outer loop, then structures, then replicas.

    Raises:
        ValueError: If there are no replicas or no temperatures.
    """
    if n_copies < 1 or not temperatures:
        raise ValueError(f"need at least one replica and one temperature, got {n_copies} and {list(temperatures)}")
    indices = torch.arange(structures.n_structures).repeat_interleave(n_copies)
    start = structures.take(indices.repeat(len(temperatures)))
    return start, torch.as_tensor(list(temperatures), dtype=torch.float64).repeat_interleave(len(indices))


def _numbers(numbers: Sequence[int] | None, n_copies: int) -> Sequence[int]:
    """The numbers of replicas, by default their indices."""
    if numbers is None:
        return range(n_copies)
    if len(numbers) != n_copies:
        raise ValueError(f"need a number for each of {n_copies} replicas, got {len(numbers)}")
    return numbers


def not_finite(ensemble: Ensemble) -> str:
    """Description of the end of a trajectory that has no criterion."""
    if not ensemble.moves_cells:
        return "not finite"
    return f"not finite, or the volume changed more than {LARGEST_CHANGE:g}-fold"


def _graph_bytes(committee: Committee, structures: Structures, stress: bool) -> int:
    some = committee.prepare(structures)
    return held_bytes(lambda: committee.predict(some, differentiable=False, stress=stress))
