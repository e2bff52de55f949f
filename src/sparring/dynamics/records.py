"""State of replicas, and the records of a simulation while it runs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.dynamics.barostat import inner_pressure
from sparring.dynamics.phase import Bath, Observation, Phase, Status
from sparring.dynamics.results import TRACES, DynamicsResult, moved
from sparring.dynamics.system import System
from sparring.units import kT

__all__ = ["Log", "State", "Write"]

Write = Callable[[list[Atoms]], None]
"""Function that takes the frames of one point in time."""


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
        offending_cells: Cells at the failure.
    """

    system: System
    phase: Phase
    step: int
    status: Int[Tensor, " n_copies"]
    failed_at: Int[Tensor, " n_copies"]
    offending: Float[Tensor, "n_atoms 3"]
    offending_cells: Float[Tensor, "n_copies 3 3"]

    def take(self, chosen: Bool[Tensor, " n_copies"]) -> "State":
        """The chosen replicas."""
        copies, atoms = torch.nonzero(chosen).flatten(), torch.nonzero(chosen[self.system.index]).flatten()
        positions, velocities, seen, bath, cells = self.phase
        rows = {"forces": atoms, "atom_variance": atoms}
        seen = Observation(**{name: value[rows.get(name, copies)] for name, value in seen._asdict().items()})
        return State(
            system=self.system.take(copies, atoms),
            phase=Phase(
                positions[atoms], velocities[atoms], seen, Bath(*(value[copies] for value in bath)), cells[copies]
            ),
            step=self.step,
            status=self.status[copies],
            failed_at=self.failed_at[copies],
            offending=self.offending[atoms],
            offending_cells=self.offending_cells[copies],
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
        self.last_cells = self.offending_cells = start.cells.double()
        self.times: list[float] = []
        self.rows: dict[str, list[Tensor]] = {name: [] for name in TRACES}
        self.frames: list[tuple[Tensor, Tensor]] | None = [] if keep_frames else None

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
            cells = torch.where(going[:, None, None], state.phase.cells, torch.nan)
            self.frames.append(
                (
                    torch.full_like(self.last, torch.nan).index_copy(0, state.system.atom, here),
                    torch.full_like(self.last_cells, torch.nan).index_copy(0, state.system.copy, cells),
                )
            )
        left = self._drop_failed(state)
        if self.write and left.system.n_copies:
            self.write(self._frames(left, {"step": [state.step] * left.system.n_copies}))
        if self.watch:
            self.watch(left)
        return left

    def close(self, state: State) -> DynamicsResult:
        """Result of all replicas."""
        self._store_final(self._drop_failed(state))
        failed = torch.nonzero(self.status != Status.FINISHED).flatten()
        frames = [None, None] if self.frames is None else [torch.stack(one) for one in zip(*self.frames, strict=True)]
        return DynamicsResult(
            structures=moved(self.start, self.last, self.last_cells),
            velocities=self.velocities,
            status=self.status,
            failure_time=torch.where(self.failed_at < 0, torch.nan, self.timestep * self.failed_at.double()),
            failed=failed,
            offending=moved(self.start, self.offending, self.offending_cells).take(failed),
            reasons=self.reasons,
            time=torch.tensor(self.times, dtype=torch.float64, device=self.status.device),
            positions=frames[0],
            cells=frames[1],
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
            last = self._frames(gone, {"step": [at - 1 for at in steps]})
            why = [self.reasons[status] for status in gone.status.tolist()]
            offending = self._frames(gone, {"step": steps, "failed": why}, offending=True)
            frames = [one for one, fine in zip(last, well, strict=True) if fine] + offending
            self.write([one for one in frames if np.isfinite(one.positions).all() and np.isfinite(one.cell).all()])
        return state.take(~failed)

    def _store_final(self, state: State) -> None:
        copy, atom = state.system.copy, state.system.atom
        self.status = self.status.index_copy(0, copy, state.status)
        self.failed_at = self.failed_at.index_copy(0, copy, state.failed_at)
        self.last = self.last.index_copy(0, atom, state.phase.positions)
        self.velocities = self.velocities.index_copy(0, atom, state.phase.velocities)
        self.offending = self.offending.index_copy(0, atom, state.offending)
        self.last_cells = self.last_cells.index_copy(0, copy, state.phase.cells)
        self.offending_cells = self.offending_cells.index_copy(0, copy, state.offending_cells)

    def _frames(self, state: State, info: dict[str, list[int] | list[str]], *, offending: bool = False) -> list[Atoms]:
        """The replicas as ASE structures, each with its own part of the info; at their failure without predictions."""
        geometry = (state.offending, state.offending_cells)
        geometry = geometry if offending else (state.phase.positions, state.phase.cells)
        frames = moved(state.system.structures, *geometry).to_atoms()
        columns: dict[str, Sequence[object]] = {
            "copy": [self.numbers[copy] for copy in state.system.copy.tolist()],
            **info,
            "time": [int(step) * self.timestep for step in info["step"]],
            "temperature": state.system.temperature.tolist(),
        }
        if not offending:
            seen = state.phase.seen
            columns["committee_energy"] = seen.energy.tolist()
            columns["energy_variance"] = seen.energy_variance.tolist()
            columns["force_variance"] = seen.force_variance.tolist()
        for index, atoms in enumerate(frames):
            atoms.info.update({name: column[index] for name, column in columns.items()})
        if not offending:
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
        "volume": volumes(phase.cells),
        "pressure": inner_pressure(phase, system),
    }
