r"""Committees of heads: linear readouts of one backbone, fitted to labels in closed form.

A head adds :math:`w \cdot f + s \cdot n` to the energy of the backbone, with features f of a structure and energies s
of its elements, which occur n times. Head k is fitted to a bootstrap sample of the structures, A with a weight
:math:`c_{kA}`, and is drawn towards weights :math:`w_k^0` of its own:

.. math::
    \min_{w, s} \; \sum_A c_{kA} \Big( \alpha_E \big( \Delta E_A - w \cdot f_A - s \cdot n_A \big)^2
    + \alpha_F \sum_v \big( \Delta F_{Av} + w \cdot \tfrac{\partial f_A}{\partial v} \big)^2
    + \frac{\alpha_S}{n_A^2} \sum_\varepsilon \big( \Delta W_{A\varepsilon}
    - w \cdot \tfrac{\partial f_A}{\partial \varepsilon} \big)^2 \Big)
    + z \, \lVert w - w_k^0 \rVert^2

:math:`\Delta` is a label minus the backbone's prediction; virials W = V S are those of structures with a stress, along
six strains. Where there are no data a head keeps its :math:`w_k^0`, so
that heads disagree there (randomised prior functions: Osband et al. 2018, arXiv:1806.03335). These are drawn from the
prior :math:`N(0, \sigma^2 / z)`; noise :math:`\sigma^2` and z are those that make the labels most likely (MacKay 1992,
doi:10.1162/neco.1992.4.3.415), unless z is given.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.domain import TrainingDomain
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.heads.backbone import require_backbone
from sparring.potentials.heads.head import Head
from sparring.training.minibatches import virials_of
from sparring.training.readouts import Rows, along_strains, rows_of
from sparring.training.references import reference_energies

__all__ = ["Residuals", "committee_of", "fit_heads", "residuals_of"]

logger = logging.getLogger(__name__)

GRID = torch.logspace(-12, 2, 57, dtype=torch.float64)
"""Values of z that are tried, relative to the largest eigenvalue of the precision matrix."""


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Rows of the linear model for some labelled structures, and labels minus the backbone's predictions.

    Attributes:
        rows: Rows of the model.
        energy: Differences of energies in eV, without those of the elements.
        forces: Differences of forces along the directions of the rows, in eV/Å.
        has_forces: One for a structure with forces, zero without.
        has_energy: One for a structure whose energy counts, zero for others.
        counts: Number of atoms of each element.
        virials: Differences of virials in eV along six strains; None if no structure has a stress.
        virial_weight: 1 / n² for a structure of n atoms with a stress, zero without.
    """

    rows: Rows
    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_structures n_directions"]
    has_forces: Float[Tensor, " n_structures"]
    has_energy: Float[Tensor, " n_structures"]
    virials: Float[Tensor, "n_structures 6"] | None = None
    virial_weight: Float[Tensor, " n_structures"] | None = None
    counts: Float[Tensor, "n_structures n_elements"]


def residuals_of(backbone: nn.Module, dataset: Dataset) -> tuple[list[Residuals], Float[Tensor, " n_elements"]]:
    """Labels minus the backbone's predictions, and the energies of elements, in eV, that they have in common.

    Args:
        backbone: Potential with features.
        dataset: Labelled structures.
    """
    parts = list(_compared(backbone, dataset))
    offsets = reference_energies(
        dataset.structures, torch.cat([part.energy for part in parts]), dataset.has_energy.double()
    )
    known = offsets.to(parts[0].energy)
    return [_without(part, known) for part in parts], offsets


def _compared(backbone: nn.Module, dataset: Dataset) -> Iterator[Residuals]:
    has = torch.ones(len(dataset)) if dataset.has_forces is None else dataset.has_forces
    first_atom = 0
    has_energy, (virials, weight) = dataset.has_energy, virials_of(dataset)
    for rows in rows_of(backbone, dataset.structures, moving=dataset.force_mask, strained=virials is not None):
        stop = first_atom + rows.structures.n_atoms
        of_stress: dict[str, Tensor] = {}
        if virials is not None and weight is not None and rows.virials is not None:
            of_stress["virials"] = along_strains(virials[rows.indices].to(rows.energy)) - rows.virials
            of_stress["virial_weight"] = 9 * weight[rows.indices].to(rows.energy)
        yield Residuals(
            **of_stress,
            rows=rows,
            energy=dataset.energy[rows.indices].to(rows.energy) - rows.energy,
            forces=rows.along(dataset.forces[first_atom:stop].to(rows.forces) - rows.forces),
            has_forces=has[rows.indices].to(rows.energy),
            has_energy=has_energy[rows.indices].to(rows.energy),
            counts=rows.structures.element_counts(N_ELEMENTS)[:, :N_ELEMENTS].to(rows.energy),
        )
        first_atom = stop


