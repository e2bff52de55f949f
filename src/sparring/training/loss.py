r"""The loss of training, and its gradient in the weights of all members (Eq. 3).

.. math:: \mathcal L = \frac 1 N \sum_i \left[ \alpha_E (E_i - \hat E_i)^2
    + \alpha_F \frac{1}{3 n_i} \lVert F_i - \hat F_i \rVert^2
    + \alpha_S \frac 1 9 \left\lVert \frac{V_i (S_i - \hat S_i)}{n_i} \right\rVert^2 \right]

The norm of the forces is taken as the mean over components ("the average mean squared error", Sec. II.A), so that
molecules of different size weigh the same. A structure's loss may have a factor of its own, see `low_energies`.

The last term is not in the paper. It compares virials V S = dE/dε of each atom, in eV, so that supercells weigh the
same, and so does the vacuum around a slab. Structures without a stress have none, and where no structure has one, no
derivative in the strain is taken.

Of an environment that was cut from a larger structure, the forces on its core are those of that structure, and nothing
else is (:attr:`sparring.Dataset.force_mask`): the mean is over these components, and the other terms are left out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.strain import virials
from sparring.potentials import Architecture, StackedModel
from sparring.potentials.stacking import cast, stacked_energies
from sparring.support.cache import Cache
from sparring.training.batches import Batch
from sparring.training.minibatches import PackedDataset

__all__ = ["Loss", "Term"]

CACHE_BYTES = 8 * 2**20
"""Largest size of the values of all edges of a minibatch, in one interaction, for members that train in one pass."""


@runtime_checkable
class Term(Protocol):
    """A loss on minibatches of its own."""

    def batch(self, loss: "Loss", weights: Tensor, chosen: Int[Tensor, "n_members n_batch"]) -> Batch:
        """Minibatches of the chosen structures."""

    def of_energies(
        self,
        energy: Float[Tensor, "n_members n_structures"],
        energy_gradient: Float[Tensor, "n_members n_atoms 3"],
        batch: Batch,
    ) -> Float[Tensor, "n_members n_batch"]:
        """Loss of each structure, given energies in eV and their derivatives in the positions in eV/Å."""


@dataclass(frozen=True)
class Loss:
    """Eq. 3 as a function of the weights of all members, one row for each.

    Attributes:
        architecture: Architecture of the members.
        data: Structures and labels.
        energy_weight: Weight α_E of Eq. 3.
        force_weight: Weight α_F of Eq. 3.
        references: Reference energies of the elements, in eV.
        modules: Module of each member that a fine-tuning starts from, whose buffers it keeps; by default all have those
            of the architecture.
        stress_weight: Weight α_S of virials of each atom.
    """

    architecture: Architecture
    data: PackedDataset
    energy_weight: float
    force_weight: float
    references: Float[Tensor, "n_members n_elements"]
    modules: tuple[Architecture, ...] = ()
    stress_weight: float = 1.0
    _parts: Cache[list[tuple[slice, "Loss"]]] = field(default_factory=Cache, init=False, repr=False, compare=False)
    _firsts: Cache["Loss"] = field(default_factory=Cache, init=False, repr=False, compare=False)
    _buffers: Cache[dict[str, Tensor]] = field(default_factory=Cache, init=False, repr=False, compare=False)
    _models: Cache[StackedModel | None] = field(default_factory=Cache, init=False, repr=False, compare=False)

    @property
    def n_members(self) -> int:
        """Number of members."""
        return len(self.references)

    @property
    def has_stresses(self) -> bool:
        """True if derivatives in the cells are a part of the loss."""
        return self.stress_weight > 0 and self.data.virial is not None

    def gradient(
        self,
        weights: Tensor,
        chosen: Int[Tensor, "n_members n_batch"],
        share: Float[Tensor, "n_members n_batch"] | None = None,
        term: Term | None = None,
    ) -> tuple[Float[Tensor, " n_members"], Tensor]:
        """The loss of every member on its own minibatch, and its gradient in the weights.

        Args:
            weights: Weights of all members, one row for each.
            chosen: Structures of each member's minibatch.
            share: Weights of the mean over each minibatch; None for equal ones.
            term: Another loss than that of Eq. 3.
        """
        model = self.stacked_model(weights)
        if model:
            return self._analytic_gradient(model, weights, chosen, share, term)
        if self.n_members > 1 and not self.data.uniform and not self.data.padded:
            rows = [
                part.gradient(weights[members], chosen[members], None if share is None else share[members], term)
                for members, part in self.parts(chosen.shape[1])
            ]
            losses, gradients = zip(*rows, strict=True)
            return torch.cat(losses), torch.cat(gradients)
        return self._autograd_gradient(weights, chosen, share, term)

    def _analytic_gradient(
        self, model: StackedModel, weights: Tensor, chosen: Tensor, share: Tensor | None, term: Term | None
    ) -> tuple[Tensor, Tensor]:
        gradient, n_batch = torch.zeros_like(weights), chosen.shape[1]
        batch = term.batch(self, weights, chosen) if term else self.data.gather(chosen)
        of_energies: Callable[..., Tensor] = term.of_energies if term else self.of_energies

        def loss(members: slice, structures: slice, atoms: slice, energy: Tensor, *slopes: Tensor) -> Tensor:
            of_positions, *of_cells = slopes
            losses = of_energies(energy, of_positions, batch.part(members, structures, atoms), *of_cells)
            return losses / n_batch if share is None else losses * share[members, structures]

        cells = (batch.cells,) if self.has_stresses and term is None else ()
        losses = model.accumulate_gradient(batch.structures, batch.positions, loss, self.named(gradient), *cells)
        return losses.sum(1), gradient

    def _autograd_gradient(
        self, weights: Tensor, chosen: Tensor, share: Tensor | None, term: Term | None
    ) -> tuple[Tensor, Tensor]:
        losses, gradients = [], []
        for members, part in self.parts(chosen.shape[1]):
            some = weights.detach()[members].requires_grad_()
            own = chosen[members]
            batch = term.batch(part, some.detach(), own) if term else self.data.gather(own)
            if term:
                energy, slopes, _ = part.energies_and_slopes(some, batch, create_graph=True)
                losses_here = term.of_energies(energy, slopes, batch)
            else:
                losses_here = part.losses_of_batch(some, batch, create_graph=True)
            loss = losses_here.mean(1) if share is None else (losses_here * share[members]).sum(1)
            gradients.append(torch.autograd.grad(loss.sum(), some)[0])
            losses.append(loss.detach())
        return torch.cat(losses), torch.cat(gradients)

    def parts(self, n_batch: int) -> list[tuple[slice, "Loss"]]:
        """Slices of members that train one after another, each with a loss of its own."""
        n_members, step = self.n_members, self.members_at_once(n_batch)

        def cut() -> list[tuple[slice, "Loss"]]:
            slices = [slice(first, min(first + step, n_members)) for first in range(0, n_members, step)]
            whole = len(slices) == 1
            return [(s, self if whole else self._of_members(s)) for s in slices]

        return self._parts.get(step, cut)

    def first(self, n: int) -> "Loss":
        """The loss of the first n members."""
        return self if n == self.n_members else self._firsts.get(n, lambda: self._of_members(slice(n)))

    def _of_members(self, members: slice) -> "Loss":
        part = replace(self, references=self.references[members], modules=self.modules[members])
        buffers = {name: values[members] for name, values in self.buffers.items()}
        part._buffers.get("all", lambda: buffers)
        return part

    def members_at_once(self, n_batch: int) -> int:
        """Number of members that train in one pass: all whose values of a minibatch stay in the processor's cache.

        Modules that cannot be stacked train one after another, each with the memory of one. So do members whose
        minibatches have edges of their own, where there are analytic derivatives or tables for one member.
        """
        if not self.architecture.supports_vmap or not (self.data.uniform or self.data.padded):
            return 1
        edges, width = self.data.structures.edges, self.architecture.edge_width
        if edges is None or not width or self.data.energy.device.type != "cpu":
            return self.n_members
        edges_a_batch = n_batch * len(edges.target) / len(self.data.energy)
        return max(1, min(self.n_members, int(CACHE_BYTES // (edges_a_batch * width * 4 + 1))))

    def energies_of(
        self, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"]
    ) -> tuple[Float[Tensor, "n_members n_batch"], Float[Tensor, "n_members n_batch"]]:
        """Energies of structures that each member has for itself, without a graph, and their labels."""
        if self.members_at_once(1) == 1 < self.n_members:
            parts = [part.energies_of(weights[members], chosen[members]) for members, part in self.parts(1)]
            predicted, wanted = zip(*parts, strict=True)
            return torch.cat(predicted), torch.cat(wanted)
        batch = self.data.gather(chosen)
        with torch.no_grad():
            energy = stacked_energies(self.architecture, self.named(weights), batch.structures, batch.per_member)
        return energy[:, : chosen.shape[1]], batch.energy

    def losses_of(
        self, weights: Tensor, chosen: Int[Tensor, "n_members n_batch"]
    ) -> Float[Tensor, "n_members n_batch"]:
        """Eq. 3 for structures that each member has for itself, without a graph."""
        if self.members_at_once(1) == 1 < self.n_members:
            return torch.cat([part.losses_of(weights[rows], chosen[rows]) for rows, part in self.parts(1)])
        batch = self.data.gather(chosen)
        return self.losses_of_batch(weights, batch, create_graph=False).detach()

    def losses_of_batch(
        self, weights: Tensor, batch: Batch, *, create_graph: bool
    ) -> Float[Tensor, "n_members n_batch"]:
        """Eq. 3 for every member's own minibatch."""
        energy, slopes, of_cells = self.energies_and_slopes(
            weights, batch, create_graph=create_graph, cells=self.has_stresses
        )
        return self.of_energies(energy, slopes, batch, of_cells)

    def energies_and_slopes(
        self, weights: Tensor, batch: Batch, *, create_graph: bool, cells: bool = False
    ) -> tuple[
        Float[Tensor, "n_members n_structures"],
        Float[Tensor, "n_members n_atoms 3"],
        Float[Tensor, "n_members n_structures 3 3"] | None,
    ]:
        """Energies of every member's own minibatch in eV, and their derivatives in positions and cells in eV/Å.

        Args:
            weights: Weights of all members, one row for each.
            batch: Minibatches.
            create_graph: True to keep the graph of the derivatives.
            cells: True for derivatives in the cells, too.
        """
        inputs = {"positions": batch.positions.detach().requires_grad_()}
        if cells:
            inputs["cells"] = batch.cells.detach().requires_grad_()
        model = None if create_graph else self.stacked_model(weights)
        if model:
            energy = model(batch.structures, inputs["positions"], False, *list(inputs.values())[1:])
        else:
            per_member = {**batch.per_member, **inputs}
            energy = stacked_energies(self.architecture, self.named(weights), batch.structures, per_member)
        slopes, *of_cells = torch.autograd.grad(
            energy.sum(), list(inputs.values()), create_graph=create_graph, materialize_grads=cells
        )
        return energy, slopes, of_cells[0] if cells else None

    def of_energies(
        self,
        energy: Float[Tensor, "n_members n_structures"],
        energy_gradient: Float[Tensor, "n_members n_atoms 3"],
        batch: Batch,
        cell_gradient: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_batch"]:
        """Eq. 3, given energies and their derivatives in the positions (minus the forces) and, if any, in the cells."""
        energy_error = (energy[:, : batch.energy.shape[1]] - batch.energy).square()
        if batch.energy_weight is not None:
            energy_error = energy_error * batch.energy_weight
        of_atoms = (energy_gradient + batch.forces).square().sum(-1) * batch.weight
        force_error = torch.zeros_like(energy, dtype=of_atoms.dtype).scatter_add(1, batch.owner, of_atoms)
        losses = self.energy_weight * energy_error + self.force_weight * force_error[:, : batch.energy.shape[1]]
        if cell_gradient is not None and batch.virial is not None and batch.virial_weight is not None:
            found = virials(batch.owner, batch.positions, batch.cells, energy_gradient, cell_gradient)
            errors = (found[:, : batch.energy.shape[1]] - batch.virial).square().sum((-1, -2))
            losses = losses + self.stress_weight * errors * batch.virial_weight
        return losses if batch.structure_weight is None else losses * batch.structure_weight

    def stacked_model(self, weights: Tensor) -> StackedModel | None:
        """All members in one pass, where the architecture has such and members share their edges, or there is one."""
        if not self.data.uniform and (self.data.padded or self.n_members > 1):
            return None
        named = self.named(weights.detach())
        # Later models share the preparations of the first one.
        first = self._models.get("first", lambda: self.architecture.stacked_model(named))
        return first.with_weights(named) if first else None

    def named(self, weights: Tensor) -> dict[str, Tensor]:
        """Rows of weights as the architecture's parameters and buffers, each with a leading axis of members."""
        parameters = dict(self.architecture.named_parameters())
        parts = weights.split([parameter.numel() for parameter in parameters.values()], dim=1)
        named = {name: part.unflatten(1, p.shape) for (name, p), part in zip(parameters.items(), parts, strict=True)}
        return {**named, **self.buffers}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Buffers of the architecture with an axis of members, reference energies among them."""
        return self._buffers.get("all", self._stacked_buffers)

    def _stacked_buffers(self) -> dict[str, Tensor]:
        if not any(True for _ in self.architecture.buffers()):
            return {}
        # Buffers are in the precision of the weights, where the architecture says that they follow them.
        modules = self.modules or [self.architecture] * self.n_members
        members = [cast(module, dtype=self.data.forces.dtype) for module in modules]
        for member, energies in zip(members, self.references, strict=True):
            member.set_reference_energies(energies)  # type: ignore[operator]
        named = [dict(member.named_buffers()) for member in members]
        device = self.data.energy.device
        return {name: torch.stack([one[name] for one in named]).to(device) for name in named[0]}
