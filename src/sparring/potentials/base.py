"""The one thing that a potential has to do."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.structures import Structures

__all__ = ["Architecture", "Potential", "Score", "Together"]


Score = Callable[[slice, slice, slice, Tensor, Tensor], Tensor]
"""Losses (n_members, n_structures) of some members, structures and their atoms, given the energies in eV and their
derivatives in the positions, (n_members, n_atoms, 3) in eV/Å."""


@runtime_checkable
class Together(Protocol):
    """A committee of one architecture, its derivatives computed by hand."""

    def __call__(
        self, structures: Structures, own: Float[Tensor, "n_members n_atoms 3"], twice: bool
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of structures whose positions are each member's own; may be asked to be differentiable twice."""

    def learn(
        self,
        structures: Structures,
        own: Float[Tensor, "n_members n_atoms 3"],
        score: Score,
        gradient: Mapping[str, Tensor],
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses; the derivatives of their sums in the weights are added to a gradient, by name."""

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Together":
        """The same networks with other weights."""


@runtime_checkable
class Potential(Protocol):
    """Energies of structures, in eV. A plain function is a potential.

    It may have a ``cutoff`` in Å; then :class:`sparring.Committee` hands it structures whose edges are there.
    """

    def __call__(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of every structure, differentiable twice in the positions."""


class Architecture(nn.Module):
    """A potential that can be trained: a module with a name and the keyword arguments that rebuild it.

    Attributes:
        kind: Its name in files and configurations.
        revision: Which version of it weights are of; raised when the same weights come to mean other energies.
        hyperparameters: Keyword arguments of its constructor.
        cutoff: How far an atom sees, in Å; None for one that needs no edges.
        uses_charge: Whether energies depend on the charge and the multiplicity of a structure.
    """

    kind: str
    revision: int = 1
    hyperparameters: Mapping[str, object]
    cutoff: float | None
    uses_charge: bool = False

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        raise NotImplementedError(f"{type(self).__name__} cannot draw its own weights")

    def written_out(self, weights: Mapping[str, Tensor]) -> "Together | None":
        """A faster way to evaluate a committee of this architecture, twice differentiable; None if there is none.

        Args:
            weights: Parameters and buffers, each with a leading axis of members.
        """
        return None

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Take the energies that atoms have by themselves, in eV, by atomic number; ignored where there is no place."""