def _without(part: Residuals, offsets: Float[Tensor, " n_elements"]) -> Residuals:
    return replace(part, energy=part.energy - part.counts @ offsets)


@dataclass(frozen=True, kw_only=True)
class Normal:
    """Normal equations of a weighted least-squares problem; energies of elements come after the features.

    Attributes:
        matrix: Products of columns of the model.
        right: Products of columns of the model with the residuals.
        square: Weighted sum of the squared residuals.
        n_rows: Number of rows, each counted as often as its structure.
    """

    matrix: Float[Tensor, "n_columns n_columns"]
    right: Float[Tensor, " n_columns"]
    square: float
    n_rows: float

    @classmethod
    def of(
        cls,
        parts: list[Residuals],
        weights: Float[Tensor, " n_structures"],
        energy_weight: float,
        force_weight: float,
        stress_weight: float = 0.0,
    ) -> "Normal":
        """The equations of structures with these weights."""
        matrix, right = torch.zeros(()), torch.zeros(())
        square, n_rows = 0.0, 0.0
        for part in parts:
            own = weights[part.rows.indices].to(part.energy)
            energies = torch.cat([part.rows.features, part.counts], dim=1)
            slopes = -part.rows.derivatives
            slopes = torch.cat([slopes, slopes.new_zeros(*slopes.shape[:2], N_ELEMENTS)], dim=2)
            used = own * part.has_forces * force_weight
            terms = [
                (energies.unsqueeze(1), part.energy.unsqueeze(1), own * part.has_energy * energy_weight),
                (slopes, part.forces, used),
            ]
            if part.virials is not None and part.virial_weight is not None and part.rows.strains is not None:
                strains = torch.cat([part.rows.strains, slopes.new_zeros(len(own), 6, N_ELEMENTS)], dim=2)
                terms.append((strains, part.virials, own * part.virial_weight * stress_weight))
            for columns, residuals, weight in terms:
                weighted = (columns * weight.reshape(-1, 1, 1)).flatten(0, 1)
                matrix = matrix + (weighted.T @ columns.flatten(0, 1)).cpu()
                right = right + (weighted.T @ residuals.flatten()).cpu()
                square += float((weight.unsqueeze(1) * residuals.square()).sum())
                # Directions that a small structure does not have are rows of zeros.
                n_rows += float(((own * (weight > 0)).unsqueeze(1) * (columns != 0).any(2)).sum())
        return cls(matrix=matrix, right=right, square=square, n_rows=n_rows)

    def without_elements(self) -> "Normal":
        """The equations of the features alone, with the best energies of elements for any weights."""
        n = len(self.right) - N_ELEMENTS
        across, own = self.matrix[:n, n:], torch.linalg.pinv(self.matrix[n:, n:], rtol=1e-10, hermitian=True)
        rank = int(torch.linalg.matrix_rank(self.matrix[n:, n:], rtol=1e-10, hermitian=True))
        return Normal(
            matrix=self.matrix[:n, :n] - across @ own @ across.T,
            right=self.right[:n] - across @ own @ self.right[n:],
            square=max(self.square - float(self.right[n:] @ own @ self.right[n:]), 0.0),
            n_rows=self.n_rows - rank,
        )

    def elements(self, weight: Float[Tensor, " n_features"]) -> Float[Tensor, " n_elements"]:
        """The best energies of elements beside these weights of the features, in eV."""
        n = len(weight)
        own = torch.linalg.pinv(self.matrix[n:, n:], rtol=1e-10, hermitian=True)
        energies: Tensor = own @ (self.right[n:] - self.matrix[n:, :n] @ weight)
        return energies

    def noise_and_regularisation(self, regularisation: float | None) -> tuple[float, float]:
        r"""Noise σ and z that make the residuals most likely, under the prior :math:`N(0, \sigma^2/z)`.

        .. math:: -2 \ln p = N \ln \sigma^2 + \sum_i \ln \frac{\lambda_i + z}{z}, \qquad
            \sigma^2 = \frac{1}{N} \Big( y^T y - \sum_i \frac{b_i^2}{\lambda_i + z} \Big)

        with eigenvalues λ of the matrix and components b of the right side along its eigenvectors.
        """
        eigenvalues, eigenvectors = torch.linalg.eigh(self.matrix)
        eigenvalues = eigenvalues.clamp(min=0.0)
        if not float(eigenvalues.max()) > 0:
            raise ValueError("the features do not vary between the structures; is the backbone trained?")
        z = GRID * eigenvalues.max() if regularisation is None else torch.tensor([regularisation], dtype=torch.float64)
        b = eigenvectors.T @ self.right
        total = eigenvalues + z.unsqueeze(1)
        n_rows = max(self.n_rows, 1.0)
        noise = ((self.square - (b.square() / total).sum(1)) / n_rows).clamp(min=1e-300)
        likelihood = n_rows * noise.log() + (total / z.unsqueeze(1)).log().sum(1)
        best = int(likelihood.argmin())
        return math.sqrt(float(noise[best])), float(z[best])


