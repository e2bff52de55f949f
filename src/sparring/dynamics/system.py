"""Constants of all replicas of a batch, and the evaluation of a committee on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.strain import volumes
from sparring.atoms.structures import Structures
from sparring.atoms.verlet import NeighborList
from sparring.committee import Committee
from sparring.dynamics.bias import Bias, bias_of
from sparring.dynamics.phase import Criterion, Observation, Status
from sparring.support import philox
from sparring.uncertainty import sum_over_atoms
from sparring.units import AMU, kT

__all__ = ["LARGEST_CHANGE", "System", "observe"]


LARGEST_CHANGE = 10.0
"""Factor by which the volume of a cell may change, up or down, before its trajectory ends as not finite."""


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

    def at(
        self, positions: Float[Tensor, "n_atoms 3"], cells: Float[Tensor, "n_copies 3 3"] | None = None
    ) -> Structures:
        """The replicas at other positions and, where they move, in other cells, with the edges that are needed."""
        structures = self.structures
        if cells is not None:
            structures = replace(structures, cells=cells.to(structures.cells.dtype))
        structures = structures.with_positions(positions.to(structures.positions.dtype))
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
    cells: Float[Tensor, "n_copies 3 3"],
    *,
    moving_cells: bool = False,
) -> Observation:
    """Predictions for the replicas at these positions and in these cells, and the trajectories that end there.

    Args:
        committee: Committee.
        system: Constants of the replicas.
        criteria: Criteria that end a trajectory.
        bias: Bias; None for none.
        positions: Positions in Å.
        cells: Lattice vectors in Å.
        moving_cells: Flag for cells that move, and stresses that are needed.
    """
    start, fine = system.structures, system.finite(positions)
    if moving_cells:
        fine = fine & _like_the_start(cells, start.cells.double())
        cells = torch.where(fine[:, None, None], cells, start.cells.double())
    # Neighbour lists need finite coordinates: other replicas are evaluated at their starting positions.
    positions = torch.where(fine[system.index].unsqueeze(-1), positions, start.positions.double())
    structures = system.at(positions, cells if moving_cells else None)
    # The domain of the committee is checked before the first step; a check here would make the host wait.
    prediction = committee.without_domain().predict(structures, differentiable=False, stress=moving_cells)
    summary = prediction.summary(system.index)
    added = torch.zeros_like(summary.energy)
    stress = torch.full_like(cells, torch.nan) if summary.stress is None else summary.stress
    if bias is not None:
        added, forces, of_bias = bias_of(bias, prediction, system.index, structures.counts)
        stress = stress if of_bias is None else stress + of_bias
        summary = summary._replace(forces=summary.forces + forces)
    fine = fine & torch.isfinite(summary.energy + added) & system.finite(summary.forces)
    if moving_cells:
        fine = fine & torch.isfinite(stress).flatten(1).all(1)
    of_members = ("energy", "forces", "energy_variance", "force_variance", "atom_variance")
    seen = Observation(
        **{name: getattr(summary, name) for name in of_members},
        stress=stress,
        bias=added,
        status=torch.where(fine, int(Status.FINISHED), int(Status.NOT_FINITE)),
    )
    status = seen.status
    for number, criterion in enumerate(criteria):
        ends = criterion(structures, seen) & (status == Status.FINISHED)
        status = torch.where(ends, Status.CRITERION + number, status)
    return seen._replace(status=status)


def _like_the_start(
    cells: Float[Tensor, "n_copies 3 3"], start: Float[Tensor, "n_copies 3 3"]
) -> Bool[Tensor, " n_copies"]:
    """True for cells that are finite, and whose volume is within a factor of that of the start.

    Lists of neighbours in others could be endless.
    """
    change = volumes(cells) / volumes(start)
    return torch.isfinite(cells).flatten(1).all(1) & (change > 1 / LARGEST_CHANGE) & (change < LARGEST_CHANGE)
