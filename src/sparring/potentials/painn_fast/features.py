"""Values that PaiNN's messages are made of, and tables of neighbours that sum them."""

from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Basis", "Message", "Source", "Table"]


class Basis(NamedTuple):
    """Radial basis q of all entries of a table, and its products with the components of the unit vector.

    The table decides how they are laid out.
    """

    scalar: Tensor
    vector: Tensor


class Source(NamedTuple):
    """Features of atoms that their neighbours read.

    Attributes:
        scalar: Features p.
        radial: Features r.
        vector: Features y; None if all are zero, as in the first layer.
    """

    scalar: Float[Tensor, "n_members n_atoms n_features"]
    radial: Float[Tensor, "n_members n_atoms n_features"]
    vector: Float[Tensor, "n_members 3 n_atoms n_features"] | None


class Message(NamedTuple):
    """Sums over neighbours, and derivatives in them."""

    scalar: Float[Tensor, "n_members n_atoms n_features"]
    vector: Float[Tensor, "n_members 3 n_atoms n_features"]


@runtime_checkable
class Table(Protocol):
    """Neighbours of the atoms of some structures, with the sums of :mod:`sparring.potentials.painn_fast.messages`."""

    @property
    def filled(self) -> Float[Tensor, " n_entries"] | None:
        """One for entries with an edge and zero for the others; None if all entries have one."""

    def from_edges(self, values: Float[Tensor, "n_members n_edges 3"]) -> Float[Tensor, "n_members 3 n_entries"]:
        """Vectors of edges in the entries."""

    def to_edges(self, values: Float[Tensor, "n_members 3 n_entries"]) -> Float[Tensor, "n_members n_edges 3"]:
        """Derivatives in the entries by edge; zero for an edge that shares the entry of its reverse."""

    def order(self, of_atoms: Int[Tensor, " n_atoms"]) -> Int[Tensor, " n_atoms"]:
        """Values of atoms in the order of the table."""

    def sum_atoms(self, of_atoms: Float[Tensor, "n_members n_atoms"]) -> Float[Tensor, "n_members n_structures"]:
        """Sums over the atoms of each structure."""

    def laid_out(
        self, scalar: Float[Tensor, "n_members n_entries n"], vector: Float[Tensor, "n_members 3 n_entries n"]
    ) -> Basis:
        """Basis in the layout of the table."""

    def by_entry(
        self, basis: Basis
    ) -> tuple[Float[Tensor, "n_members n_entries n"], Float[Tensor, "n_members 3 n_entries n"]]:
        """The inverse of :meth:`laid_out`."""

    def sums(self, source: Source, basis: Basis, weight: Tensor) -> Message:
        """Sums over neighbours."""

    def adjoint(self, message_bar: Message, basis: Basis, weight: Tensor, *, vectors: bool) -> Source:
        """Derivatives in the sources, with those in y if ``vectors``."""

    def basis_gradient(self, message_bar: Message, source: Source, weight: Tensor) -> Basis:
        """Derivatives in the basis."""

    def weight_gradient(self, message_bar: Message, source: Source, basis: Basis) -> Tensor:
        """Derivatives in the weights of the filters."""
