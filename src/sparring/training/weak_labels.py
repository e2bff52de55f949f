r"""Terms of the loss from labels of little cost: energies near a structure, and products with its Hessian.

Taylor loss: forces give the energies of displaced structures to first order, so that each structure with forces has
as many energies as one likes,

.. math:: E(x + d) = E(x) - F(x) \cdot d, \qquad d_i \sim \mathcal N(0, \ell^2)

as Cooper et al. use them (doi:10.1038/s41524-020-0323-8). Takamoto, Zaverkin and Niepert (arXiv:2408.05215) compare
two predictions of the network instead, which needs no label. With a Hessian-vector label, every second displacement is
along its direction v, where the second order is known, too:

.. math:: E(x + t v) = E(x) - t F \cdot v + \tfrac 1 2 t^2 v \cdot H v

Hessian-vector loss: the mean square over components of :math:`H_\theta v - H v` (arXiv:2603.04523). Both sides are
differences of gradients at the same two points, so that the step of the label leaves no error. With the residual r held
fixed, its gradient in the weights is that of a loss that is linear in gradients of the energy,

.. math:: \nabla_\theta \lVert r \rVert^2 = \frac 2 h \nabla_\theta \, r \cdot
    \left[ \nabla_x E_\theta(x + h v) - \nabla_x E_\theta(x) \right],

which needs second derivatives only, and so has the analytic ones of the networks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sparring.atoms.curvature import HessianLabels
from sparring.support import philox
from sparring.training.batches import Batch
from sparring.training.loss import Loss
from sparring.training.minibatches import PackedDataset

__all__ = ["REACH", "HessianTerm", "Taylor", "TaylorTerm", "WeakTerm", "weak_terms"]

STREAM = 201
"""Number of the displacements among the purposes of random numbers."""
REACH = 0.5
"""Distance in Å beyond the cutoff within which crystals have edges, where atoms are displaced."""
CENTRAL_STEP = 0.02
"""Distance in Å of the two points at which an exact product is compared."""


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """Energies of displaced structures, from forces, in the loss.

    Attributes:
        length: Standard deviation of the displacement of each coordinate, in Å.
        weight: Weight of such an energy, in units of that of a label.

    Raises:
        ValueError: If one is not positive.
    """

    length: float = 0.005
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (self.length > 0 and self.weight > 0):
            raise ValueError(
                f"the length and the weight of a Taylor loss must be positive, got {self.length} Å and {self.weight}; "
                "leave it out for none"
            )


@dataclass(frozen=True, kw_only=True)
class TaylorTerm:
    """Squared errors of energies of displaced structures.

    Attributes:
        options: Length and weight.
        data: Structures and labels.
        key: Key of the random numbers of each atom.
        row: Number of each atom in its structure.
        hessian: Hessian-vector labels; None if there are none.
        displacement: Displacement of each atom in this epoch, in Å.
        energy: Energy of each displaced structure, in eV.
    """

    options: Taylor
    data: PackedDataset
    key: Int[Tensor, " n_atoms"]
    row: Int[Tensor, " n_atoms"]
    hessian: HessianLabels | None = None
    displacement: Float[Tensor, "n_atoms 3"] | None = None
    energy: Float[Tensor, " n_structures"] | None = None

    def at_epoch(self, epoch: int) -> "TaylorTerm":
        """The same with the displacements of an epoch."""
        data = self.data
        owner = data.structures.structure_index
        moved = self.options.length * philox.normals(self.key, self.row, stream=STREAM, step=epoch)
        forces, second = data.forces.double(), torch.zeros_like(data.energy)
        if self.hessian is not None and epoch % 2:
            direction, product, _, known = self.hessian
            size = moved.index_select(0, data.atoms_first)[:, 0] * (3 * data.atoms_count).sqrt()
            along = direction * size.index_select(0, owner).unsqueeze(-1)
            moved = torch.where(known.index_select(0, owner).unsqueeze(-1), along, moved)
            second = second.index_add(0, owner, (direction * product).sum(-1)) * size.square() / 2
        first = torch.zeros_like(data.energy).index_add(0, owner, (forces * moved).sum(-1))
        return replace(self, displacement=moved.to(data.forces), energy=data.energy - first + second)

    def gradient(
        self, loss: Loss, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"], share: Tensor | None
    ) -> Tensor:
        """Gradient in the weights of all members."""
        return loss.gradient(weights, chosen, share, self)[1]

    def batch(self, loss: Loss, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"]) -> Batch:
        """The minibatches with displaced atoms."""
        assert self.displacement is not None
        assert self.energy is not None
        batch = loss.data.gather(chosen)
        weight = torch.full_like(batch.energy, loss.energy_weight * self.options.weight)
        for factor in (self.data.complete, self.data.structure_weight):
            weight = weight if factor is None else weight * factor[chosen]
        positions = batch.positions + loss.data.of_atoms(self.displacement, chosen)
        per_member = {**batch.per_member, "positions": positions}
        return batch._replace(per_member=per_member, energy=self.energy[chosen], structure_weight=weight)

    def of_energies(
        self,
        energy: Float[Tensor, "n_members n_structures"],
        energy_gradient: Float[Tensor, "n_members n_atoms 3"],
        batch: Batch,
    ) -> Float[Tensor, "n_members n_batch"]:
        """Weighted squared error of each energy."""
        errors = energy[:, : batch.energy.shape[1]] - batch.energy
        assert batch.structure_weight is not None
        return errors.square() * batch.structure_weight


@dataclass(frozen=True, kw_only=True)
class HessianTerm:
    """Mean squared errors of Hessian-vector products.

    Attributes:
        labels: Hessian-vector labels.
        weight: Weight of a squared error of one (eV/Å²)².
    """

    labels: HessianLabels
    weight: float

    def at_epoch(self, epoch: int) -> "HessianTerm":
        """The term itself, which is the same in every epoch."""
        return self

    def gradient(
        self, loss: Loss, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"], share: Tensor | None
    ) -> Tensor:
        """Gradient in the weights of all members: of pairs of structures, at both ends of the step."""
        share = weights.new_full(chosen.shape, 1 / chosen.shape[1]) if share is None else share
        pairs = chosen.repeat_interleave(2, dim=1)
        return loss.gradient(weights, pairs, share.repeat_interleave(2, dim=1), self)[1]

    def batch(self, loss: Loss, weights: Tensor, chosen: Int[Tensor, "n_members n_pairs"]) -> Batch:
        """Pairs of structures, with coefficients of the energy gradients in the place of the forces."""
        data, labels = loss.data, self.labels
        batch = data.gather(chosen)
        exact = labels.step == 0
        step = torch.where(exact, CENTRAL_STEP, labels.step)[chosen]
        second = torch.arange(chosen.shape[1], device=chosen.device) % 2
        offset = torch.where(exact, -CENTRAL_STEP / 2, 0.0)[chosen] + second * step

        def of_atoms(values: Tensor, padding: float = 0.0) -> Tensor:
            # Padding atoms belong to a structure behind the last one.
            return functional.pad(values, (0, 1), value=padding).gather(1, batch.owner)

        direction, product = (data.of_atoms(values, chosen) for values in (labels.direction, labels.product))
        moved = (direction * of_atoms(offset).unsqueeze(-1)).to(batch.positions)
        batch = batch._replace(per_member={**batch.per_member, "positions": batch.positions + moved})
        _, slopes, _ = loss.energies_and_slopes(weights, batch, create_graph=False)
        sign = of_atoms((1.0 - 2.0 * second).expand(chosen.shape).to(step))
        # The copy of a structure stands behind it, so that the same atom of the other is as far as it has atoms.
        other = (
            torch.arange(batch.owner.shape[1], device=chosen.device)
            + (sign * of_atoms(data.atoms_count[chosen].to(step))).long()
        )
        ahead = slopes.gather(1, other.unsqueeze(-1).expand_as(slopes))
        slope_of = (ahead - slopes).double() * (sign / of_atoms(step, 1.0)).unsqueeze(-1)
        weight = self.weight * labels.known[chosen] / (3 * data.atoms_count[chosen])
        for factor in (data.has_energy, data.structure_weight):  # products on the edge of an environment do not count
            weight = weight if factor is None else weight * factor[chosen]
        factor = -2 * sign * of_atoms(weight) / of_atoms(step, 1.0)
        return batch._replace(forces=(factor.unsqueeze(-1) * (slope_of - product)).to(batch.forces))

    def of_energies(
        self,
        energy: Float[Tensor, "n_members n_structures"],
        energy_gradient: Float[Tensor, "n_members n_atoms 3"],
        batch: Batch,
    ) -> Float[Tensor, "n_members n_batch"]:
        """Linear function of energy gradients that has the gradient of the loss."""
        of_atoms = (energy_gradient * batch.forces).sum(-1)
        sums = torch.zeros_like(energy, dtype=of_atoms.dtype).scatter_add(1, batch.owner, of_atoms)
        return sums[:, : batch.energy.shape[1]]


WeakTerm = TaylorTerm | HessianTerm


def weak_terms(
    labels: HessianLabels | None,
    data: PackedDataset,
    keys: Sequence[int],
    taylor: Taylor | None,
    hessian_weight: float,
) -> tuple[WeakTerm, ...]:
    """Terms of the loss besides Eq. 3 for all committees that train together.

    Args:
        labels: Hessian-vector labels of the structures of all committees, one after another; None if there are none.
        data: The structures, with edges that reach :data:`REACH` beyond the cutoff.
        keys: Key of the random numbers of each structure.
        taylor: Options of a Taylor loss; None for none.
        hessian_weight: Weight of a squared error of one (eV/Å²)² of a Hessian-vector product; 0 for none.

    Raises:
        ValueError: If the weight is negative.
    """
    if not 0 <= hessian_weight < torch.inf:
        raise ValueError(f"hessian_weight must be a number from 0 on, got {hessian_weight}")
    device = data.energy.device
    labels = None if labels is None else HessianLabels(*(values.to(device) for values in labels))
    terms: list[WeakTerm] = []
    if taylor is not None:
        owner = data.structures.structure_index
        row = torch.arange(len(owner), device=device) - data.atoms_first.index_select(0, owner)
        key = torch.tensor(keys, device=device).index_select(0, owner)
        terms.append(TaylorTerm(options=taylor, data=data, key=key, row=row, hessian=labels))
    if labels is not None and hessian_weight:
        terms.append(HessianTerm(labels=labels, weight=hessian_weight))
    return tuple(terms)
