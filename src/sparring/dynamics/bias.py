r"""Biases that drive replicas to structures on which the members of a committee disagree.

A bias is an energy that depends on the variance of the energies of the members, and is added to their mean:

.. math:: E_{b} = \bar E + b(\sigma_E^2), \quad
          F_{b} = \bar F - \frac{\partial b}{\partial \sigma_E^2} \, \nabla \sigma_E^2, \quad
          \nabla \sigma_E^2 = -\frac{2}{M - 1} \sum_m (E_m - \bar E) \, (F_m - \bar F)

so that a step takes no more than the energies and forces of the members, as one without bias does.

=======================  =======================================
:math:`M`                number of members
:math:`E_m, F_m`         energy and forces of member m
:math:`\sigma_E^2`       variance of the energies (Eq. 5)
=======================  =======================================
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring import uncertainty
from sparring.atoms.memory import held_bytes, how_many_fit
from sparring.atoms.structures import Structures
from sparring.committee import Committee, Prediction

__all__ = ["HAL", "UDD", "Bias", "BiasOfReplicas", "bias_of", "bias_strength", "variance_gradient"]

LEAST_SIGMA = 1e-6
"""Uncertainty in eV that is added in quadrature, so that the bias has a gradient where members agree."""


@runtime_checkable
class Bias(Protocol):
    """An energy that depends on the uncertainty of a committee. A plain function will do."""

    def __call__(
        self, energy_variance: Float[Tensor, " n_copies"], n_atoms: Int[Tensor, " n_copies"]
    ) -> Float[Tensor, " n_copies"]:
        """The bias of each replica in eV, differentiable; no host synchronisation.

        Args:
            energy_variance: Variance of the energies of the members, in eV².
            n_atoms: Number of atoms of each replica.
        """


@dataclass(frozen=True, kw_only=True)
class HAL:
    r"""A slope along the uncertainty: hyperactive learning, van der Oord et al. (2023), arXiv:2210.04225.

    .. math:: b = -\tau \sigma_E

    Attributes:
        tau: :math:`\tau`, without a unit; see :func:`bias_strength` for one that fits the forces.

    Raises:
        ValueError: If it is negative or not finite.
    """

    tau: float

    def __post_init__(self) -> None:
        """Check the strength."""
        if not 0 <= self.tau < float("inf"):
            raise ValueError(f"the strength of a bias is finite and not negative, got tau = {self.tau}")

    def __call__(
        self, energy_variance: Float[Tensor, " n_copies"], n_atoms: Int[Tensor, " n_copies"]
    ) -> Float[Tensor, " n_copies"]:
        """The bias of each replica in eV."""
        return -self.tau * sigma(energy_variance)


@dataclass(frozen=True, kw_only=True)
class UDD:
    r"""A hill where members agree, which flattens out where they do not: uncertainty-driven dynamics.

    .. math:: b = A \left[ \exp\!\left(-\frac{\sigma_E^2}{2 n B^2}\right) - 1 \right]

    Kulichenko et al. (2023), doi:10.1038/s43588-023-00406-5, with n atoms; the paper has the sum of squares over the M
    members divided by 2M, which is (M - 1)/M times the half of :math:`\sigma_E^2`. The bias force ends where the
    uncertainty is far beyond the width, unlike that of :class:`HAL`.

    Attributes:
        height: A in eV.
        width: B in eV, an uncertainty per square root of the number of atoms.

    Raises:
        ValueError: If one of them is not positive.
    """

    height: float
    width: float

    def __post_init__(self) -> None:
        """Check height and width."""
        if not (0 < self.height < float("inf") and 0 < self.width < float("inf")):
            raise ValueError(f"need height > 0 and width > 0, got {self.height} eV and {self.width} eV")

    def __call__(
        self, energy_variance: Float[Tensor, " n_copies"], n_atoms: Int[Tensor, " n_copies"]
    ) -> Float[Tensor, " n_copies"]:
        """The bias of each replica in eV."""
        return self.height * torch.expm1(-energy_variance / (2 * n_atoms * self.width**2))


class BiasOfReplicas(NamedTuple):
    """Energies in eV, forces in eV/Å and, if needed, stresses in eV/Å³ that a bias adds to the means of a committee."""

    energy: Float[Tensor, " n_copies"]
    forces: Float[Tensor, "n_atoms 3"]
    stress: Float[Tensor, "n_copies 3 3"] | None


def sigma(energy_variance: Float[Tensor, " n_copies"]) -> Float[Tensor, " n_copies"]:
    """The uncertainty of energies in eV, smooth also where members agree."""
    return (energy_variance + LEAST_SIGMA**2).sqrt()


def bias_of(
    bias: Bias, prediction: Prediction, structure_index: Int[Tensor, " n_atoms"], n_atoms: Int[Tensor, " n_copies"]
) -> BiasOfReplicas:
    """Energies, forces and, where the prediction has them, stresses of a bias, in double precision.

    No host synchronisation.

    Args:
        bias: Bias.
        prediction: Predictions of several members.
        structure_index: Replica of each atom.
        n_atoms: Number of atoms of each replica.
    """
    with torch.enable_grad():
        variance = uncertainty.energy_variance(prediction.energy.detach().double()).requires_grad_()
        energy = bias(variance, n_atoms)
        (slope,) = torch.autograd.grad(energy.sum(), variance)
    gradient = variance_gradient(prediction, structure_index)
    forces = -slope.index_select(0, structure_index).unsqueeze(-1) * gradient
    if prediction.stress is None:
        return BiasOfReplicas(energy.detach(), forces, None)
    # The stress is the derivative of an energy in the strain, as the force is minus that in the positions.
    stress, members = prediction.stress.detach().double(), prediction.energy.detach().double()
    deviation = (members - members.mean(0))[..., None, None]
    of_variance = 2 / (len(members) - 1) * (deviation * (stress - stress.mean(0))).sum(0)
    return BiasOfReplicas(energy.detach(), forces, slope[:, None, None] * of_variance)


def variance_gradient(prediction: Prediction, structure_index: Int[Tensor, " n_atoms"]) -> Float[Tensor, "n_atoms 3"]:
    r"""Gradient of the variance of energies in the positions, in eV²/Å, from the energies and forces of the members.

    .. math:: \nabla \sigma_E^2 = -\frac{2}{M - 1} \sum_m (E_m - \bar E) \, (F_m - \bar F)
    """
    energy, forces = prediction.energy.detach().double(), prediction.forces.detach().double()
    deviation = (energy - energy.mean(0)).index_select(1, structure_index).unsqueeze(-1)
    return -2 / (len(energy) - 1) * (deviation * (forces - forces.mean(0))).sum(0)


def bias_strength(
    committee: Committee, structures: Structures, *, relative: float, max_memory: float | None = 4e9
) -> float:
    r"""The strength of :class:`HAL` that makes its forces a share of the mean forces.

    .. math:: \tau = \tau_{rel} \, \frac{\langle |\bar F| \rangle}{\langle |\nabla \sigma_E| \rangle}

    with means over all atoms of all structures. The paper adapts :math:`\tau` on the way; here it is one number for a
    simulation, so that the biased energy is conserved.

    Args:
        committee: Committee of several members.
        structures: Structures of dynamics without bias.
        relative: :math:`\tau_{rel}`, between 0.05 and 0.3 as a rule.
        max_memory: Bytes to take at a time; None for no limit.

    Raises:
        ValueError: If the members agree on all structures.
    """
    committee, n = committee.without_domain(), structures.n_structures

    def lengths(some: Structures) -> Float[Tensor, "2 n_atoms"]:
        """Lengths of the mean force and of the gradient of the uncertainty at each atom."""
        some = committee.prepare(some)
        prediction = committee.predict(some, differentiable=False)
        of_sigma = sigma(uncertainty.energy_variance(prediction.energy.double()))
        gradient = variance_gradient(prediction, some.structure_index)
        gradient = gradient / (2 * of_sigma.index_select(0, some.structure_index).unsqueeze(-1))
        return torch.stack([prediction.forces.double().mean(0).norm(dim=-1), gradient.norm(dim=-1)])

    size = how_many_fit(structures, lambda some: held_bytes(lambda: lengths(some)), max_memory)
    chunks = [lengths(structures.take(range(k, min(k + size, n)))) for k in range(0, n, size)]
    mean, of_sigma = torch.cat(chunks, dim=1).mean(1).tolist()
    if not of_sigma > 0:
        raise ValueError("the members agree on all structures: there is no uncertainty to bias the dynamics with")
    return float(relative * mean / of_sigma)
