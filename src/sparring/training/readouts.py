r"""The linear model behind heads and last-layer prediction rigidity: features of structures, and their derivatives.

==========================================  ============================================================
:math:`f = \sum_i f_i`                      features of a structure, summed over its atoms
:math:`w`                                   weights of a readout, in eV
:math:`w \cdot f`                           energy that the readout adds to that of the backbone
:math:`-w \cdot \partial f/\partial v`      force that it adds, along a direction v of all atoms together
:math:`F`                                   rows of the model: one for each energy, and for each such force
==========================================  ============================================================
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from sparring.atoms.neighbors import with_edges
from sparring.atoms.strain import virials
from sparring.atoms.structures import Structures
from sparring.domain import TrainingDomain
from sparring.potentials.base import Potential
from sparring.potentials.heads.backbone import energy_and_features, sum_features

__all__ = ["N_DIRECTIONS", "Rows", "along_strains", "precision", "rows_of"]

N_ATOMS = 128
"""Number of atoms that are evaluated at a time."""
N_DIRECTIONS = 24
"""Number of directions along which features of a structure are differentiated; all there are, if those are fewer."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Some structures, as the backbone and a readout of its features see them, in double precision.

    Attributes:
        structures: The structures.
        indices: Their indices among those of which they are a part.
        energy: Energies of the backbone in eV.
        forces: Forces of the backbone in eV/Å.
        features: Features, summed over the atoms of each structure.
        directions: Directions along which features are differentiated, for each structure; zero where it has fewer.
        derivatives: Derivatives of the features along them, in 1/Å.
        virials: Derivatives of the backbone's energies in six strains, in eV; None if they were not asked for.
        strains: Derivatives of the features in these strains.
    """

    structures: Structures
    indices: slice
    energy: Float[Tensor, " n_structures"]
    forces: Float[Tensor, "n_atoms 3"]
    features: Float[Tensor, "n_structures n_features"]
    directions: Float[Tensor, "n_directions n_atoms 3"]
    derivatives: Float[Tensor, "n_structures n_directions n_features"]
    virials: Float[Tensor, "n_structures 6"] | None = None
    strains: Float[Tensor, "n_structures 6 n_features"] | None = None

    def along(self, forces: Float[Tensor, "n_atoms 3"]) -> Float[Tensor, "n_structures n_directions"]:
        """Forces along the directions, in eV/Å."""
        return sum_features((self.directions * forces.to(self.directions)).sum(-1).T, self.structures)


def rows_of(
    backbone: Potential,
    structures: Structures,
    *,
    n_directions: int | None = N_DIRECTIONS,
    seed: int = 0,
    moving: Bool[Tensor, " n_atoms"] | None = None,
    strained: bool = False,
) -> Iterator[Rows]:
    r"""Features of structures and their derivatives, some structures at a time.

    Features of n atoms have derivatives along 3n directions. Where that is more than ``n_directions``, R of them are
    drawn: random, orthonormal, and longer by :math:`\sqrt{3n/R}`, so that sums of squares are on average those of all.

    Args:
        backbone: Potential with features.
        structures: Structures.
        n_directions: R; None for all.
        seed: Seed of the directions.
        moving: Mask of the atoms that directions move; None for all.
        strained: True for derivatives in strains, too.

    Raises:
        ValueError: If the backbone has no features, or does not know an element.
    """
    if (known := TrainingDomain.of_members([backbone])) is not None:
        known.require(structures)
    weight = next(iter(backbone.parameters()), structures.positions) if isinstance(backbone, nn.Module) else None
    generator = torch.Generator().manual_seed(seed)
    start, sizes = 0, structures.counts.tolist()
    masks = (torch.ones(structures.n_atoms).bool() if moving is None else moving).cpu().split(sizes)
    while start < len(sizes):
        stop, n_atoms = start + 1, sizes[start]
        while stop < len(sizes) and n_atoms + sizes[stop] <= N_ATOMS:
            n_atoms += sizes[stop]
            stop += 1
        part = structures.take(range(start, stop))
        part = part if weight is None else part.to(dtype=weight.dtype, device=weight.device)
        directions = _directions(masks[start:stop], n_directions, generator)
        yield _rows(backbone, part, slice(start, stop), directions, strained=strained)
        start = stop


def _directions(
    masks: Sequence[Bool[Tensor, " _"]], n_directions: int | None, generator: torch.Generator
) -> Float[Tensor, "n_directions n_atoms 3"]:
    sizes = [int(mask.sum()) for mask in masks]
    most = min(3 * max(sizes), n_directions or 3 * max(sizes))
    found = torch.zeros(most, sum(len(mask) for mask in masks), 3, dtype=torch.float64)
    moving = torch.cat(list(masks)).nonzero().flatten()
    for index, size in enumerate(sizes):
        own = torch.eye(3 * size, dtype=torch.float64)
        if 3 * size > most:
            noise = torch.randn(3 * size, most, generator=generator, dtype=torch.float64)
            own = torch.linalg.qr(noise)[0].T * math.sqrt(3 * size / most)
        start = sum(sizes[:index])
        found[: len(own), moving[start : start + size]] = own.unflatten(1, (size, 3))
    return found


def _rows(
    backbone: Potential,
    part: Structures,
    indices: slice,
    directions: Float[Tensor, "n_directions n_atoms 3"],
    *,
    strained: bool,
) -> Rows:
    cutoff: float | None = getattr(backbone, "cutoff", None)
    with torch.enable_grad():
        part = part.with_positions(part.positions.detach().requires_grad_())
        part = replace(part, cells=part.cells.detach().requires_grad_()) if strained else part
        part = part if cutoff is None else with_edges(part, cutoff)
        positions, directions = part.positions, directions.to(part.positions.device)
        energy, features = energy_and_features(backbone, part)
        total = sum_features(features, part)
        inputs = [positions, part.cells] if strained else [positions]
        gradient, *of_cells = torch.autograd.grad(energy.sum(), inputs, retain_graph=True, materialize_grads=True)
        # The gradient of u·f is linear in u; its derivative in u, along v, is the derivative of f along v.
        u = torch.zeros_like(total, requires_grad=True)
        linear, *linear_cells = torch.autograd.grad(total, inputs, u, create_graph=True, materialize_grads=True)
        along = _batched(linear, u, directions)
        of_strains: tuple[Tensor | None, Tensor | None] = (None, None)
        if strained:
            known, wanted = _along_strains(part, gradient, *of_cells), _along_strains(part, linear, *linear_cells)
            each = torch.eye(6).unsqueeze(1).expand(6, len(known), 6)
            of_strains = known.detach().double(), _batched(wanted, u, each).double().transpose(0, 1)
    return Rows(
        structures=part,
        indices=indices,
        energy=energy.detach(),
        forces=-gradient.double(),
        features=total.detach(),
        directions=directions,
        derivatives=along.double().transpose(0, 1),
        virials=of_strains[0],
        strains=of_strains[1],
    )


def along_strains(virial: Float[Tensor, "n_structures 3 3"]) -> Float[Tensor, "n_structures 6"]:
    """Components of symmetric matrices along six that are orthonormal, so that sums of squares stay."""
    rows, columns = torch.triu_indices(3, 3, device=virial.device)
    return virial[:, rows, columns] * torch.where(rows == columns, 1.0, math.sqrt(2)).to(virial)


def _along_strains(structures: Structures, gradient: Tensor, of_cells: Tensor) -> Float[Tensor, "n_structures 6"]:
    positions, cells = structures.positions.detach(), structures.cells.detach()
    return along_strains(virials(structures.structure_index, positions, cells, gradient, of_cells))


def _batched(values: Tensor, u: Tensor, directions: Tensor) -> Tensor:
    """Derivatives in u of values along some directions."""
    (along,) = torch.autograd.grad(
        values,
        u,
        directions.to(values),
        is_grads_batched=True,
        materialize_grads=True,
        allow_unused=True,
        retain_graph=True,
    )
    return along


def precision(
    rows: Iterable[Rows],
    *,
    energy_weight: float = 1.0,
    force_weight: float = 1.0,
    weights: Float[Tensor, " n_structures"] | None = None,
) -> Float[Tensor, "n_features n_features"]:
    r"""Precision matrix of the weights of a readout, :math:`F^T F`: the rows of F are what is known about structures.

    .. math:: F^T F = \sum_A c_A \Big( \alpha_E f_A f_A^T
        + \alpha_F \sum_v \frac{\partial f_A}{\partial v} \frac{\partial f_A^T}{\partial v} \Big)

    Args:
        rows: Features of structures and their derivatives.
        energy_weight: Weight α_E of energies, in 1/eV².
        force_weight: Weight α_F of forces, in (Å/eV)².
        weights: Weight c of each structure; None for 1.
    """
    total = torch.zeros(())
    for part in rows:
        own = part.features.new_ones(len(part.features)) if weights is None else weights[part.indices].to(part.features)
        slopes = (part.derivatives * own.reshape(-1, 1, 1)).flatten(0, 1)
        of_energies = part.features.T @ (part.features * own.unsqueeze(1))
        of_forces = part.derivatives.flatten(0, 1).T @ slopes
        total = total + (energy_weight * of_energies + force_weight * of_forces).cpu()
    return total
