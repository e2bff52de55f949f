"""Traces of replicas, and the result of a simulation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.dynamics.system import Bath, Observation, Phase, Status, System
from sparring.units import kT

__all__ = ["DynamicsResult", "Log", "State", "Write", "join"]

Write = Callable[[list[Atoms]], None]
"""Function that takes the frames of one point in time."""


@dataclass(frozen=True, kw_only=True)
class DynamicsResult:
    """Final states and traces of all replicas.

    Traces have a row for every ``every`` steps, from the start on; after the failure of a replica its values are NaN.

    Attributes:
        structures: Final geometry of each replica; of one that failed, the last before the failure.
        velocities: Velocities there, in Å/fs.
        status: End of each trajectory, a :class:`Status`; from 2 on, 2 plus the index of the criterion.
        failure_time: Time of failure in fs; NaN for a replica that finished.
        failed: Indices of the replicas that failed.
        offending: Geometries at which these failed; positions need not be finite.
        reasons: Description of each status.
        time: Time of each row of the traces, in fs.
        energy: Mean energy of the committee, in eV.
        kinetic_energy: Kinetic energy in eV.
        temperature: Kinetic energy as a temperature, in K.
        conserved: Energy of a replica and its thermostat, in eV: constant up to the error of the time step.
        energy_variance: Variance of the energy over the members, in eV².
        force_variance: Variance of the forces over the members, in (eV/Å)².
        positions: Trajectories in Å, with `keep_frames`.
    """

    structures: Structures
    velocities: Float[Tensor, "n_atoms 3"]
    status: Int[Tensor, " n_copies"]
    failure_time: Float[Tensor, " n_copies"]
    failed: Int[Tensor, " n_failed"]
    offending: Structures
    reasons: tuple[str, ...]
    time: Float[Tensor, " n_rows"]
    energy: Float[Tensor, "n_rows n_copies"]
    kinetic_energy: Float[Tensor, "n_rows n_copies"]
    temperature: Float[Tensor, "n_rows n_copies"]
    conserved: Float[Tensor, "n_rows n_copies"]
    energy_variance: Float[Tensor, "n_rows n_copies"]
    force_variance: Float[Tensor, "n_rows n_copies"]
    positions: Float[Tensor, "n_rows n_atoms 3"] | None


_TRACES = ("energy", "kinetic_energy", "temperature", "conserved", "energy_variance", "force_variance")


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that the next step needs. A replica that has failed keeps its last state before the failure.

    Attributes:
        system: Constants of the replicas.
        phase: Positions, velocities, energies and forces.
        step: Number of steps done.
        status: State of each trajectory, a :class:`Status`.
        failed_at: Step of the failure; -1 without one.
        offending: Positions at the failure.
    """

    system: System
    phase: Phase
    step: int
    status: Int[Tensor, " n_copies"]
    failed_at: Int[Tensor, " n_copies"]
    offending: Float[Tensor, "n_atoms 3"]

    def take(self, chosen: Bool[Tensor, " n_copies"]) -> "State":
        """The chosen replicas."""
        copies, atoms = torch.nonzero(chosen).flatten(), torch.nonzero(chosen[self.system.index]).flatten()
        positions, velocities, seen, bath = self.phase
        rows = {"forces": atoms, "atom_variance": atoms}
        seen = Observation(**{name: value[rows.get(name, copies)] for name, value in seen._asdict().items()})
        return State(
            system=self.system.take(copies, atoms),
            phase=Phase(positions[atoms], velocities[atoms], seen, Bath(*(value[copies] for value in bath))),
            step=self.step,
            status=self.status[copies],
            failed_at=self.failed_at[copies],
            offending=self.offending[atoms],
        )


