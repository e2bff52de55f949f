"""What moves and what is seen of it: the nouns of molecular dynamics, all copies of a batch at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple, Protocol, TypeAlias, runtime_checkable

import torch
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.support import philox
from sparring.uncertainty import sum_over_atoms
from sparring.units import AMU, kT

__all__ = ["Bath", "Criterion", "Look", "Observation", "Phase", "Status", "System", "observe", "pick"]


class Status(IntEnum):
    """How a trajectory ended; from CRITERION on, it was the criterion of that number that ended it."""

    FINISHED = 0
    NOT_FINITE = 1
    CRITERION = 2


class Observation(NamedTuple):
    """What the committee makes of every copy, in double precision.

    Attributes:
        energy: Mean energy of the members, in eV.
        forces: Mean forces of the members, in eV/Å.
        energy_variance: Disagreement about the energy, in eV²; zero for a single member.
        force_variance: Disagreement about the forces, in (eV/Å)²; zero for a single member.
        status: Whether this ends a trajectory, see :class:`Status`.
    """

    energy: Float[Tensor, " n_copies"]
    forces: Float[Tensor, "n_atoms 3"]
    energy_variance: Float[Tensor, " n_copies"]
    force_variance: Float[Tensor, " n_copies"]
    status: Int[Tensor, " n_copies"]


@runtime_checkable
class Criterion(Protocol):
    """Which copies have failed. A plain function will do.

    One that looks at distances says in an attribute ``reach`` how far, in Å, and finds edges at least that long.
    """

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """True for the copies whose trajectory ends here; no host synchronisation."""


Look: TypeAlias = Callable[[Tensor], Observation]
"""What is seen of every copy when its atoms are at given positions."""


class Bath(NamedTuple):
    """A thermostat's own state, for every copy.

    Attributes:
        positions: Of the links of a chain, without a unit.
        velocities: Of these links, in 1/fs.
        energy: What the thermostat has taken from the copy, in eV: with the copy's own energy it is conserved.
    """

    positions: Float[Tensor, "n_copies n_links"]
    velocities: Float[Tensor, "n_copies n_links"]
    energy: Float[Tensor, " n_copies"]


class Phase(NamedTuple):
    """Where all copies are in phase space, and what is seen of them there.

    Attributes:
        positions: In Å, never wrapped into a cell.
        velocities: In Å/fs.
        seen: Energies and forces at these positions.
        bath: The thermostats.
    """

    positions: Float[Tensor, "n_atoms 3"]
    velocities: Float[Tensor, "n_atoms 3"]
    seen: Observation
    bath: Bath


@dataclass(frozen=True, kw_only=True)
class System:
    """What stays the same while copies move.

    Attributes:
        structures: Where the copies started, in the precision of the committee; molecules have their edges.
        masses: In eV fs²/Å².
        degrees: Degrees of freedom of each copy: its coordinates, less those that are fixed, less the axes along which
            its centre of mass rests.
        temperature: Of each copy, in K.
        key: Names the random numbers of each copy.
        row: The place of an atom in its copy.
        copy: The place of each copy in the batch that dynamics began with.
        atom: The place of each atom in that batch.
        fixed_centre: Whether centres of mass rest, along axes along which no atom is fixed.
        reach: How long edges have to be, in Å; zero if nobody looks at them.
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
            structures=structures if structures.periodic or not reach else with_edges(structures, reach),
            masses=AMU * torch.as_tensor(atomic_masses, device=device).index_select(0, structures.atomic_numbers),
            degrees=_degrees(structures, fixed_centre),
            temperature=temperature.to(device),
            key=key.to(device),
            row=atom - (counts.cumsum(0) - counts)[index],
            copy=torch.arange(len(counts), device=device),
            atom=atom,
            fixed_centre=fixed_centre,
            reach=reach,
        )

    @property
    def index(self) -> Int[Tensor, " n_atoms"]:
        """To which copy each atom belongs."""
        return self.structures.structure_index

    @property
    def n_copies(self) -> int:
        """How many copies move."""
        return self.structures.n_structures

    @property
    def kT(self) -> Float[Tensor, " n_copies"]:
        """Thermal energy of each copy, in eV."""
        return kT(1.0) * self.temperature

    def of_atoms(self, values: Float[Tensor, " n_copies"]) -> Float[Tensor, "n_atoms 1"]:
        """What belongs to a copy, for each of its atoms."""
        return values.index_select(0, self.index).unsqueeze(-1)

    def at(self, positions: Float[Tensor, "n_atoms 3"]) -> Structures:
        """The copies elsewhere, with the edges that committee and criteria need."""
        structures = self.structures.with_positions(positions.to(self.structures.positions.dtype))
        return with_edges(structures, self.reach) if self.reach else structures

    def kinetic_energy(self, velocities: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, " n_copies"]:
        r"""Kinetic energy :math:`K = \sum_i m_i v_i^2 / 2` of each copy, in eV."""
        return sum_over_atoms(self.masses * velocities.square().sum(-1) / 2, self.index, self.n_copies)

    def thermal(self, *, stream: int, step: int) -> Float[Tensor, "n_atoms 3"]:
        r"""Velocities of Maxwell and Boltzmann, :math:`v \sim N(0, kT/m)`, in Å/fs.

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
            drift = torch.where(_held_axes(self.structures).index_select(0, self.index), 0.0, drift)
        return velocities - drift

    def finite(self, values: Float[Tensor, "n_atoms 3"]) -> Bool[Tensor, " n_copies"]:
        """Whether all values of a copy's atoms are finite."""
        bad = (~torch.isfinite(values)).any(-1).long()
        return bad.new_zeros(self.n_copies).index_add(0, self.index, bad) == 0

    def take(self, copies: Int[Tensor, " n_taken"], atoms: Int[Tensor, " n_atoms_taken"]) -> "System":
        """Some of the copies, and the atoms that are theirs."""
        structures = self.structures.take(copies)
        return replace(
            self,
            structures=with_edges(structures, self.reach)
            if self.reach and not self.structures.periodic
            else structures,
            **{name: getattr(self, name)[copies] for name in ("degrees", "temperature", "key", "copy")},
            **{name: getattr(self, name)[atoms] for name in ("masses", "row", "atom")},
        )