def fit_heads(
    backbone: nn.Module,
    dataset: Dataset,
    *,
    n_members: int = 8,
    seed: int = 0,
    energy_weight: float = 1.0,
    force_weight: float = 1.0,
    stress_weight: float = 1.0,
    regularisation: float | None = None,
) -> Committee:
    """A committee of linear readouts of one potential's features, fitted to labels in closed form.

    Each member corrects the energy of the backbone, which stays as it is. Members differ in their bootstrap sample of
    the structures and in the weights to which they are drawn where there are no data; see the module.

    Args:
        backbone: Potential with features: ACE, PaiNN, SchNet, a model of an adapter, or a module with
            ``energy_and_features``.
        dataset: Labelled structures.
        n_members: Number of members.
        seed: Seed of the samples and of the prior weights.
        energy_weight: Weight of energies, in 1/eV².
        force_weight: Weight of forces, in (Å/eV)²; forces of a structure count along up to 24 directions.
        stress_weight: Weight of virials of each atom, in 1/eV², where there are stresses.
        regularisation: z; by default that under which the labels are most likely.

    Raises:
        ValueError: If the backbone has no features or does not know an element, or an argument is out of range.
    """
    require_backbone(backbone)
    if n_members < 2:
        raise ValueError(f"a committee has at least two members, got {n_members}")
    if regularisation is not None and not (regularisation > 0 and math.isfinite(regularisation)):
        raise ValueError(f"the regularisation must be positive, got {regularisation}")
    generator = torch.Generator().manual_seed(seed)
    parts, offsets = residuals_of(backbone, dataset)
    weighting = (energy_weight, force_weight, stress_weight)
    everything = Normal.of(parts, torch.ones(len(dataset)), *weighting).without_elements()
    noise, z = everything.noise_and_regularisation(regularisation)
    n_features = len(everything.right)
    logger.info("heads: noise %.3g eV, prior weights of %.3g eV, z %.3g", noise, noise / math.sqrt(z), z)
    weights, energies = [], []
    for _ in range(n_members):
        prior = noise / math.sqrt(z) * torch.randn(n_features, generator=generator, dtype=torch.float64)
        drawn = torch.randint(len(dataset), (len(dataset),), generator=generator)
        sample = Normal.of(parts, torch.bincount(drawn, minlength=len(dataset)).double(), *weighting)
        of_features = sample.without_elements()
        matrix = of_features.matrix + z * torch.eye(n_features, dtype=torch.float64)
        weights.append(torch.linalg.solve(matrix, of_features.right + z * prior))
        energies.append(offsets + sample.elements(weights[-1]))
    return committee_of(backbone, torch.stack(weights), torch.stack(energies)).with_domain(TrainingDomain.of(dataset))


def committee_of(
    backbone: nn.Module,
    weights: Float[Tensor, "n_members n_features"],
    atomic_energy: Float[Tensor, "n_members n_elements"],
) -> Committee:
    """The committee of heads with these weights, and these energies of elements, on one backbone."""
    rows = zip(weights, atomic_energy, strict=True)
    return Committee([Head.of(backbone, weight, energies) for weight, energies in rows])
