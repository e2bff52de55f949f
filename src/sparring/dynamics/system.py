"""Types of molecular dynamics, for all replicas of a batch at once, and the evaluation of a committee on them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList
from sparring.committee import Committee
from sparring.dynamics.bias import Bias, bias_of
from sparring.support import philox
from sparring.uncertainty import sum_over_atoms
from sparring.units import AMU, kT

__all__ = ["Bath", "Criterion", "Look", "Observation", "Phase", "Status", "System", "observe", "pick"]


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
    """

    energy: Float[Tensor, " n_copies"]
    forces: Float[Tensor, "n_atoms 3"]
    energy_variance: Float[Tensor, " n_copies"]
    force_variance: Float[Tensor, " n_copies"]
    bias: Float[Tensor, " n_copies"]
    status: Int[Tensor, " n_copies"]
    atom_variance: Float[Tensor, " n_atoms"]


@runtime_checkable
class Criterion(Protocol):
    """A criterion for the failure of replicas. A plain function will do.

    One that needs distances has an attribute ``reach``, in Å, and gets edges at least that long.
    """

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """True for the replicas whose trajectory ends here; no host synchronisation."""


Look: TypeAlias = Callable[[Tensor], Observation]
"""Function from positions to the observation of every replica."""


class Bath(NamedTuple):
    """State of the thermostat of every replica.

    Attributes:
        positions: Positions of the links of a chain, dimensionless.
        velocities: Velocities of the links, in 1/fs.
        energy: Energy taken from the replica, in eV; its sum with the replica's own energy is conserved.
    """

    positions: Float[Tensor, "n_copies n_links"]
    velocities: Float[Tensor, "n_copies n_links"]
    energy: Float[Tensor, " n_copies"]


class Phase(NamedTuple):
    """All replicas in phase space, with energies and forces.

    Attributes:
        positions: Positions in Å, never wrapped into a cell.
        velocities: Velocities in Å/fs.
        seen: Energies and forces at these positions.
        bath: State of the thermostats.
    """

    positions: Float[Tensor, "n_atoms 3"]
    velocities: Float[Tensor, "n_atoms 3"]
    seen: Observation
    bath: Bath


