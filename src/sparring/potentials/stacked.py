"""All members of a committee in one pass, by a module that is written for leading axes of members."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture, PartialLoss
from sparring.potentials.blocks import Block, cut_into_blocks
from sparring.potentials.neighborhoods import Neighborhoods, dense_or_edges
from sparring.support.cache import TensorCache

__all__ = ["StackedModule"]

N_LAYOUTS = 8
"""Number of layouts of edges that are kept: a training has four or five."""

BLOCK_BYTES = {"cpu": 32 * 2**20, "cuda": 2**30}
"""Largest size of the values of all edges of a block in one layer, for all members."""

Blocks = tuple[Block[Neighborhoods], ...]
Context = Any
"""Context of an autograd function; it accepts any attributes."""


class StackedModule:
    """Energies of a committee, block after block of structures, on tables of neighbours.

    Tables are kept while the edges stay the same. Without second derivatives and in training, only the values of one
    block are in memory at a time.

    Args:
        network: Architecture that takes structures, positions and neighbourhoods, with the hyperparameters of all
            members.
        weights: Parameters and buffers, each with a leading axis of members.
        layouts: Blocks by the edges of a batch.
    """

    def __init__(
        self, network: Architecture, weights: Mapping[str, Tensor], layouts: TensorCache[Blocks] | None = None
    ) -> None:
        self._network, self._weights = network, dict(weights)
        self._layouts = TensorCache[Blocks](N_LAYOUTS) if layouts is None else layouts

    def with_weights(self, weights: Mapping[str, Tensor]) -> "StackedModule":
        """The same architecture with other weights."""
        return StackedModule(self._network, weights, self._layouts)

    def __call__(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        create_graph: bool,
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members, see :class:`sparring.potentials.base.StackedModel`."""
        cells = structures.cells.expand(len(positions), -1, -1, -1) if cells is None else cells
        parts = []
        for block in self.blocks(structures):
            local, lattice = positions[:, block.atom_slice], cells[:, block.structure_slice]
            if create_graph:
                parts.append(self._energies(self._weights, block, local, lattice))
                continue
            with torch.enable_grad():
                moved = local.detach().requires_grad_()
                strained = lattice.detach().requires_grad_(cells.requires_grad)
                energy = self._energies(self._weights, block, moved, strained)
                wanted = [moved, strained] if cells.requires_grad else [moved]
                gradient, *of_cells = torch.autograd.grad(energy.sum(), wanted, materialize_grads=True)
            owner = block.structures.structure_index
            of_cells = of_cells or [torch.zeros_like(lattice)]
            parts.append(_Linear.apply(local, lattice, energy.detach(), gradient, *of_cells, owner))  # type: ignore[no-untyped-call]
        return torch.cat(parts, dim=1)

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses and their derivatives in the weights, see :class:`sparring.potentials.base.StackedModel`."""
        trained = {name: self._weights[name].detach().requires_grad_() for name, _ in self._network.named_parameters()}
        losses = []
        for block in self.blocks(structures):
            with torch.enable_grad():
                inputs = [positions[:, block.atom_slice].detach().requires_grad_()]
                lattice = structures.cells[block.structure_slice]  # those of a block that is kept may be others
                if cells is not None:
                    lattice = cells[:, block.structure_slice].detach().requires_grad_()
                    inputs.append(lattice)
                energy = self._energies({**self._weights, **trained}, block, inputs[0], lattice)
                slopes = torch.autograd.grad(energy.sum(), inputs, create_graph=True, materialize_grads=True)
                part = loss(slice(0, len(energy)), block.structure_slice, block.atom_slice, energy, *slopes)
                derivatives = torch.autograd.grad(part.sum(), list(trained.values()), materialize_grads=True)
            for name, derivative in zip(trained, derivatives, strict=True):
                gradient[name].add_(derivative)
            losses.append(part.detach())
        return torch.cat(losses, dim=1)

    def blocks(self, structures: Structures) -> Blocks:
        """Blocks of a batch, each with a table of its edges; to lay them out waits for the device."""
        if structures.edges is None:
            name = type(self._network).__name__
            raise ValueError(f"{name} needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        target, shifts = structures.edges.target, structures.edges.shifts
        limit = BLOCK_BYTES.get(target.device.type, BLOCK_BYTES["cuda"])
        n_members = len(next(iter(self._weights.values())))
        n_edges = limit // max(n_members * self._network.edge_width * shifts.element_size(), 1)
        return self._layouts.get(
            target,
            (shifts.dtype, n_members),  # tables hold shifts in the precision of the positions
            lambda: tuple(cut_into_blocks(structures, n_edges, dense_or_edges)),
        )

    def _energies(
        self, weights: Mapping[str, Tensor], block: Block[Neighborhoods], positions: Tensor, cells: Tensor
    ) -> Tensor:
        inputs = (block.structures, positions, block.table, cells)
        energies: Tensor = functional_call(self._network, dict(weights), inputs)
        return energies


class _Linear(torch.autograd.Function):
    """Energies whose derivatives in positions and cells are known: their graph need not be kept."""

    @staticmethod
    def forward(
        ctx: Context,
        positions: Float[Tensor, "n_members n_atoms 3"],
        cells: Float[Tensor, "n_members n_structures 3 3"],
        energy: Float[Tensor, "n_members n_structures"],
        gradient: Float[Tensor, "n_members n_atoms 3"],
        of_cells: Float[Tensor, "n_members n_structures 3 3"],
        owner: Int[Tensor, " n_atoms"],
    ) -> Float[Tensor, "n_members n_structures"]:
        ctx.save_for_backward(gradient, of_cells, owner)
        return energy.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Context, energy_bar: Tensor) -> tuple[Tensor | None, ...]:
        gradient, of_cells, owner = ctx.saved_tensors
        energy_bar = energy_bar.to(gradient)
        positions_bar = gradient * energy_bar.index_select(1, owner).unsqueeze(-1)
        return positions_bar, of_cells * energy_bar[..., None, None], None, None, None, None
