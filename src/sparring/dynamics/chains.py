r"""Chains of thermostats (Nosé-Hoover), for the atoms of a replica or for its cell.

Martyna, Tuckerman, Tobias and Klein (1996), doi:10.1080/00268979600100761. With f degrees of freedom of kinetic energy
K, the first of the links :math:`\eta_j` is driven by K and each further one by the link before it,

.. math:: Q_1 \ddot\eta_1 = 2K - f kT - Q_1 \dot\eta_1 \dot\eta_2, \quad
          Q_j \ddot\eta_j = Q_{j-1} \dot\eta_{j-1}^2 - kT - Q_j \dot\eta_j \dot\eta_{j+1}, \quad
          Q_1 = f kT \tau^2, \; Q_j = kT \tau^2

while all momenta change by :math:`\dot p = -\dot\eta_1 p`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Chain", "chain_energy", "chain_step"]

_CUBE_ROOT = 2 ** (1 / 3)
SUZUKI_YOSHIDA = (1 / (2 - _CUBE_ROOT), -_CUBE_ROOT / (2 - _CUBE_ROOT), 1 / (2 - _CUBE_ROOT))
"""Weights that make three sub-steps of second order one of fourth (Yoshida 1990, doi:10.1016/0375-9601(90)90092-3)."""


class Chain(NamedTuple):
    """Positions (dimensionless) and velocities (1/fs) of the links of the chain of every replica."""

    positions: Float[Tensor, "n_copies n_links"]
    velocities: Float[Tensor, "n_copies n_links"]


def chain_step(
    chain: Chain,
    *,
    twice_kinetic: Float[Tensor, " n_copies"],
    degrees: Float[Tensor, " n_copies"],
    kT: Float[Tensor, " n_copies"],
    time_constant: float,
    timestep: float,
) -> tuple[Chain, Float[Tensor, " n_copies"]]:
    r"""The chains a time step later, and the factors of the momenta that they drive.

    Args:
        chain: Chains.
        twice_kinetic: 2K in eV.
        degrees: Degrees of freedom f.
        kT: Thermal energy in eV.
        time_constant: :math:`\tau` in fs.
        timestep: Time step in fs.
    """
    energies, masses = _constants(chain, degrees, kT, time_constant)
    positions, speeds = list(chain.positions.unbind(-1)), list(chain.velocities.unbind(-1))
    links = range(len(speeds))
    scale = torch.ones_like(twice_kinetic)
    for weight in SUZUKI_YOSHIDA:
        duration = weight * timestep
        for link in reversed(links):
            speeds[link] = _driven(link, twice_kinetic, speeds, masses, energies, duration / 2)
        positions = [position + duration * speed for position, speed in zip(positions, speeds, strict=True)]
        slowed = torch.exp(-duration * speeds[0])
        scale, twice_kinetic = scale * slowed, twice_kinetic * slowed.square()
        for link in links:
            speeds[link] = _driven(link, twice_kinetic, speeds, masses, energies, duration / 2)
    return Chain(torch.stack(positions, -1), torch.stack(speeds, -1)), scale


def chain_energy(
    chain: Chain, *, degrees: Float[Tensor, " n_copies"], kT: Float[Tensor, " n_copies"], time_constant: float
) -> Float[Tensor, " n_copies"]:
    r"""Energy that chains took, :math:`\sum_j Q_j \dot\eta_j^2 / 2 + f kT \eta_1 + \sum_{j>1} kT \eta_j`, in eV."""
    energies, masses = _constants(chain, degrees, kT, time_constant)
    terms = zip(masses, chain.velocities.unbind(-1), energies, chain.positions.unbind(-1), strict=True)
    return torch.as_tensor(
        sum(mass * speed.square() / 2 + energy * position for mass, speed, energy, position in terms)
    )


def _constants(
    chain: Chain, degrees: Tensor, kT: Tensor, time_constant: float
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Thermal energies and masses Q of the links."""
    energies = [degrees * kT, *[kT] * (chain.positions.shape[-1] - 1)]
    return energies, [energy * time_constant**2 for energy in energies]


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