@dataclass(frozen=True, kw_only=True)
class System:
    """Everything that stays constant during dynamics.

    Attributes:
        structures: Starting geometries, in the precision of the committee.
        masses: Atomic masses in eV fs²/Å².
        degrees: Degrees of freedom of each replica: its coordinates, less those that are fixed, less the axes along
            which its centre of mass rests.
        temperature: Temperature of each replica, in K.
        key: Key of the random numbers of each replica.
        row: Index of each atom within its replica.
        copy: Index of each replica in the initial batch.
        atom: Index of each atom in the initial batch.
        fixed_centre: Flag for centres of mass at rest, along axes along which no atom is fixed.
        reach: Cutoff of the edges in Å; zero if none are needed.
        neighbors: Edges of the last positions, from which those of the next ones follow.
    """

    structures: Structures
    masses: Float[Tensor, " n_atoms"]
    degrees: Float[Tensor, " n_copies"]
    temperature: Float[Tensor, " n_copies"]
    key: Int[Tensor, " n_copies"]
    row: Int[Tensor, " n_atoms"]
    copy: Int[Tensor, " n_copies"]
    atom: Int[Tensor, " n_atoms"]
    fixed_centre: bool
    reach: float
    neighbors: NeighborList  # a cache: edges that are found anew lead to the same energies, but for the last bits

    @classmethod
    def of(
        cls,
        structures: Structures,
        *,
        temperature: Float[Tensor, " n_copies"],
        key: Int[Tensor, " n_copies"],
        fixed_centre: bool,
        reach: float,
    ) -> "System":
        """The system of some structures; masses are the standard atomic weights, 1 u for the dummy atom X."""
        index, counts = structures.structure_index, structures.counts
        device = index.device
        atom = torch.arange(structures.n_atoms, device=device)
        return cls(
            structures=structures,
            masses=AMU * torch.as_tensor(atomic_masses, device=device).index_select(0, structures.atomic_numbers),
            degrees=_degrees(structures, fixed_centre),
            temperature=temperature.to(device),
            key=key.to(device),
            row=atom - structures.first_atoms[index],
            copy=torch.arange(len(counts), device=device),
            atom=atom,
            fixed_centre=fixed_centre,
            reach=reach,
            neighbors=NeighborList(reach or 1.0),
        )

    @property
    def index(self) -> Int[Tensor, " n_atoms"]:
        """Index of the replica of each atom."""
        return self.structures.structure_index

    @property
    def n_copies(self) -> int:
        """Number of replicas."""
        return self.structures.n_structures

    @property
    def kT(self) -> Float[Tensor, " n_copies"]:
        """Thermal energy of each replica, in eV."""
        return kT(1.0) * self.temperature

    def of_atoms(self, values: Float[Tensor, " n_copies"]) -> Float[Tensor, "n_atoms 1"]:
        """Values of replicas, repeated for each of their atoms."""
        return values.index_select(0, self.index).unsqueeze(-1)

    def at(self, positions: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The replicas at other positions, with the edges that committee and criteria need."""
        structures = self.structures.with_positions(positions.to(self.structures.positions.dtype))
        return self.neighbors.update(structures) if self.reach else structures

    def kinetic_energy(self, velocities: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, " n_copies"]:
        r"""Kinetic energy :math:`K = \sum_i m_i v_i^2 / 2` of each replica, in eV."""
        return sum_over_atoms(self.masses * velocities.square().sum(-1) / 2, self.index, self.n_copies)

    def thermal(self, *, stream: int, step: int) -> Float[Tensor, "n_atoms 3"]:
        r"""Velocities of the Maxwell-Boltzmann distribution, :math:`v \sim N(0, kT/m)`, in Å/fs.

        Where centres of mass rest, the motion of the centre is taken out. The rest still is normal, with as many
        dimensions as there are degrees of freedom.
        """
        draw = philox.normals(self.key.index_select(0, self.index), self.row, stream=stream, step=step)
        velocities = self.structures.on_free(draw * (self.of_atoms(self.kT) / self.masses.unsqueeze(-1)).sqrt())
        if not self.fixed_centre:
            return velocities
        columns = (self.masses, *(self.masses.unsqueeze(-1) * velocities).unbind(-1))
        mass, *momentum = (sum_over_atoms(column, self.index, self.n_copies) for column in columns)
        drift = torch.cat([self.of_atoms(p / mass) for p in momentum], dim=-1)
        if self.structures.fixed is not None:
            drift = torch.where(_fixed_axes(self.structures).index_select(0, self.index), 0.0, drift)
        return velocities - drift

    def finite(self, values: Float[Tensor, "n_atoms 3"]) -> Bool[Tensor, " n_copies"]:
        """True for replicas whose atoms have finite values."""
        bad = (~torch.isfinite(values)).any(-1).long()
        return bad.new_zeros(self.n_copies).index_add(0, self.index, bad) == 0

    def take(self, copies: Int[Tensor, " n_taken"], atoms: Int[Tensor, " n_atoms_taken"]) -> "System":
        """Some of the replicas, and their atoms."""
        return replace(
            self,
            structures=self.structures.take(copies),
            neighbors=self.neighbors.take(copies),
            **{name: getattr(self, name)[copies] for name in ("degrees", "temperature", "key", "copy")},
            **{name: getattr(self, name)[atoms] for name in ("masses", "row", "atom")},
        )


def _fixed_axes(structures: Structures) -> Bool[Tensor, "n_copies 3"]:
    """Axes along which an atom is fixed: the momentum is not conserved there, and the centre of mass cannot rest."""
    assert structures.fixed is not None
    counts = structures.positions.new_zeros(structures.n_structures, 3)
    return counts.index_add(0, structures.structure_index, structures.fixed.to(counts)) > 0


def _degrees(structures: Structures, fixed_centre: bool) -> Float[Tensor, " n_copies"]:
    """Degrees of freedom of each replica."""
    degrees = 3 * structures.counts
    if structures.fixed is None:
        return (degrees - 3 * fixed_centre).double()
    n_fixed = sum_over_atoms(structures.fixed.sum(-1).double(), structures.structure_index, structures.n_structures)
    return degrees.double() - n_fixed - fixed_centre * (~_fixed_axes(structures)).sum(-1).double()


def observe(
    committee: Committee,
    system: System,
    criteria: Sequence[Criterion],
    bias: Bias | None,
    positions: Float[Tensor, "n_atoms 3"],
) -> Observation:
    """Predictions for the replicas at these positions, and the trajectories that end there."""
    fine = system.finite(positions)
    # Neighbour lists need finite coordinates: other replicas are evaluated at their starting positions.
    start = system.structures.positions.double()
    structures = system.at(torch.where(fine[system.index].unsqueeze(-1), positions, start))
    # The domain of the committee is checked before the first step; a check here would make the host wait.
    prediction = committee.without_domain().predict(structures, differentiable=False)
    summary = prediction.summary(system.index)
    added = torch.zeros_like(summary.energy)
    if bias is not None:
        added, forces = bias_of(bias, prediction, system.index, structures.counts)
        summary = summary._replace(forces=summary.forces + forces)
    fine = fine & torch.isfinite(summary.energy + added) & system.finite(summary.forces)
    seen = Observation(
        **{name: value for name, value in summary._asdict().items() if name in Observation._fields},
        bias=added,
        status=torch.where(fine, int(Status.FINISHED), int(Status.NOT_FINITE)),
    )
    status = seen.status
    for number, criterion in enumerate(criteria):
        ends = criterion(structures, seen) & (status == Status.FINISHED)
        status = torch.where(ends, Status.CRITERION + number, status)
    return seen._replace(status=status)


def pick(chosen: Bool[Tensor, " n_copies"], system: System, one: Phase, other: Phase) -> Phase:
    """The first phase for the chosen replicas, the second for the rest."""
    of_atoms, links = chosen[system.index], chosen.unsqueeze(-1)
    atoms = of_atoms.unsqueeze(-1)
    rows = {"forces": atoms, "atom_variance": of_atoms}
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
        ),
    )
