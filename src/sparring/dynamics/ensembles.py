r"""Equations of motion: one time step of all replicas.

Every step is a product of exactly solvable pieces (Trotter), written in the order in which they act:

==========================  ==========================================================================
:math:`r, v, F, m`          positions, velocities, mean forces of the committee, masses
:math:`h`                   time step
B                           :math:`v \to v + h F / 2m`
A                           :math:`r \to r + h v` (or h/2)
O                           :math:`v \to e^{-\gamma h} v + \sqrt{1 - e^{-2 \gamma h}} \sqrt{kT/m} \, \xi`
N                           :math:`e^{i L_{NHC} h / 2}`, the chain of thermostats
==========================  ==========================================================================
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sparring import units
from sparring.dynamics.chains import Chain, chain_energy, chain_step
from sparring.dynamics.phase import Bath, Look, Phase
from sparring.dynamics.system import System

__all__ = [
    "FRICTION",
    "NVE",
    "TIME_CONSTANT",
    "Ensemble",
    "Langevin",
    "NoseHooverChain",
    "Temperature",
    "per_copy",
    "require_warm",
]

FRICTION = units.quantity("10 1/ps", "rate")
"""Default friction of Langevin dynamics in 1/fs."""
TIME_CONSTANT = units.quantity("50 fs", "time")
"""Default time constant of a Nosé-Hoover chain in fs."""

Temperature: TypeAlias = float | Sequence[float] | Tensor
"""Temperature in K, one for all replicas or one for each."""

VELOCITIES, NOISE = range(2)
"""Streams of random numbers."""


def per_copy(temperature: Temperature, n_copies: int) -> Float[Tensor, " n_copies"]:
    """The temperature of each replica, in K.

    Raises:
        ValueError: If a temperature is negative or not finite, or there is neither one nor one for each replica.
    """
    values = torch.as_tensor(temperature, dtype=torch.float64, device="cpu").flatten()
    for one in values.tolist():
        units.kT(one)  # raises where that is no temperature
    if len(values) not in (1, n_copies):
        raise ValueError(f"need one temperature, or one for each of {n_copies} replicas, got {len(values)}")
    return values.expand(n_copies).clone()


@runtime_checkable
class Ensemble(Protocol):
    """An ensemble and its integrator."""

    @property
    def temperature(self) -> Temperature:
        """Temperature in K, one for all replicas or one for each."""

    @property
    def moves_cells(self) -> bool:
        """True for ensembles in which cells move, and stresses are needed."""

    def bath(self, system: System) -> Bath:
        """The thermostats before the first step."""

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """All replicas one time step later; no host synchronisation.

        Args:
            phase: Positions, velocities and forces.
            system: Constants of the replicas.
            look: Function that evaluates energies and forces at new positions, in given cells.
            timestep: Time step in fs.
            step: Number of this step, from 0, which selects the random numbers.
        """


def kick(phase: Phase, system: System, timestep: float) -> Phase:
    """B for a time step; forces on fixed atoms are zero."""
    forces = system.structures.on_free(phase.seen.forces)
    return phase._replace(velocities=phase.velocities + timestep * forces / system.masses.unsqueeze(-1))


def drift(phase: Phase, timestep: float) -> Phase:
    """A for a time step."""
    return phase._replace(positions=phase.positions + timestep * phase.velocities)


def no_bath(system: System) -> Bath:
    """A thermostat without a state of its own."""
    return bath_at_rest(system, 0)


def bath_at_rest(system: System, n_links: int) -> Bath:
    """Thermostats of some links at rest, and cells at rest."""
    links = system.temperature.new_zeros(system.n_copies, n_links)
    return Bath(links, links, torch.zeros_like(system.temperature), links.new_zeros(system.n_copies, 3, 3))


@dataclass(frozen=True)
class NVE:
    """Constant energy: B A B, velocity Verlet (Swope et al. 1982, doi:10.1063/1.442716).

    Attributes:
        temperature: Temperature of the initial velocities in K; there is no thermostat.
    """

    temperature: Temperature = 0.0
    moves_cells: ClassVar[bool] = False

    def bath(self, system: System) -> Bath:
        """No thermostat."""
        return no_bath(system)

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        phase = drift(kick(phase, system, timestep / 2), timestep)
        phase = phase._replace(seen=look(phase.positions, phase.cells))
        return kick(phase, system, timestep / 2)


@dataclass(frozen=True)
class Langevin:
    r"""Constant temperature by friction and noise: B A O A B.

    Leimkuhler and Matthews (2013), doi:10.1063/1.4802990. Of the splittings it is the one whose positions are closest
    to Boltzmann's distribution. The noise does not move centres of mass that are fixed.

    Attributes:
        temperature: Temperature in K.
        friction: Rate :math:`\gamma` in 1/fs.

    Raises:
        ValueError: If the friction is negative or not finite.
    """

    temperature: Temperature
    friction: float
    moves_cells: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the friction."""
        if not 0 <= self.friction < math.inf:
            raise ValueError(f"friction is a rate that is finite and not negative, got {self.friction} 1/fs")

    def bath(self, system: System) -> Bath:
        """The heat that has been exchanged, zero at first."""
        return no_bath(system)

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        phase = drift(kick(phase, system, timestep / 2), timestep / 2)
        phase = drift(self._relax(phase, system, timestep, step), timestep / 2)
        phase = phase._replace(seen=look(phase.positions, phase.cells))
        return kick(phase, system, timestep / 2)

    def _relax(self, phase: Phase, system: System, timestep: float, step: int) -> Phase:
        """O, and the heat that it takes from the replicas."""
        kept = math.exp(-self.friction * timestep)
        noise = math.sqrt(-math.expm1(-2 * self.friction * timestep)) * system.thermal(stream=NOISE, step=step)
        velocities = kept * phase.velocities + noise
        heat = system.kinetic_energy(phase.velocities) - system.kinetic_energy(velocities)
        return phase._replace(velocities=velocities, bath=phase.bath._replace(energy=phase.bath.energy + heat))


