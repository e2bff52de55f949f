"""The one thing that a potential has to do."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures

__all__ = ["Architecture", "Potential", "Score", "Together", "potentials_of"]


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


def potentials_of(members: object) -> tuple[Potential, ...]:
    """The members of a committee as a tuple.

    Raises:
        ValueError: If there is none, or one of them is no potential.
    """
    if isinstance(members, str | PurePath | nn.Module) or not isinstance(members, Iterable):
        raise ValueError(f"a committee needs a list of potentials, got {_named(members)}{_hint(members)}")
    found = tuple(members)
    if not found:
        raise ValueError("a committee needs at least one member, got none")
    for index, member in enumerate(found):
        if isinstance(member, type) or not callable(member):
            raise ValueError(
                "members of a committee are potentials: functions of structures that return energies in eV; member "
                f"{index} is {_named(member)}{_hint(member)}"
            )
    return found


def _named(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    shown = f" {str(value)!r}" if isinstance(value, str | PurePath) else ""
    return f"{type(value).__name__}{shown}"


def _hint(value: object) -> str:
    if isinstance(value, str | PurePath):
        return "; read a saved committee by sparring.read_committee(folder)"
    if isinstance(value, type):
        return f"; make one: {value.__name__}(...)"
    return "; put it into a list" if callable(value) else ""
