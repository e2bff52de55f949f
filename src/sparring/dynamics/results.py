"""Result of a simulation of many replicas."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.dynamics.phase import Status

__all__ = ["TRACES", "DynamicsResult", "join", "moved"]


@dataclass(frozen=True, kw_only=True)
class DynamicsResult:
    """Final states and traces of all replicas.

    Traces have a row for every ``every`` steps, from the start on; after the failure of a replica its values are NaN.

    Attributes:
        structures: Final geometry of each replica, with its cell; of one that failed, the last before the failure.
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
        volume: Volume of the cell in Å³; zero where there are fewer than three lattice vectors.
        pressure: Pressure of the replica, with its kinetic part, in eV/Å³; NaN where cells do not move.
        positions: Trajectories in Å, with `keep_frames`.
        cells: Cells along the trajectories in Å, with `keep_frames`.
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
    volume: Float[Tensor, "n_rows n_copies"]
    pressure: Float[Tensor, "n_rows n_copies"]
    positions: Float[Tensor, "n_rows n_atoms 3"] | None
    cells: Float[Tensor, "n_rows n_copies 3 3"] | None


TRACES = (
    "energy",
    "kinetic_energy",
    "temperature",
    "conserved",
    "energy_variance",
    "force_variance",
    "volume",
    "pressure",
)


def moved(
    structures: Structures, positions: Float[Tensor, "n_atoms 3"], cells: Float[Tensor, "n_copies 3 3"]
) -> Structures:
    """The structures at other positions and in other cells, both in Å."""
    return replace(structures, positions=positions, cells=cells, edges=None)


def join(start: Structures, parts: Sequence[DynamicsResult]) -> DynamicsResult:
    """Joined results of the parts of one simulation."""
    first = parts[0]
    status = torch.cat([part.status for part in parts])
    failed = torch.nonzero(status != Status.FINISHED).flatten()
    frames = [part.positions for part in parts if part.positions is not None]
    cells = [part.cells for part in parts if part.cells is not None]
    traces: dict[str, Any] = {name: torch.cat([getattr(part, name) for part in parts], dim=1) for name in TRACES}
    return replace(
        first,
        structures=_all_of(start, [part.structures for part in parts]),
        velocities=torch.cat([part.velocities for part in parts]),
        status=status,
        failure_time=torch.cat([part.failure_time for part in parts]),
        failed=failed,
        offending=_all_of(start.take(failed), [part.offending for part in parts]),
        positions=torch.cat(frames, dim=1) if frames else None,
        cells=torch.cat(cells, dim=1) if cells else None,
        **traces,
    )


def _all_of(start: Structures, parts: Sequence[Structures]) -> Structures:
    """The geometries of the parts of one simulation."""
    positions, cells = torch.cat([part.positions for part in parts]), torch.cat([part.cells for part in parts])
    return moved(start, positions, cells)