class Log:
    """Records traces of a batch and removes replicas that have failed.

    Args:
        start: Starting geometries.
        numbers: Number of each replica in frames.
        timestep: Time step in fs.
        reasons: Description of each status.
        keep_frames: Flag to keep positions in memory.
        write: Function that takes frames.
        watch: Function that sees the state of the replicas that go on.
    """

    def __init__(
        self,
        start: Structures,
        numbers: Sequence[int],
        *,
        timestep: float,
        reasons: tuple[str, ...],
        keep_frames: bool,
        write: Write | None,
        watch: Callable[[State], None] | None = None,
    ) -> None:
        self.start, self.numbers, self.timestep, self.reasons = start, numbers, timestep, reasons
        self.write, self.watch = write, watch
        index = start.structure_index
        self.status = index.new_zeros(start.n_structures)
        self.failed_at = self.status - 1
        self.last = self.velocities = self.offending = start.positions.double()
        self.times: list[float] = []
        self.rows: dict[str, list[Tensor]] = {name: [] for name in _TRACES}
        self.frames: list[Tensor] | None = [] if keep_frames else None

    def record(self, state: State) -> State:
        """Add a row of traces; returns the replicas that go on."""
        self.times.append(state.step * self.timestep)
        going = state.status == Status.FINISHED
        empty = self.start.positions.new_full((self.start.n_structures,), torch.nan, dtype=torch.float64)
        for name, values in _thermodynamics(state).items():
            noted = torch.where(going, values, torch.nan)
            self.rows[name].append(empty.index_copy(0, state.system.copy, noted))
        if self.frames is not None:
            here = torch.where(going[state.system.index].unsqueeze(-1), state.phase.positions, torch.nan)
            self.frames.append(torch.full_like(self.last, torch.nan).index_copy(0, state.system.atom, here))
        left = self._drop_failed(state)
        if self.write and left.system.n_copies:
            self.write(self._frames(left, left.phase.positions, {"step": [state.step] * left.system.n_copies}))
        if self.watch:
            self.watch(left)
        return left

    def close(self, state: State) -> DynamicsResult:
        """Result of all replicas."""
        self._store_final(self._drop_failed(state))
        failed = torch.nonzero(self.status != Status.FINISHED).flatten()
        ended = replace(self.start, positions=self.offending, edges=None).take(failed)
        return DynamicsResult(
            structures=replace(self.start, positions=self.last, edges=None),
            velocities=self.velocities,
            status=self.status,
            failure_time=torch.where(self.failed_at < 0, torch.nan, self.timestep * self.failed_at.double()),
            failed=failed,
            offending=ended,
            reasons=self.reasons,
            time=torch.tensor(self.times, dtype=torch.float64, device=self.status.device),
            positions=None if self.frames is None else torch.stack(self.frames),
            **{name: torch.stack(rows) for name, rows in self.rows.items()},
        )

    def _drop_failed(self, state: State) -> State:
        """Store the replicas that have failed, and go on without them."""
        failed = state.status != Status.FINISHED
        if not bool(failed.any()):
            return state
        gone = state.take(failed)
        self._store_final(gone)
        if self.write:
            steps = gone.failed_at.tolist()
            # A replica that fails at the start has no state before the failure.
            well = [at > 0 for at in steps]
            last = self._frames(gone, gone.phase.positions, {"step": [at - 1 for at in steps]})
            why = [self.reasons[status] for status in gone.status.tolist()]
            offending = self._frames(gone, gone.offending, {"step": steps, "failed": why}, seen=False)
            frames = [one for one, fine in zip(last, well, strict=True) if fine] + offending
            self.write([one for one in frames if bool(torch.isfinite(torch.as_tensor(one.positions)).all())])
        return state.take(~failed)

    def _store_final(self, state: State) -> None:
        copy, atom = state.system.copy, state.system.atom
        self.status = self.status.index_copy(0, copy, state.status)
        self.failed_at = self.failed_at.index_copy(0, copy, state.failed_at)
        self.last = self.last.index_copy(0, atom, state.phase.positions)
        self.velocities = self.velocities.index_copy(0, atom, state.phase.velocities)
        self.offending = self.offending.index_copy(0, atom, state.offending)

    def _frames(
        self, state: State, positions: Tensor, info: dict[str, list[int] | list[str]], *, seen: bool = True
    ) -> list[Atoms]:
        """The replicas as ASE structures, each with its own part of the info."""
        frames = replace(state.system.structures, positions=positions, edges=None).to_atoms()
        columns: dict[str, Sequence[object]] = {
            "copy": [self.numbers[copy] for copy in state.system.copy.tolist()],
            **info,
            "time": [int(step) * self.timestep for step in info["step"]],
            "temperature": state.system.temperature.tolist(),
        }
        if seen:
            seen_of = state.phase.seen
            columns["committee_energy"] = seen_of.energy.tolist()
            columns["energy_variance"] = seen_of.energy_variance.tolist()
            columns["force_variance"] = seen_of.force_variance.tolist()
        for index, atoms in enumerate(frames):
            atoms.info.update({name: column[index] for name, column in columns.items()})
        if seen:
            sigma = state.phase.seen.atom_variance.sqrt().cpu().split([len(atoms) for atoms in frames])
            for atoms, values in zip(frames, sigma, strict=True):
                atoms.arrays["atom_uncertainty"] = values.numpy()
        return frames


def _thermodynamics(state: State) -> dict[str, Tensor]:
    system, phase = state.system, state.phase
    kinetic = system.kinetic_energy(phase.velocities)
    return {
        "energy": phase.seen.energy,
        "kinetic_energy": kinetic,
        "temperature": 2 * kinetic / (system.degrees * kT(1.0)),
        "conserved": phase.seen.energy + phase.seen.bias + kinetic + phase.bath.energy,
        "energy_variance": phase.seen.energy_variance,
        "force_variance": phase.seen.force_variance,
    }


def join(start: Structures, parts: Sequence[DynamicsResult]) -> DynamicsResult:
    """Joined results of the parts of one simulation."""
    first = parts[0]
    status = torch.cat([part.status for part in parts])
    failed = torch.nonzero(status != Status.FINISHED).flatten()
    frames = [part.positions for part in parts if part.positions is not None]
    traces: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in _TRACES}
    return replace(
        first,
        structures=replace(start, positions=torch.cat([part.structures.positions for part in parts]), edges=None),
        velocities=torch.cat([part.velocities for part in parts]),
        status=status,
        failure_time=torch.cat([part.failure_time for part in parts]),
        failed=failed,
        offending=replace(start.take(failed), positions=torch.cat([part.offending.positions for part in parts])),
        positions=torch.cat(frames, dim=1) if frames else None,
        **traces,
    )