@dataclass(frozen=True)
class NoseHooverChain:
    r"""Constant temperature by a chain of thermostats, deterministic and reversible: N B A B N.

    Martyna, Tuckerman, Tobias and Klein (1996), doi:10.1080/00268979600100761. With f degrees of freedom, the first
    of the links :math:`\eta_j` is driven by the kinetic energy K and each further one by the link before it,

    .. math:: Q_1 \ddot\eta_1 = 2K - f kT - Q_1 \dot\eta_1 \dot\eta_2, \quad
              Q_j \ddot\eta_j = Q_{j-1} \dot\eta_{j-1}^2 - kT - Q_j \dot\eta_j \dot\eta_{j+1}, \quad
              Q_1 = f kT \tau^2, \; Q_j = kT \tau^2

    and :math:`U + K + \sum_j Q_j \dot\eta_j^2 / 2 + f kT \eta_1 + \sum_{j>1} kT \eta_j` is conserved.

    Attributes:
        temperature: Temperature in K, above zero.
        time_constant: :math:`\tau` in fs; some tens of time steps.
        n_links: Length of the chain; with one it is the thermostat of Nosé and Hoover.

    Raises:
        ValueError: If the time constant is not positive, or there is no link.
    """

    temperature: Temperature
    time_constant: float
    n_links: int = 3
    moves_cells: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Check the arguments."""
        if not 0 < self.time_constant < math.inf or self.n_links < 1:
            raise ValueError(
                f"need time_constant > 0 and n_links >= 1, got {self.time_constant} fs and {self.n_links} links"
            )

    def bath(self, system: System) -> Bath:
        """Chains at rest.

        Raises:
            ValueError: If a temperature is zero: the chain would have no inertia.
        """
        require_warm(system)
        return bath_at_rest(system, self.n_links)

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        phase = self._thermalise(phase, system, timestep / 2)
        phase = drift(kick(phase, system, timestep / 2), timestep)
        phase = phase._replace(seen=look(phase.positions, phase.cells))
        return self._thermalise(kick(phase, system, timestep / 2), system, timestep / 2)

    def _thermalise(self, phase: Phase, system: System, timestep: float) -> Phase:
        """N for a time step."""
        settings: dict[str, Any] = {"degrees": system.degrees, "kT": system.kT, "time_constant": self.time_constant}
        chain = Chain(phase.bath.positions, phase.bath.velocities)
        twice_kinetic = 2 * system.kinetic_energy(phase.velocities)
        chain, scale = chain_step(chain, twice_kinetic=twice_kinetic, timestep=timestep, **settings)
        return phase._replace(
            velocities=phase.velocities * system.of_atoms(scale),
            bath=phase.bath._replace(**chain._asdict(), energy=chain_energy(chain, **settings)),
        )


def require_warm(system: System) -> None:
    """Check that chains have an inertia.

    Raises:
        ValueError: If a temperature is zero.
    """
    if bool((system.temperature == 0).any()):
        raise ValueError("a Nosé-Hoover chain needs temperatures above 0 K; Langevin and NVE take 0 K")
