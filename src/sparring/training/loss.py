r"""What training minimises, and its gradient in the weights of all members (Eq. 3).

.. math:: \mathcal L = \frac 1 N \sum_i \left[ \alpha_E (E_i - \hat E_i)^2
    + \alpha_F \frac{1}{3 n_i} \lVert F_i - \hat F_i \rVert^2 \right]

The norm of the forces is taken as the mean over components ("the average mean squared error", Sec. II.A), so that
molecules of different size weigh the same. A structure's loss may have a factor of its own, see `low_energy_weights`.
"""

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.composition import composition, lowest_energies
from sparring.atoms.dataset import Dataset
from sparring.committee import stacked_energies
from sparring.potentials import Architecture, Together
from sparring.training.minibatches import Batch, Shelf

__all__ = ["Loss", "low_energy_weights"]

NEAR_BYTES = 8 * 2**20
"""What the filters of a minibatch may take in one interaction if all members are to learn in one pass."""


@dataclass(frozen=True)
class Loss:
    """Eq. 3 as a function of the weights of all members, one row a member.

    Attributes:
        architecture: Of the members.
        shelf: The data.
        energy_weight: α_E.
        force_weight: α_F.
        references: Energies of the elements by themselves, in eV.
    """

    architecture: Architecture
    shelf: Shelf
    energy_weight: float
    force_weight: float
    references: Float[Tensor, "n_members n_elements"]

    @property
    def n_members(self) -> int:
        """How many members learn."""
        return len(self.references)

    def gradient(
        self, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"]
    ) -> tuple[Float[Tensor, " n_members"], Tensor]:
        """The loss of every member on its own minibatch, and its gradient in the weights."""
        together = self.together(weights)
        return self._by_hand(together, weights, chosen) if together else self._by_autograd(weights, chosen)

    def _by_hand(self, together: Together, weights: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        batch, gradient, n_batch = self.shelf.gather(chosen), torch.zeros_like(weights), chosen.shape[1]

        def score(members: slice, structures: slice, atoms: slice, energy: Tensor, pull: Tensor) -> Tensor:
            return self.score(energy, pull, batch.part(members, structures, atoms)) / n_batch

        loss = together.learn(batch.structures, batch.positions, score, self.named(gradient))
        return loss.sum(1), gradient

    def _by_autograd(self, weights: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        losses, gradients = [], []
        for members, some in self.parts(chosen.shape[1]):
            part = weights.detach()[members].requires_grad_()
            loss = some.losses(part, self.shelf.gather(chosen[members]), create_graph=True).mean(1)
            gradients.append(torch.autograd.grad(loss.sum(), part)[0])
            losses.append(loss.detach())
        return torch.cat(losses), torch.cat(gradients)

    def parts(self, n_batch: int) -> list[tuple[slice, "Loss"]]:
        """The members in as many parts as learn one after another, each with a loss of its own."""
        n_members, step = self.n_members, self.members_at_once(n_batch)
        if step not in self._parts:
            slices = [slice(first, min(first + step, n_members)) for first in range(0, n_members, step)]
            one = len(slices) == 1
            self._parts[step] = [(s, self if one else replace(self, references=self.references[s])) for s in slices]
        return self._parts[step]

    @cached_property
    def _parts(self) -> dict[int, list[tuple[slice, "Loss"]]]:
        return {}

    def members_at_once(self, n_batch: int) -> int:
        """All members, as long as what they make of a minibatch is not too much to stay near the processor."""
        edges = self.shelf.structures.edges
        width = getattr(self.architecture, "n_filters", 0)
        if edges is None or not width or self.shelf.energy.device.type != "cpu":
            return self.n_members
        edges_a_batch = n_batch * len(edges.target) / len(self.shelf.energy)
        return max(1, min(self.n_members, int(NEAR_BYTES // (edges_a_batch * width * 4 + 1))))

    def losses(self, weights: Tensor, batch: Batch, *, create_graph: bool) -> Float[Tensor, "n_members n_batch"]:
        """Eq. 3 for every member and every structure of its own minibatch."""
        positions = batch.positions.detach().requires_grad_()
        together = None if create_graph else self.together(weights)
        if together:
            energy = together(batch.structures, positions, False)
        else:
            own = {**batch.own, "positions": positions}
            energy = stacked_energies(self.architecture, self.named(weights), batch.structures, own)
        (pull,) = torch.autograd.grad(energy.sum(), positions, create_graph=create_graph)
        return self.score(energy, pull, batch)

    def score(
        self,
        energy: Float[Tensor, "n_members n_structures"],
        pull: Float[Tensor, "n_members n_atoms 3"],
        batch: Batch,
    ) -> Float[Tensor, "n_members n_batch"]:
        """Eq. 3, given the energies and their derivatives in the positions."""
        energy_error = (energy[:, : batch.energy.shape[1]] - batch.energy).square()
        of_atoms = (pull + batch.forces).square().sum(-1) * batch.weight
        force_error = torch.zeros_like(energy, dtype=of_atoms.dtype).scatter_add(1, batch.owner, of_atoms)
        losses = self.energy_weight * energy_error + self.force_weight * force_error[:, : batch.energy.shape[1]]
        return losses if batch.structure_weight is None else losses * batch.structure_weight

    def together(self, weights: Tensor) -> Together | None:
        """All members with derivatives that are written out, where there are such and members share neighbours."""
        if not self.shelf.uniform:
            return None
        named = self.named(weights.detach())
        if self._first_together:
            return self._first_together[0].with_weights(named)
        together = self.architecture.written_out(named)
        if together:
            self._first_together.append(together)
        return together

    @cached_property
    def _first_together(self) -> list[Together]:
        """What later ones are made like, which spares them its preparations."""
        return []

    def named(self, weights: Tensor) -> dict[str, Tensor]:
        """Rows of weights as the architecture's parameters and buffers, each with a leading axis of members."""
        parameters = dict(self.architecture.named_parameters())
        parts = weights.split([parameter.numel() for parameter in parameters.values()], dim=1)
        named = {name: part.unflatten(1, p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        return {**named, **self.buffers}

    @cached_property
    def buffers(self) -> dict[str, Tensor]:
        """What the architecture keeps beside its weights, reference energies among them, with an axis of members."""
        members = [copy.deepcopy(self.architecture) for _ in self.references]
        for member, energies in zip(members, self.references, strict=True):
            member.set_reference_energies(energies)
        named = [dict(member.named_buffers()) for member in members]
        device = self.shelf.energy.device
        return {name: torch.stack([one[name] for one in named]).to(device) for name in named[0]}


def low_energy_weights(dataset: Dataset, energy_scale: float) -> Float[Tensor, " n_structures"]:
    r"""Factors of the losses of structures that fall with their energy above the lowest of the same composition.

    .. math:: w_i = \left( \frac{E_s}{E_s + E_i - E_{\min}} \right)^2

    so that the errors themselves weigh :math:`E_s / (E_s + \Delta E)`, as in fits of permutationally invariant
    polynomials (Qu, Yu and Bowman, doi:10.1146/annurev-physchem-050317-021139). Not in the paper, where all structures
    weigh the same: there, few structures far up, which attacks bring, have most of the loss.

    Args:
        dataset: Labelled structures.
        energy_scale: Energy :math:`E_s` above the lowest, in eV, at which an error weighs half.

    Raises:
        ValueError: If the scale is not positive.
    """
    if not energy_scale > 0:
        raise ValueError(f"energy_scale must be a positive energy in eV, or None, got {energy_scale}")
    structures = dataset.to_atoms()
    lowest = lowest_energies(structures)
    above = dataset.energy - torch.tensor([lowest[composition(atoms)] for atoms in structures], dtype=torch.float64)
    return (energy_scale / (energy_scale + above)).square()
