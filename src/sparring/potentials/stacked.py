"""All members of a committee in one pass, by a module that is written for leading axes."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from sparring.atoms.structures import Structures
from sparring.potentials.base import PartialLoss
from sparring.potentials.neighborhoods import Neighborhoods, dense_or_edges
from sparring.support.cache import TensorCache

__all__ = ["StackedModule"]

N_LAYOUTS = 8
"""Number of tables of neighbours that are kept: a training has four or five."""


class StackedModule:
    """Energies of a committee, on tables of neighbours that are kept while the edges stay the same.

    Args:
        network: Module that takes structures, positions and neighbourhoods, with the hyperparameters of all members.
        weights: Parameters and buffers, each with a leading axis of members.
        tables: Tables of neighbours by the edges of a batch.
    """

    def __init__(
        self, network: nn.Module, weights: Mapping[str, Tensor], tables: TensorCache[Neighborhoods] | None = None
    ) -> None:
        self._network, self._weights = network, dict(weights)
        self._tables = TensorCache[Neighborhoods](N_LAYOUTS) if tables is None else tables

    def with_weights(self, weights: Mapping[str, Tensor]) -> "StackedModule":
        """The same architecture with other weights."""
        return StackedModule(self._network, weights, self._tables)

    def __call__(
        self, structures: Structures, positions: Float[Tensor, "n_members n_atoms 3"], create_graph: bool
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members in eV, differentiable in each member's positions, and in cells.

        Args:
            structures: Batch of structures with edges.
            positions: Positions of the atoms for each member, in Å.
            create_graph: Not used: any derivative can be differentiated again.
        """
        return self._energies(self._weights, structures, positions)

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses; the derivatives of each member's sum of losses in its weights are added to ``gradient``.

        Args:
            structures: Batch of structures with edges.
            positions: Positions of the atoms for each member, in Å.
            loss: Losses of a part of the batch.
            gradient: Derivatives in the weights, by name, with a leading axis of members.
        """
        trained = {name: self._weights[name].detach().requires_grad_() for name, _ in self._network.named_parameters()}
        with torch.enable_grad():
            positions = positions.detach().requires_grad_()
            energy = self._energies({**self._weights, **trained}, structures, positions)
            (slope,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
            members, rows, atoms = (slice(0, n) for n in (*energy.shape, positions.shape[1]))
            losses = loss(members, rows, atoms, energy, slope)
            derivatives = torch.autograd.grad(losses.sum(), list(trained.values()), materialize_grads=True)
        for name, derivative in zip(trained, derivatives, strict=True):
            gradient[name].add_(derivative)
        return losses.detach()

    def _energies(self, weights: Mapping[str, Tensor], structures: Structures, positions: Tensor) -> Tensor:
        if structures.edges is None:
            name = type(self._network).__name__
            raise ValueError(f"{name} needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        # The table holds shifts in the precision of the positions.
        table = self._tables.get(structures.edges.target, positions.dtype, lambda: dense_or_edges(structures))
        energies: Tensor = functional_call(self._network, dict(weights), (structures, positions, table))
        return energies