def _held_axes(structures: Structures) -> Bool[Tensor, "n_copies 3"]:
    """Along which axes an atom of a copy is fixed: its momentum is not conserved there, and its centre cannot rest."""
    assert structures.fixed is not None
    counts = structures.positions.new_zeros(structures.n_structures, 3)
    return counts.index_add(0, structures.structure_index, structures.fixed.to(counts)) > 0


def _degrees(structures: Structures, fixed_centre: bool) -> Float[Tensor, " n_copies"]:
    """Degrees of freedom of each copy."""
    degrees = 3 * structures.counts
    if structures.fixed is None:
        return (degrees - 3 * fixed_centre).double()
    n_fixed = sum_over_atoms(structures.fixed.sum(-1).double(), structures.structure_index, structures.n_structures)
    return degrees.double() - n_fixed - fixed_centre * (~_held_axes(structures)).sum(-1).double()


def observe(
    committee: Committee, system: System, criteria: Sequence[Criterion], positions: Float[Tensor, "n_atoms 3"]
) -> Observation:
    """What the committee makes of the copies at these positions, and whose trajectory that ends."""
    fine = system.finite(positions)
    # No list of neighbours takes coordinates that are not finite: such a copy is looked at where it started.
    start = system.structures.positions.double()
    structures = system.at(torch.where(fine[system.index].unsqueeze(-1), positions, start))
    # What the committee knows is checked before the first step: to ask again would make the host wait.
    summary = committee.without_domain().predict(structures, differentiable=False).summary(system.index)
    fine = fine & torch.isfinite(summary.energy) & system.finite(summary.forces)
    seen = Observation(
        **summary._asdict(),
        status=torch.where(fine, int(Status.FINISHED), int(Status.NOT_FINITE)),
    )
    status = seen.status
    for number, criterion in enumerate(criteria):
        ends = criterion(structures, seen) & (status == Status.FINISHED)
        status = torch.where(ends, Status.CRITERION + number, status)
    return seen._replace(status=status)


def pick(chosen: Bool[Tensor, " n_copies"], system: System, one: Phase, other: Phase) -> Phase:
    """One phase for the copies that are chosen, the other for the rest."""
    atoms, links = chosen[system.index].unsqueeze(-1), chosen.unsqueeze(-1)
    seen = {
        name: torch.where(atoms if name == "forces" else chosen, value, getattr(other.seen, name))
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
