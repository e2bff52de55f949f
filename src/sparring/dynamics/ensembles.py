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
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from sparring import units
from sparring.dynamics.system import Bath, Look, Phase, System

__all__ = [
    "ENSEMBLES",
    "FRICTION",
    "NVE",
    "TIME_CONSTANT",
    "Ensemble",
    "Langevin",
    "NoseHooverChain",
    "Temperature",
    "ensemble_of",
    "per_copy",
]

ENSEMBLES = ("nose_hoover", "langevin", "nve")
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

    def bath(self, system: System) -> Bath:
        """The thermostats before the first step."""

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """All replicas one time step later; no host synchronisation.

        Args:
            phase: Positions, velocities and forces.
            system: Constants of the replicas.
            look: Function that evaluates energies and forces at new positions.
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
    links = system.temperature.new_zeros(system.n_copies, 0)
    return Bath(links, links, torch.zeros_like(system.temperature))


@dataclass(frozen=True)
class NVE:
    """Constant energy: B A B, velocity Verlet (Swope et al. 1982, doi:10.1063/1.442716).

    Attributes:
        temperature: Temperature of the initial velocities in K; there is no thermostat.
    """

    temperature: Temperature = 0.0

    def bath(self, system: System) -> Bath:
        """No thermostat."""
        return no_bath(system)

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        phase = drift(kick(phase, system, timestep / 2), timestep)
        phase = phase._replace(seen=look(phase.positions))
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
        phase = phase._replace(seen=look(phase.positions))
        return kick(phase, system, timestep / 2)

    def _relax(self, phase: Phase, system: System, timestep: float, step: int) -> Phase:
        """O, and the heat that it takes from the replicas."""
        kept = math.exp(-self.friction * timestep)
        noise = math.sqrt(-math.expm1(-2 * self.friction * timestep)) * system.thermal(stream=NOISE, step=step)
        velocities = kept * phase.velocities + noise
        heat = system.kinetic_energy(phase.velocities) - system.kinetic_energy(velocities)
        return phase._replace(velocities=velocities, bath=phase.bath._replace(energy=phase.bath.energy + heat))


_CUBE_ROOT = 2 ** (1 / 3)
SUZUKI_YOSHIDA = (1 / (2 - _CUBE_ROOT), -_CUBE_ROOT / (2 - _CUBE_ROOT), 1 / (2 - _CUBE_ROOT))
"""Weights that make three sub-steps of second order one of fourth (Yoshida 1990, doi:10.1016/0375-9601(90)90092-3)."""


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
        if bool((system.temperature == 0).any()):
            raise ValueError("a Nosé-Hoover chain needs temperatures above 0 K; Langevin and NVE take 0 K")
        links = system.temperature.new_zeros(system.n_copies, self.n_links)
        return Bath(links, links, torch.zeros_like(system.temperature))

    def step(self, phase: Phase, system: System, look: Look, *, timestep: float, step: int) -> Phase:
        """One time step."""
        phase = self._thermalise(phase, system, timestep / 2)
        phase = drift(kick(phase, system, timestep / 2), timestep)
        phase = phase._replace(seen=look(phase.positions))
        return self._thermalise(kick(phase, system, timestep / 2), system, timestep / 2)

    def _thermalise(self, phase: Phase, system: System, timestep: float) -> Phase:
        """N for a time step."""
        kT = system.kT
        energies = [system.degrees * kT, *[kT] * (self.n_links - 1)]
        masses = [energy * self.time_constant**2 for energy in energies]
        positions, speeds = list(phase.bath.positions.unbind(-1)), list(phase.bath.velocities.unbind(-1))
        twice_kinetic = 2 * system.kinetic_energy(phase.velocities)
        scale = torch.ones_like(twice_kinetic)
        for weight in SUZUKI_YOSHIDA:
            duration = weight * timestep
            for link in reversed(range(self.n_links)):
                speeds[link] = _driven(link, twice_kinetic, speeds, masses, energies, duration / 2)
            positions = [position + duration * speed for position, speed in zip(positions, speeds, strict=True)]
            slowed = torch.exp(-duration * speeds[0])
            scale, twice_kinetic = scale * slowed, twice_kinetic * slowed.square()
            for link in range(self.n_links):
                speeds[link] = _driven(link, twice_kinetic, speeds, masses, energies, duration / 2)
        terms = zip(masses, speeds, energies, positions, strict=True)
        energy = sum(mass * speed.square() / 2 + energy * position for mass, speed, energy, position in terms)
        return phase._replace(
            velocities=phase.velocities * system.of_atoms(scale),
            bath=Bath(torch.stack(positions, -1), torch.stack(speeds, -1), torch.as_tensor(energy)),
        )


def _driven(
    link: int,
    twice_kinetic: Tensor,
    speeds: Sequence[Tensor],
    masses: Sequence[Tensor],
    energies: Sequence[Tensor],
    duration: float,
) -> Tensor:
    """The speed of a link, driven by the link before it in the chain and damped by the link behind it."""
    driving = twice_kinetic if link == 0 else masses[link - 1] * speeds[link - 1].square()
    damping = torch.exp(-duration / 2 * speeds[link + 1]) if link + 1 < len(speeds) else 1.0
    return (speeds[link] * damping + duration * (driving - energies[link]) / masses[link]) * damping


def ensemble_of(kind: str, temperature: Temperature, *, friction: float, time_constant: float) -> Ensemble:
    """An ensemble by its name; arguments of the others are ignored.

    Raises:
        ValueError: If the name is unknown.
    """
    match kind:
        case "nose_hoover":
            return NoseHooverChain(temperature, time_constant)
        case "langevin":
            return Langevin(temperature, friction)
        case "nve":
            return NVE(temperature)
    raise ValueError(f"unknown ensemble {kind!r}; wanted one of {', '.join(ENSEMBLES)}")
