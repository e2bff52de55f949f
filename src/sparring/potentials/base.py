"""Potentials: functions from structures to energies, and the modules among them that can be trained and saved."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import PurePath
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures

__all__ = [
    "N_ELEMENTS",
    "Architecture",
    "Backbone",
    "MemberEnergies",
    "PartialLoss",
    "Potential",
    "StackedModel",
    "potentials_of",
]

N_ELEMENTS = 100
"""Length of tables with one entry for each atomic number; the dummy atom X is 0."""

PartialLoss = Callable[..., Tensor]
"""Loss of each structure, (n_members, n_structures), for a part of a batch: slices of members, of structures and of
atoms, then energies in eV and dE/dx, (n_members, n_atoms, 3) in eV/Å; where members have cells of their own, the last
argument is the derivative in these, (n_members, n_structures, 3, 3) in eV/Å."""


@runtime_checkable
class MemberEnergies(Protocol):
    """Energies of the members of a committee, each at positions and in cells of its own."""

    def __call__(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        create_graph: bool,
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Energies of all members in eV, differentiable in each member's positions, and in cells.

        Args:
            structures: Batch of structures with edges.
            positions: Positions of the atoms for each member, in Å.
            create_graph: True if the derivative will be differentiated again.
            cells: Lattice vectors for each member, in Å; None for those of the structures.
        """


@runtime_checkable
class StackedModel(MemberEnergies, Protocol):
    """All members of a committee of one architecture, with analytic derivatives."""

    def accumulate_gradient(
        self,
        structures: Structures,
        positions: Float[Tensor, "n_members n_atoms 3"],
        loss: PartialLoss,
        gradient: Mapping[str, Tensor],
        cells: Float[Tensor, "n_members n_structures 3 3"] | None = None,
    ) -> Float[Tensor, "n_members n_structures"]:
        """Losses; the derivatives of each member's sum of losses in its weights are added to ``gradient``.

        Args:
            structures: Batch of structures with edges.
            positions: Positions of the atoms for each member, in Å.
            loss: Losses of a part of the batch.
            gradient: Derivatives in the weights, by name, with a leading axis of members.
            cells: Lattice vectors for each member, in Å, where the loss depends on derivatives in them.
        """

    def with_weights(self, weights: Mapping[str, Tensor]) -> "StackedModel":
        """The same architecture with other weights."""


@runtime_checkable
class Potential(Protocol):
    """Energies of structures, in eV. A plain function is a potential.

    It may have a ``cutoff`` in Å; then structures come with all edges up to that length, and some beyond it.
    """

    def __call__(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of each structure, twice differentiable in the positions."""


@runtime_checkable
class Backbone(Protocol):
    """A potential with features of atoms, on which several readouts can be trained (:mod:`sparring.potentials.heads`).

    Features are unchanged by rotations, of any scale, and twice differentiable in the positions.
    """

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of each structure in eV, and the features of atoms that its readout takes, in one pass."""


class Architecture(nn.Module):
    """A potential that can be trained and saved: a module with a name and the keyword arguments that rebuild it.

    A subclass defines ``forward(structures)``, sets ``kind``, ``hyperparameters`` and ``cutoff``, and overrides
    :meth:`initialise`. All other attributes and methods have defaults. All parameters are trained; constants belong in
    buffers. Edges are longer than the cutoff, too, so energies must go to zero smoothly there. A package makes its
    architecture known to configurations and to saved committees by an entry point::

        [project.entry-points."sparring.potentials"]
        my_network = "my_package:MyNetwork"  # the name is the `kind` of the class

    :func:`sparring.testing.check_potential` checks what is expected of the energies.

    Attributes:
        kind: Name in files and in configurations.
        revision: Version of the architecture; raised when the same weights come to mean other energies.
        hyperparameters: Keyword arguments of the constructor. Their values survive JSON: numbers, strings, booleans,
            lists and mappings of these.
        cutoff: Largest distance at which atoms interact, in Å; None for a potential without edges.
        elements: Elements that can be learnt, as symbols or atomic numbers; None for all below ``N_ELEMENTS``.
        edge_width: Number of values that an interaction computes for each edge. If given, training evaluates as many
            members at a time as stay in the processor's cache; 0 for all members at once.
        uses_charge: True if energies depend on the charge and the multiplicity of a structure.
        supports_vmap: False for modules that ``torch.func.vmap`` cannot transform; members are then evaluated one after
            another instead of in one pass.
        casts_buffers: True if buffers follow the weights to another precision; otherwise they keep their own.
        shared: Name of the submodule that is one and the same in all members of a committee, and that is saved once;
            None if each member has all weights of its own.
        draws_constants: True if :meth:`initialise` draws buffers, too, which then differ between members.
    """

    kind: str
    revision: int = 1
    hyperparameters: Mapping[str, object]
    cutoff: float | None
    elements: Iterable[int | str] | None = None
    edge_width: int = 0
    uses_charge: bool = False
    supports_vmap: bool = True
    casts_buffers: bool = False
    shared: str | None = None
    draws_constants: bool = False

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights from the generator; :func:`sparring.fit` calls it once for each member."""
        raise NotImplementedError(f"{type(self).__name__} needs initialise(generator), which draws its weights")

    def for_data(self, dataset: Dataset) -> "Architecture":
        """The architecture that fits a data set: its elements, its mean number of neighbours, the size of its forces.

        :func:`sparring.fit` calls it once, before weights are drawn. The default returns the architecture itself.
        """
        return self

    def stacked_model(self, weights: Mapping[str, Tensor]) -> "StackedModel | None":
        """A faster evaluation of a committee of this architecture; None (default) for automatic differentiation.

        Args:
            weights: Parameters and buffers, each with a leading axis of members.
        """
        return None

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number. The default ignores them.

        They belong in a buffer. :func:`sparring.fit` chooses them by least squares before and after training.
        """

    def get_reference_energies(self) -> Float[Tensor, " n_elements"] | None:
        """Energies of the elements, in eV, by atomic number, from which a fine-tuning starts; None (default) for zero.

        Those that :meth:`set_reference_energies` has set, or that the model of another package came with.
        """
        return None


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
