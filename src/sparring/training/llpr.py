r"""Last-layer prediction rigidity: an uncertainty from one trained potential (Bigi et al., arXiv:2403.02251).

A linear readout of the features f of a structure, whose weights are known from the rows of F, has the variance

.. math:: \sigma_E^2 = a^2 f^T (F^T F + z)^{-1} f, \qquad
    \sigma_{F,ij}^2 = a^2 \frac{\partial f^T}{\partial x_{ij}} (F^T F + z)^{-1} \frac{\partial f}{\partial x_{ij}}

F needs structures, no labels. The rows of the paper are features of structures; here the derivatives of features are
rows, too, unless ``force_weight`` is zero, since potentials are trained on forces.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from ase import Atoms
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.domain import TrainingDomain
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.heads.backbone import require_backbone
from sparring.training.heads import Residuals, committee_of, residuals_of
from sparring.training.readouts import precision, rows_of

__all__ = ["Posterior", "llpr"]

logger = logging.getLogger(__name__)

CONDITION = 1e8
"""Bound on the condition number of the precision matrix; features in single precision have no more digits."""
SHARE = 5
"""One structure in so many sets the scale."""
SAME = 1e-4
"""Differences in eV and eV/Å below which labels are taken for the predictions of the backbone itself."""


@dataclass(frozen=True, kw_only=True)
class Posterior:
    r"""Gaussian distribution of the weights of a readout, :math:`N(0, a^2 (F^T F + z)^{-1})`.

    Attributes:
        eigenvalues: Eigenvalues of :math:`F^T F`.
        eigenvectors: Eigenvectors of :math:`F^T F`, in columns.
        regularisation: z, the precision of weights about which no structure says anything.
        scale: a, in eV if the weights of the rows are 1.
    """

    eigenvalues: Float[Tensor, " n_features"]
    eigenvectors: Float[Tensor, "n_features n_features"]
    regularisation: float
    scale: float = 1.0

    @classmethod
    def of(
        cls,
        precision: Float[Tensor, "n_features n_features"],
        *,
        scale: float = 1.0,
        regularisation: float | None = None,
    ) -> "Posterior":
        """The distribution with this precision matrix.

        Args:
            precision: :math:`F^T F`.
            scale: a.
            regularisation: z; by default the smallest with which the condition number is at most ``CONDITION``.

        Raises:
            ValueError: If the scale or z is not positive, or the features are all zero.
        """
        eigenvalues, eigenvectors = torch.linalg.eigh(precision)
        eigenvalues = eigenvalues.clamp(min=0.0)
        largest = float(eigenvalues.max())
        if not (largest > 0 and math.isfinite(largest)):
            raise ValueError("the features of all structures are zero or not finite; is the backbone trained?")
        z = largest / CONDITION if regularisation is None else regularisation
        for name, value in (("scale", scale), ("regularisation", z)):
            if not (value > 0 and math.isfinite(value)):
                raise ValueError(f"the {name} must be positive, got {value}")
        return cls(eigenvalues=eigenvalues, eigenvectors=eigenvectors, regularisation=z, scale=scale)

    @property
    def root(self) -> Float[Tensor, "n_features n_features"]:
        """R with :math:`R R^T = a^2 (F^T F + z)^{-1}`."""
        return self.scale * self.eigenvectors * (self.eigenvalues + self.regularisation).rsqrt()

    def variance(self, rows: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch"]:
        """Variance of energies in eV² for features, or of force components in (eV/Å)² for their derivatives."""
        return (rows @ self.root.to(rows)).square().sum(-1)

    def members(self, n_members: int | None, generator: torch.Generator) -> Float[Tensor, "n_members n_features"]:
        r"""Weights of a committee: their mean is zero, and their covariance on average that of the posterior.

        With directions q that are random, orthonormal and K - 1 in number, and D features,

        .. math:: \frac{1}{K-1} \sum_k w_k w_k^T = \frac{D}{K-1} \sum_r (R q_r) (R q_r)^T

        whose expectation is :math:`R R^T`. Orthogonal directions have less noise than independent ones (Yu et al. 2016,
        arXiv:1610.09072), and none at all if there are D of them.

        Args:
            n_members: K, at least 2; None for D + 1, with which the covariance is that of the posterior.
            generator: Generator of random numbers.
        """
        n_features = len(self.eigenvalues)
        n_members = n_features + 1 if n_members is None else n_members
        if n_members < 2:
            raise ValueError(f"a committee has at least two members, got {n_members}")
        n_directions = min(n_members - 1, n_features)
        noise = torch.randn(n_features, n_directions, generator=generator, dtype=torch.float64)
        directions, triangle = torch.linalg.qr(noise)
        directions = directions * triangle.diagonal().sign()  # uniform over all rotations
        scale = math.sqrt(n_features / n_directions)
        weights: Tensor = scale * simplex(n_members)[:, :n_directions] @ (self.root @ directions).T
        return weights


def simplex(n_points: int) -> Float[Tensor, "n_points n_points_minus_one"]:
    """Points in n - 1 dimensions with zero mean and unit covariance: Helmert's contrasts, times sqrt(n - 1)."""
    k = torch.arange(1, n_points, dtype=torch.float64)
    row = torch.arange(n_points, dtype=torch.float64).unsqueeze(1)
    contrasts = torch.where(row < k, 1.0, torch.where(row == k, -k, 0.0))
    sizes: Tensor = ((n_points - 1) / (k * (k + 1))).sqrt()
    return contrasts * sizes


