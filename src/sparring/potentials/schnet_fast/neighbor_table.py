"""Pairs of neighbours as a table, whose parts fit a processor's cache, and sums over the neighbours of every atom."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from sparring.atoms.structures import Edges

__all__ = ["NeighborTable", "Part", "edge_products"]

PART_BYTES = {"cpu": 2**19, "cuda": 2**30}
"""Largest size of the filters of a part of a table."""


@dataclass(frozen=True, eq=False)
class Part:
    """Entries of a table that are processed together.

    Filters and products with them are kept part after part, so that those of a part are one piece of memory.

    Attributes:
        entries: Slice of the entries.
        end: Source and then target of each entry.
        n_members: Number of members that are evaluated at a time.
    """

    entries: slice
    end: Int[Tensor, " two_n_entries"]
    n_members: int

    def at_ends(self, of_atoms: Float[Tensor, "n_members n_atoms n_features"]) -> Tensor:
        """Values of atoms at the source and at the target of every entry, (n_members, 2, n_entries, n_features)."""
        ends: Tensor = of_atoms.index_select(1, self.end).unflatten(1, (2, -1))
        return ends

    def filters(self, of_table: Float[Tensor, "n_rows n_features"]) -> Tensor:
        """View of the filters of this part, (n_members, n_entries, n_features)."""
        n = self.n_members
        filters: Tensor = of_table[n * self.entries.start : n * self.entries.stop].unflatten(0, (n, -1))
        return filters

    def products(self, of_table: Float[Tensor, "2 n_rows n_features"]) -> Tensor:
        """View of products for both ends of the entries of this part, (n_members, 2, n_entries, n_features)."""
        n = 2 * self.n_members
        rows = of_table.flatten(0, 1)[n * self.entries.start : n * self.entries.stop]
        products: Tensor = rows.unflatten(0, (self.n_members, 2, -1))
        return products


@dataclass(frozen=True, eq=False)
class NeighborTable:
    r"""Pairs of neighbours: an edge and its reverse have one entry, so that their filter is computed once.

    A message :math:`m_i = \sum_j W_{ij} \circ x_j` is the sum of products at one end of each entry of an atom, with
    features of the other end. Products of all entries are computed part by part, and then added up by atom in one pass:
    no operation writes to one place from several others. Since filters are the same in both directions, the sum is its
    own adjoint.

    Attributes:
        edge: Index of the edge of each entry; its reverse has none.
        parts: Parts of the table.
        product: Rows of the products that belong to each atom, atom after atom, for one member after another.
        first_product: Index of the first of them, for every atom of all members, and their number in the end.
        n_edges: Number of edges.
        n_members: Number of members that are evaluated at a time.
    """

    edge: Int[Tensor, " n_entries"]
    parts: tuple[Part, ...]
    product: Int[Tensor, " n_products"]
    first_product: Int[Tensor, " n_members_n_atoms_1"]
    n_edges: int
    n_members: int

    @classmethod
    def of(cls, edges: Edges, n_atoms: int, *, n_members: int, n_filters: int) -> "NeighborTable":
        """Table of edges that contain the reverse of each. Waits for the device.

        Args:
            edges: Edges of the structures.
            n_atoms: Number of atoms.
            n_members: Number of members that are evaluated at a time.
            n_filters: Number of filters.
        """
        source, target, shifts = edges
        # Of both directions the one from the later atom has the entry; from an atom to its own image, that of a shift
        # whose first component that is not zero is positive.
        sign = shifts.sign() @ shifts.new_tensor([4.0, 2.0, 1.0])
        edge = torch.nonzero((source > target) | ((source == target) & (sign > 0))).flatten()
        end = torch.stack([source[edge], target[edge]])
        bytes_an_entry = n_members * n_filters * shifts.element_size()
        size = max(PART_BYTES.get(target.device.type, PART_BYTES["cuda"]) // bytes_an_entry, 1)
        parts, receivers = [], []
        for first in range(0, len(edge), size):
            entries = slice(first, min(first + size, len(edge)))
            parts.append(Part(entries, end[:, entries].flatten(), n_members))
            # A message goes from one end to the other. Members have atoms of their own, one after another.
            members = n_atoms * torch.arange(n_members, device=end.device)[:, None, None]
            receivers.append((end[:, entries].flip(0) + members).flatten())
        receiver = torch.cat(receivers) if receivers else end.flatten()
        counts = torch.bincount(receiver, minlength=n_members * n_atoms)
        first_product = functional.pad(counts.cumsum(0), (1, 0))
        product = torch.argsort(receiver, stable=True)
        return cls(edge, tuple(parts), product, first_product, len(target), n_members)

    def from_edges(self, values: Float[Tensor, "n_members n_edges"]) -> Float[Tensor, "n_members n_entries"]:
        """Values of edges in the entries of the table."""
        return values.index_select(1, self.edge)

    def to_edges(self, values: Float[Tensor, "n_members n_entries"]) -> Float[Tensor, "n_members n_edges"]:
        """Derivatives in the entries by edge; an edge whose reverse has the entry of both gets zero."""
        return values.new_zeros(len(values), self.n_edges).index_copy(1, self.edge, values)

    def sum(self, products: Float[Tensor, "2 n_rows n_features"]) -> Float[Tensor, "n_members n_atoms n_features"]:
        """Sums of products by atom."""
        sums: Tensor = functional.embedding_bag(
            self.product, products.flatten(0, 1), self.first_product, mode="sum", include_last_offset=True
        )
        of_members: Tensor = sums.unflatten(0, (self.n_members, -1))
        return of_members


def edge_products(message_bar: Tensor, x: Tensor, total: Tensor | None = None) -> Tensor:
    r"""Derivative in the filters, :math:`\bar W_{ij} = \bar m_i \circ x_j + \bar m_j \circ x_i`, added to a total.

    Args:
        message_bar: Derivative in the messages at both ends of every entry.
        x: Features at both ends of every entry.
        total: Sum so far, which is changed in place; None for zero.
    """
    total = message_bar[:, 0] * x[:, 1] if total is None else total.addcmul_(message_bar[:, 0], x[:, 1])
    return total.addcmul_(message_bar[:, 1], x[:, 0])
