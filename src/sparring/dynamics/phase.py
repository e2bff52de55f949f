"""Replicas in phase space, the predictions of a committee for them, and criteria that end their trajectories."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures

__all__ = ["Bath", "Criterion", "Look", "Observation", "Phase", "Status", "pick"]


class Status(IntEnum):
    """End of a trajectory; values from CRITERION on are the index of the criterion plus CRITERION."""

    FINISHED = 0
    NOT_FINITE = 1
    CRITERION = 2


class Observation(NamedTuple):
    """Predictions of the committee for every replica, in double precision.

    Attributes:
        energy: Mean energy of the members, in eV.
        forces: Forces that act, in eV/Å: the mean forces of the members, and those of a bias.
        energy_variance: Variance of the energy, in eV²; zero for a single member.
        force_variance: Variance of the forces, in (eV/Å)²; zero for a single member.
        bias: Energy of the bias in eV; zero without one.
        status: End of the trajectory, if any; see :class:`Status`.
        atom_variance: Variance of the force on each atom, in (eV/Å)²; zero for a single member.
        stress: Stress that acts, in eV/Å³, positive under tension: the mean of the members, and that of a bias; NaN
            where cells do not move.
    """

    energy: Float[Tensor, " n_copies"]
    forces: Float[Tensor, "n_atoms 3"]
    energy_variance: Float[Tensor, " n_copies"]
    force_variance: Float[Tensor, " n_copies"]
    bias: Float[Tensor, " n_copies"]
    status: Int[Tensor, " n_copies"]
    atom_variance: Float[Tensor, " n_atoms"]
    stress: Float[Tensor, "n_copies 3 3"]


@runtime_checkable
class Criterion(Protocol):
    """A criterion for the failure of replicas. A plain function will do.

    One that needs distances has an attribute ``reach``, in Å, and gets edges at least that long.
    """

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """True for the replicas whose trajectory ends here; no host synchronisation."""


Look: TypeAlias = Callable[[Tensor, Tensor], Observation]
"""Function from positions and cells to the observation of every replica."""


class Bath(NamedTuple):
    """State of the thermostat and the barostat of every replica.

    Attributes:
        positions: Positions of the links of chains, dimensionless: first those of the atoms, then those of the cell.
        velocities: Velocities of the links, in 1/fs.
        energy: Energy taken from the replica, in eV; its sum with the replica's own energy is conserved.
        strain_rate: Rate at which the cell is strained, symmetric, in 1/fs; zero where cells do not move.
    """

    positions: Float[Tensor, "n_copies n_links"]
    velocities: Float[Tensor, "n_copies n_links"]
    energy: Float[Tensor, " n_copies"]
    strain_rate: Float[Tensor, "n_copies 3 3"]


class Phase(NamedTuple):
    """All replicas in phase space, with energies and forces.

    Attributes:
        positions: Positions in Å, never wrapped into a cell.
        velocities: Velocities in Å/fs; where cells move, those relative to the cell.
        seen: Energies and forces at these positions.
        bath: State of the thermostats and barostats.
        cells: Lattice vectors as rows, in Å.
    """

    positions: Float[Tensor, "n_atoms 3"]
    velocities: Float[Tensor, "n_atoms 3"]
    seen: Observation
    bath: Bath
    cells: Float[Tensor, "n_copies 3 3"]


def pick(
    chosen: Bool[Tensor, " n_copies"], structure_index: Int[Tensor, " n_atoms"], one: Phase, other: Phase
) -> Phase:
    """The first phase for the chosen replicas, the second for the rest.

    Args:
        chosen: Replicas.
        structure_index: Replica of each atom.
        one: Phase of the chosen.
        other: Phase of the rest.
    """
    of_atoms, links, matrices = chosen[structure_index], chosen.unsqueeze(-1), chosen[:, None, None]
    atoms = of_atoms.unsqueeze(-1)
    rows = {"forces": atoms, "atom_variance": of_atoms, "stress": matrices}
    seen = {
        name: torch.where(rows.get(name, chosen), value, getattr(other.seen, name))
        for name, value in one.seen._asdict().items()
    }
    return Phase(
        positions=torch.where(atoms, one.positions, other.positions),
        velocities=torch.where(atoms, one.velocities, other.velocities),
        seen=Observation(**seen),
        bath=Bath(
            positions=torch.where(links, one.bath.positions, other.bath.positions),
            velocities=torch.where(links, one.bath.velocities, other.bath.velocities),
            energy=torch.where(chosen, one.bath.energy, other.bath.energy),
            strain_rate=torch.where(matrices, one.bath.strain_rate, other.bath.strain_rate),
        ),
        cells=torch.where(matrices, one.cells, other.cells),
    )
