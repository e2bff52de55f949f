r"""Constant temperature and pressure: the equations of Martyna, Tobias and Klein, with chains on atoms and cell.

With velocities v relative to the cell, the rate of strain :math:`\nu` of the cell (symmetric, so that the cell does not
rotate), f degrees of freedom of the atoms, the external pressure P, the stress S and the volume V,

.. math::
    \dot r &= v + r \nu, \qquad \dot h = h \nu, \qquad
    \dot v = F / m - v \Big(\nu + \frac{\mathrm{tr}\,\nu}{f}\Big) - \dot\eta_1 v \\
    W \dot\nu &= \sum_i m_i v_i \otimes v_i - V S - P V + \frac{2K}{f} - \dot\xi_1 W \nu, \qquad
    W = \frac{f + 3}{3} kT \tau_b^2

:math:`\eta` and :math:`\xi` are two chains of thermostats (:mod:`sparring.dynamics.chains`): one for the f degrees of
freedom of the atoms, one for those of :math:`\nu`, 1 or 6. Where only the volume moves, :math:`\nu` is a third of its
trace times one, as is the right-hand side of its equation. Conserved is

.. math:: U + K + \frac{W}{2} \mathrm{tr}\,\nu^2 + P V + E_\eta + E_\xi

with the energies of the chains. Volumes have the distribution :math:`Z(V) e^{-P V/kT}`, where the partition function of
N atoms of an ideal gas is :math:`Z \sim V^{N - 1}` if the centre of mass rests, and :math:`V^N` if not.

A step is, in the letters of :mod:`sparring.dynamics.ensembles`, N P B A B P N, with both chains in N and the push of
the pressures on the cell in P; A and B are exact for a given :math:`\nu`, by series of exponentials of its matrix.

Martyna, Tobias and Klein (1994), doi:10.1063/1.467468; Martyna, Tuckerman, Tobias and Klein (1996),
doi:10.1080/00268979600100761, whose six degrees of freedom of a cell that does not rotate are used here.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.strain import volumes
from sparring.dynamics.chains import Chain, chain_energy, chain_step
from sparring.dynamics.ensembles import Temperature, bath_at_rest, require_warm
from sparring.dynamics.phase import Bath, Look, Phase
from sparring.dynamics.system import System
from sparring.units import quantity

__all__ = ["CELL_TIME_CONSTANT", "NPT", "PRESSURE", "inner_pressure"]

PRESSURE = quantity("1 bar", "pressure")
"""Default pressure in eV/Å³."""
CELL_TIME_CONSTANT = quantity("500 fs", "time")
"""Default time constant of the barostat in fs."""
TERMS = 12
"""Terms of the series of exponentials: exact to rounding where a step strains the cell by less than a half."""


@dataclass(frozen=True)
class NPT:
    r"""Constant temperature and pressure, deterministic and reversible (Martyna, Tobias and Klein).

    For crystals, liquids and other structures that are periodic in three directions, without fixed atoms.

    Attributes:
        temperature: Temperature in K, above zero.
        pressure: External pressure in eV/Å³; negative for tension. ``sparring.units.quantity("1 GPa")`` converts.
        isotropic: True to move the volume alone, False for all lengths and angles of the cell; liquids would flow.
        time_constant: Time constant of the chain of the atoms, in fs; some tens of time steps.
        cell_time_constant: :math:`\tau_b` of the cell and its chain, in fs; some hundreds of time steps. Stiff crystals
            oscillate faster: volumes with an angular frequency of :math:`\sqrt{9 B V / (f + 3) kT} / \tau_b`, where B
            is the bulk modulus.
        n_links: Length of the chains.

    Raises:
        ValueError: If the pressure is not finite, a time constant is not positive, or there is no link.
    """

    temperature: Temperature
    pressure: float = PRESSURE
    isotropic: bool = True
    time_constant: float = quantity("50 fs", "time")
    cell_time_constant: float = CELL_TIME_CONSTANT
    n_links: int = 3
    moves_cells: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not math.isfinite(self.pressure):
            raise ValueError(f"the pressure must be finite, got {self.pressure} eV/Å³")
        times = (self.time_constant, self.cell_time_constant)
        if not all(0 < one < math.inf for one in times) or self.n_links < 1:
            raise ValueError(
                f"need time_constant > 0, cell_time_constant > 0 and n_links >= 1, got {times[0]} fs, {times[1]} fs "
                f"and {self.n_links} links"
            )

    def bath(self, system: System) -> Bath:
        """Chains and cells at rest.

        Raises:
            ValueError: If a temperature is zero, a structure is not periodic in three directions, or atoms are fixed.
        """
        require_warm(system)
        _require_crystals(system)
        bath = bath_at_rest(system, 2 * self.n_links)
        return bath._replace(energy=self._energy(bath, system, system.structures.cells.double()))

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        half = timestep / 2
        phase = self._push(self._thermalise(phase, system, half), system, half)
        phase = _drift(_kick(phase, system, half), system, timestep)
        phase = phase._replace(seen=look(phase.positions, phase.cells))
        phase = self._push(_kick(phase, system, half), system, half)
        phase = self._thermalise(phase, system, half)
        return phase._replace(bath=phase.bath._replace(energy=self._energy(phase.bath, system, phase.cells)))

    def _thermalise(self, phase: Phase, system: System, timestep: float) -> Phase:
        """N: the chains of atoms and cells, for a time step."""
        bath, n = phase.bath, self.n_links
        twice_kinetic = 2 * system.kinetic_energy(phase.velocities)
        of_atoms, scale = chain_step(
            Chain(bath.positions[:, :n], bath.velocities[:, :n]),
            twice_kinetic=twice_kinetic,
            timestep=timestep,
            **self._for_atoms(system),
        )
        twice_kinetic = 2 * self._kinetic_energy(bath, system)
        of_cell, of_strain = chain_step(
            Chain(bath.positions[:, n:], bath.velocities[:, n:]),
            twice_kinetic=twice_kinetic,
            timestep=timestep,
            **self._for_cell(system),
        )
        return phase._replace(
            velocities=phase.velocities * system.of_atoms(scale),
            bath=bath._replace(
                positions=torch.cat([of_atoms.positions, of_cell.positions], -1),
                velocities=torch.cat([of_atoms.velocities, of_cell.velocities], -1),
                strain_rate=bath.strain_rate * of_strain[:, None, None],
            ),
        )

    def _push(self, phase: Phase, system: System, timestep: float) -> Phase:
        """P: the cells, pushed by the difference of the pressures for a time step."""
        volume, degrees = volumes(phase.cells), system.degrees
        virial = _virial(phase, system)
        trace = virial.diagonal(dim1=-2, dim2=-1).sum(-1)
        twice_kinetic = 2 * system.kinetic_energy(phase.velocities)
        if self.isotropic:
            virial = _times_one(trace / 3)
        force = virial + _times_one(twice_kinetic / degrees - self.pressure * volume)
        rate = phase.bath.strain_rate + timestep * force / self._mass(system)[:, None, None]
        return phase._replace(bath=phase.bath._replace(strain_rate=rate))

    def _mass(self, system: System) -> Float[Tensor, " n_copies"]:
        """Inertia W of the cells, in eV fs²."""
        return (system.degrees + 3) / 3 * system.kT * self.cell_time_constant**2

    def _kinetic_energy(self, bath: Bath, system: System) -> Float[Tensor, " n_copies"]:
        """Kinetic energy of the cells in eV."""
        return self._mass(system) * bath.strain_rate.square().sum((-2, -1)) / 2

    def _energy(self, bath: Bath, system: System, cells: Float[Tensor, "n_copies 3 3"]) -> Float[Tensor, " n_copies"]:
        """Energy of the barostat, of both chains and of the volume under the pressure, in eV."""
        n = self.n_links
        of_atoms = chain_energy(Chain(bath.positions[:, :n], bath.velocities[:, :n]), **self._for_atoms(system))
        of_cell = chain_energy(Chain(bath.positions[:, n:], bath.velocities[:, n:]), **self._for_cell(system))
        return self._kinetic_energy(bath, system) + self.pressure * volumes(cells) + of_atoms + of_cell

    def _for_atoms(self, system: System) -> dict[str, Any]:
        return {"degrees": system.degrees, "kT": system.kT, "time_constant": self.time_constant}

    def _for_cell(self, system: System) -> dict[str, Any]:
        degrees = torch.full_like(system.degrees, 1 if self.isotropic else 6)
        return {"degrees": degrees, "kT": system.kT, "time_constant": self.cell_time_constant}


def inner_pressure(phase: Phase, system: System) -> Float[Tensor, " n_copies"]:
    r"""Pressure of the replicas, :math:`(2K - V\,\mathrm{tr}\,S) / 3V`, in eV/Å³; NaN where stresses are not known."""
    return _virial(phase, system).diagonal(dim1=-2, dim2=-1).sum(-1) / (3 * volumes(phase.cells))


def _virial(phase: Phase, system: System) -> Float[Tensor, "n_copies 3 3"]:
    r"""Inner pressure times volume, :math:`\sum_i m_i v_i \otimes v_i - V S`, in eV."""
    each = system.masses[:, None, None] * phase.velocities.unsqueeze(-1) * phase.velocities.unsqueeze(-2)
    kinetic = each.new_zeros(system.n_copies, 3, 3).index_add(0, system.index, each)
    return kinetic - volumes(phase.cells)[:, None, None] * phase.seen.stress


def _kick(phase: Phase, system: System, timestep: float) -> Phase:
    """B: the velocities of the atoms, slowed as the cell grows, for a time step."""
    rate = phase.bath.strain_rate
    rate = -timestep * (rate + _times_one(rate.diagonal(dim1=-2, dim2=-1).sum(-1) / system.degrees))
    power, mean = _exponential(rate)
    gain = timestep * phase.seen.forces / system.masses.unsqueeze(-1)
    velocities = _times_matrix(phase.velocities, power, system) + _times_matrix(gain, mean, system)
    return phase._replace(velocities=velocities)


def _drift(phase: Phase, system: System, timestep: float) -> Phase:
    """A: positions and cells for a time step."""
    power, mean = _exponential(timestep * phase.bath.strain_rate)
    positions = _times_matrix(phase.positions, power, system) + timestep * _times_matrix(phase.velocities, mean, system)
    return phase._replace(positions=positions, cells=_product(phase.cells, power))


def _exponential(matrix: Float[Tensor, "n 3 3"]) -> tuple[Float[Tensor, "n 3 3"], Float[Tensor, "n 3 3"]]:
    r"""Series of :math:`e^A` and of its mean :math:`\int_0^1 e^{sA} ds`; no host synchronisation."""
    term = _times_one(torch.ones_like(matrix[:, 0, 0]))
    power, mean = term, term
    for order in range(1, TERMS + 1):
        term = _product(term, matrix) / order
        power, mean = power + term, mean + term / (order + 1)
    return power, mean


def _product(one: Float[Tensor, "n 3 3"], other: Float[Tensor, "n 3 3"]) -> Float[Tensor, "n 3 3"]:
    """Products of matrices, written out: the bits of a replica do not depend on the number of others."""
    terms = [one[:, :, k, None] * other[:, None, k, :] for k in range(3)]
    return terms[0] + terms[1] + terms[2]


def _times_matrix(
    vectors: Float[Tensor, "n_atoms 3"], matrices: Float[Tensor, "n_copies 3 3"], system: System
) -> Tensor:
    """Vectors of atoms times the matrix of their replica."""
    of_atoms = matrices.index_select(0, system.index)
    terms = [vectors[:, k, None] * of_atoms[:, k, :] for k in range(3)]
    return terms[0] + terms[1] + terms[2]


def _times_one(values: Float[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
    """Values times the identity."""
    return values[:, None, None] * torch.eye(3, dtype=values.dtype, device=values.device)


def _require_crystals(system: System) -> None:
    structures = system.structures
    if structures.fixed is not None and bool(structures.fixed.any()):
        raise ValueError(
            "constant pressure moves the cell with all that is in it, and fixed atoms could not stay; free all atoms, "
            "or use nose_hoover or langevin"
        )
    for index, periodic in enumerate((structures.pbc.all(1) & (volumes(structures.cells) > 0)).tolist()):
        if not periodic:
            along = "".join("FT"[one] for one in structures.pbc[index].tolist())
            raise ValueError(
                f"constant pressure needs structures that are periodic in three directions, and replica {index} is not "
                f"(pbc {along}); use nose_hoover or langevin for molecules, wires and slabs"
            )
