r"""The linear model behind heads and last-layer prediction rigidity: features of structures, and their derivatives.

========================================  ==============================================================
:math:`f = \sum_i f_i`                    features of a structure, summed over its atoms
:math:`w`                                 weights of a readout, in eV
:math:`w \cdot f`                         energy that the readout adds to that of the backbone
:math:`-w \cdot \partial f/\partial x`    force that it adds
:math:`A`                                 precision matrix: a sum over rows of F, that is over data
========================================  ==============================================================
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials.base import Potential
from sparring.potentials.heads.backbone import energy_and_features, sum_features
from sparring.potentials.heads.evaluation import gradients

__all__ = ["Rows", "precision", "rows_of"]

N_ATOMS = 128
"""Number of atoms that are evaluated at a time."""
N_FEATURES = 16
"""Number of features whose derivatives are computed at a time."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Energies, forces and features of some structures, and the derivatives of their features, in double precision.

    Attributes:
        structures: The structures.
        energy: Energies of the backbone in eV.
        forces: Forces of the backbone in eV/Å.
        features: Features, summed over the atoms of each structure.
        derivatives: Derivatives of the features in the positions, in 1/Å.
    """

    structures: Structures
    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_atoms 3"]
    features: Float[Tensor, "n_structures n_features"]
    derivatives: Float[Tensor, "n_atoms 3 n_features"]


def rows_of(backbone: Potential, structures: Structures) -> Iterator[Rows]:
    """Features of structures and their derivatives, some structures at a time.

    Args:
        backbone: Potential with features.
        structures: Structures.

    Raises:
        ValueError: If the backbone has no features.
    """
    weight = next(iter(backbone.parameters()), structures.positions) if isinstance(backbone, nn.Module) else None
    start, sizes = 0, structures.counts.tolist()
    while start < len(sizes):
        stop, n_atoms = start + 1, sizes[start]
        while stop < len(sizes) and n_atoms + sizes[stop] <= N_ATOMS:
            n_atoms += sizes[stop]
            stop += 1
        part = structures.take(range(start, stop))
        part = part if weight is None else part.to(dtype=weight.dtype, device=weight.device)
        yield _rows(backbone, part)
        start = stop


def _rows(backbone: Potential, part: Structures) -> Rows:
    cutoff: float | None = getattr(backbone, "cutoff", None)
    with torch.enable_grad():
        part = part.with_positions(part.positions.detach().requires_grad_())
        part = part if cutoff is None else with_edges(part, cutoff)
        energy, features = energy_and_features(backbone, part)
        total = sum_features(features, part)
        columns = [
            gradients(some, part.positions, create_graph=False).detach().double()
            for some in (energy.unsqueeze(0), *total.T.split(N_FEATURES))
        ]
    return Rows(
        structures=part,
        energy=energy.detach(),
        forces=-columns[0][0],
        features=total.detach(),
        derivatives=torch.cat(columns[1:]).permute(1, 2, 0),
    )


def precision(
    backbone: Potential, structures: Structures, *, energy_weight: float = 1.0, force_weight: float = 1.0
) -> Float[Tensor, "n_features n_features"]:
    r"""Precision matrix of the weights of a readout, :math:`F^T F`: the rows of F are what is known about structures.

    .. math:: F^T F = \alpha_E \sum_A f_A f_A^T
        + \alpha_F \sum_{Aij} \frac{\partial f_A}{\partial x_{ij}} \frac{\partial f_A^T}{\partial x_{ij}}

    Args:
        backbone: Potential with features.
        structures: Structures A.
        energy_weight: Weight α_E of energies, in 1/eV².
        force_weight: Weight α_F of forces, in (Å/eV)².
    """
    total: Tensor | None = None
    for rows in rows_of(backbone, structures):
        slopes = rows.derivatives.flatten(0, 1)
        part = energy_weight * rows.features.T @ rows.features + force_weight * slopes.T @ slopes
        total = part if total is None else total + part
    if total is None:
        raise ValueError("the precision of a last layer needs at least one structure, got none")
    return total.cpu()