def llpr(
    backbone: nn.Module,
    structures: Structures | Dataset | Sequence[Atoms],
    *,
    n_members: int | None = 8,
    seed: int = 0,
    scale: float | None = None,
    regularisation: float | None = None,
    energy_weight: float = 1.0,
    force_weight: float = 1.0,
) -> Committee:
    r"""A committee from one potential, whose variance is its last-layer prediction rigidity (Bigi et al. 2024).

    Members are the backbone and linear readouts of its features, drawn from the distribution of the weights that the
    structures leave open (:class:`Posterior`). Their mean is the backbone, their variance on average

    .. math:: \sigma_E^2 = a^2 f^T (F^T F + z)^{-1} f

    and the same with the derivatives of f for forces. No labels are needed. Where there are some, they set a, and the
    energies of elements in which they differ from the backbone are added to it.

    Args:
        backbone: Potential with features: ACE, PaiNN, SchNet, a model of an adapter, or a module with
            ``energy_and_features``.
        structures: Structures that the backbone is taken to know, without labels or with: those it was trained on, or
            the like.
        n_members: Number of members; None for one more than there are features, whose variance is that of the equation.
        seed: Seed of the members, and of the choice of structures that set a.
        scale: a, in eV; by default that under which the labels of a fifth of the structures are most likely, with F of
            the others. Without labels it is 1, and variances have no absolute scale.
        regularisation: z; by default the smallest with which the condition number is at most 1e8.
        energy_weight: Weight of energies in F.
        force_weight: Weight of forces in F, relative to energies in Å².

    Raises:
        ValueError: If the backbone has no features or does not know an element, there are no structures, or an
            argument is out of range.
    """
    require_backbone(backbone)
    known = partial(precision, energy_weight=energy_weight, force_weight=force_weight)
    offsets = torch.zeros(N_ELEMENTS, dtype=torch.float64)
    if isinstance(structures, Dataset):
        parts, offsets = residuals_of(backbone, structures)
        rows = [part.rows for part in parts]
        scale = _calibrated(parts, len(structures), known, regularisation, seed) if scale is None else scale
    else:
        batch = structures if isinstance(structures, Structures) else Structures.from_atoms(list(structures))
        rows = list(rows_of(backbone, batch))
    if scale is None:
        logger.warning("no labels set the scale of the uncertainty, so that only its ratios have a meaning")
    posterior = Posterior.of(known(rows), scale=1.0 if scale is None else scale, regularisation=regularisation)
    weights = posterior.members(n_members, torch.Generator().manual_seed(seed))
    committee = committee_of(backbone, weights, offsets.expand(len(weights), -1))
    if committee.domain is not None:
        return committee
    elements = {number for part in rows for number in part.structures.atomic_numbers.tolist()}
    return committee.with_domain(TrainingDomain.of_elements(elements))


def _calibrated(
    parts: Sequence[Residuals],
    n_structures: int,
    known: Callable[..., Tensor],
    regularisation: float | None,
    seed: int,
) -> float | None:
    r"""The scale under which the labels of a fifth of the structures are most likely, with F of the others.

    .. math:: a^2 = \frac{1}{N} \sum_i \frac{\Delta_i^2}{\sigma_i^2 / a^2}

    with labels minus predictions :math:`\Delta_i` of N energies and forces.

    Returns:
        The scale, or None if there are too few labels, or labels are the predictions themselves.
    """
    order = torch.randperm(n_structures, generator=torch.Generator().manual_seed(seed))
    held_back = torch.zeros(n_structures, dtype=torch.float64)
    held_back[order[: n_structures // SHARE]] = 1.0
    if not held_back.any():
        return None
    others = known([part.rows for part in parts], weights=1 - held_back)
    posterior = Posterior.of(others, regularisation=regularisation)
    ratios, squares = [], []
    for part in parts:
        own = held_back[part.rows.indices].bool().to(part.energy.device)
        with_energies, with_forces = own & part.has_energy.bool(), own & part.has_forces.bool()
        for residuals, columns in (
            (part.energy[with_energies], part.rows.features[with_energies]),
            (part.forces[with_forces], part.rows.derivatives[with_forces]),
        ):
            seen = (columns != 0).any(-1)
            squares.append(residuals[seen].square())
            ratios.append(residuals[seen].square() / posterior.variance(columns[seen]))
    if float(torch.cat(squares).mean()) < SAME**2:
        return None
    return math.sqrt(float(torch.cat(ratios).mean()))
