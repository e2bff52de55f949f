r"""All heads of one backbone at once: one pass over the backbone, and as few backward passes as there can be.

Members differ in linear readouts of the same features, so that their forces are linear combinations of few gradients.
With the sum over atoms :math:`f = \sum_i f_i`, the mean :math:`\bar w` of the weights, and the singular value
decomposition :math:`w_k - \bar w = \sum_r c_{kr} d_r`:

.. math::
    E_k &= (E_\text{backbone} + \bar w \cdot f) + \sum_r c_{kr} \, (d_r \cdot f) \\
    \frac{\partial E_k}{\partial x} &= \frac{\partial}{\partial x} (E_\text{backbone} + \bar w \cdot f)
        + \sum_r c_{kr} \frac{\partial}{\partial x} (d_r \cdot f)

For K members that are K - 1 directions at most, hence K backward passes. All of them are one batched pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import Potential
from sparring.potentials.heads.backbone import energy_and_features, sum_features
from sparring.potentials.heads.head import Head

__all__ = ["SharedBackbone", "gradients", "shares_backbone"]

RANK = 1e-12
"""Singular values below this part of the largest are rounding."""


def shares_backbone(members: Sequence[object]) -> bool:
    """True if all members are heads of one and the same backbone."""
    first = members[0]
    return isinstance(first, Head) and all(isinstance(m, Head) and m.backbone is first.backbone for m in members)


@dataclass(frozen=True, kw_only=True)
class SharedBackbone:
    """Heads of one backbone.

    Attributes:
        backbone: Potential with features.
        mean: Mean weights.
        directions: Directions in which members differ.
        coefficients: Part of each direction in each member.
        atomic_energy: Energies of elements by atomic number, in eV.
    """

    backbone: Potential
    mean: Float[Tensor, " n_features"]
    directions: Float[Tensor, "n_directions n_features"]
    coefficients: Float[Tensor, "n_members n_directions"]
    atomic_energy: Float[Tensor, "n_members n_elements"]

    @classmethod
    def of(cls, members: Sequence[object]) -> "SharedBackbone":
        """The common form of heads of one backbone."""
        heads = [member for member in members if isinstance(member, Head)]
        weights = torch.stack([head.weight for head in heads])
        mean = weights.mean(0)
        # On the host: singular vectors, and so rounding, are then the same for all devices.
        left, sizes, right = torch.linalg.svd((weights - mean).cpu(), full_matrices=False)
        rank = int((sizes > RANK * sizes.max()).sum())
        return cls(
            backbone=heads[0].backbone,
            mean=mean,
            directions=(right[:rank] * sizes[:rank, None]).to(weights),
            coefficients=left[:, :rank].to(weights),
            atomic_energy=torch.stack([head.atomic_energy for head in heads]),
        )

    def energies_and_gradients(
        self, structures: Structures, create_graph: bool, *, cells: bool = False
    ) -> tuple[Float[Tensor, "n_members n_structures"], list[Tensor]]:
        """Energies in eV, and their derivatives in the positions, (n_members, n_atoms, 3) in eV/Å.

        Args:
            structures: Structures whose positions require a gradient.
            create_graph: True for derivatives that can be differentiated.
            cells: True for those in the cells, too, (n_members, n_structures, 3, 3).
        """
        energy, features = energy_and_features(self.backbone, structures)
        total = sum_features(features, structures)
        of_mean = energy + total @ self.mean
        of_directions = self.directions @ total.T
        rows = torch.cat([of_mean.unsqueeze(0), of_directions])
        wanted = [structures.positions, structures.cells] if cells else [structures.positions]
        derivatives = gradients(rows, wanted, create_graph=create_graph)
        references = sum_features(self.atomic_energy[:, structures.atomic_numbers].T, structures).T
        coefficients = self.coefficients.to(derivatives[0])
        return (
            of_mean + self.coefficients @ of_directions + references,
            [one[0] + (coefficients @ one[1:].flatten(1)).unflatten(1, one.shape[1:]) for one in derivatives],
        )


def gradients(
    rows: Float[Tensor, "n_rows n_structures"], inputs: Sequence[Tensor], *, create_graph: bool
) -> list[Float[Tensor, "n_rows ..."]]:
    """Derivatives of the sum of each row in every input, in one batched backward pass.

    Args:
        rows: Functions of the inputs, such as energies of structures.
        inputs: Positions, or cells.
        create_graph: True for derivatives that can be differentiated.
    """
    inputs = tuple(inputs)
    grad = partial(torch.autograd.grad, create_graph=create_graph, retain_graph=True, materialize_grads=True)
    if len(rows) == 1:
        return [one.unsqueeze(0) for one in grad(rows.sum(), inputs)]
    each = torch.eye(len(rows), dtype=rows.dtype, device=rows.device).unsqueeze(-1).expand(-1, -1, rows.shape[1])
    found = grad(rows, inputs, each, is_grads_batched=True)
    # Zeros, where nothing depends on an input, come without the axis of rows.
    return [of.expand(len(rows), *to.shape) for of, to in zip(found, inputs, strict=True)]
