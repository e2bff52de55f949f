"""The one thing that a potential has to do."""

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.structures import Structures

__all__ = ["Architecture", "Potential"]


Together = Callable[[Structures, Tensor, bool], Tensor]
"""Energies (n_members, n_structures) of structures whose positions (n_members, n_atoms, 3) are each member's own.

The last argument is whether they are to be differentiated twice."""


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
    """

    kind: str
    revision: int = 1
    hyperparameters: Mapping[str, object]
    cutoff: float | None

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
