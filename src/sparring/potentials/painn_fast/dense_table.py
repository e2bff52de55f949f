r"""Neighbours in molecules of one size as matrices, so that sums over neighbours are products of matrices.

For each molecule, :math:`G_{i,(nj)} = q_n(ij)` and :math:`G_{(ci),(nj)} = q^c_n(ij)` are matrices with zeros where i is
j. With sources times the weights of the filters, :math:`X_{(nj)} = A_n \circ x_j`, sums over neighbours are the
products GX. The names are those of :mod:`sparring.potentials.painn_fast.messages`. The work is that of n² pairs, not
of n (n - 1) / 2, but no filter of a pair, as wide as the features, is written to memory.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sparring.potentials.painn_fast.features import Basis, Message, Source

__all__ = ["DenseTable"]


@dataclass(frozen=True, eq=False)
class DenseTable:
    """All pairs of atoms of molecules of one size, an atom with itself included.

    Attributes:
        edge: Edge of each entry; the first edge for an atom with itself.
        filled: One for entries with an edge and zero for the others.
        n_molecules: Number of molecules.
        size: Number of atoms of each.
    """

    edge: Int[Tensor, " n_entries"]
    filled: Float[Tensor, " n_entries"]
    n_molecules: int
    size: int

    @classmethod
    def of(cls, n_molecules: int, size: int, like: Tensor) -> "DenseTable":
        """Table of molecules whose edges are all pairs, sorted by molecule, by target and by source."""
        atom = torch.arange(size, device=like.device)
        i, j = atom.unsqueeze(1), atom.unsqueeze(0)
        edge = i * (size - 1) + j - (j > i).long()
        molecule = torch.arange(n_molecules, device=like.device).view(-1, 1, 1)
        edge = torch.where(i == j, 0, edge + molecule * (size * (size - 1)))
        filled = (i != j).to(like.dtype).expand_as(edge)
        return cls(edge.flatten(), filled.flatten(), n_molecules, size)

    @property
    def n_edges(self) -> int:
        """Number of edges."""
        return self.n_molecules * self.size * (self.size - 1)

    def from_edges(self, values: Float[Tensor, "n_members n_edges 3"]) -> Float[Tensor, "n_members 3 n_entries"]:
        """Vectors of edges in the entries."""
        return values.index_select(1, self.edge).mT.contiguous()

    def to_edges(self, values: Float[Tensor, "n_members 3 n_entries"]) -> Float[Tensor, "n_members n_edges 3"]:
        """Derivatives in the entries by edge."""
        # Without the diagonal, a matrix of n (n + 1) numbers less the first of each row has the edges in their order.
        n = self.size
        square = values.mT.reshape(len(values), self.n_molecules, n * n, 3)
        edges: Tensor = square[:, :, 1:].unflatten(2, (n - 1, n + 1))[:, :, :, :n]
        return edges.flatten(1, 3)

    def order(self, of_atoms: Int[Tensor, " n_atoms"]) -> Int[Tensor, " n_atoms"]:
        """Values of atoms in the order of the table."""
        return of_atoms

    def sum_atoms(self, of_atoms: Float[Tensor, "n_members n_atoms"]) -> Float[Tensor, "n_members n_structures"]:
        """Sums over the atoms of each molecule."""
        sums: Tensor = of_atoms.unflatten(1, (-1, self.size)).sum(2)
        return sums

    def laid_out(
        self, scalar: Float[Tensor, "n_members n_entries n"], vector: Float[Tensor, "n_members 3 n_entries n"]
    ) -> Basis:
        """Basis as matrices G, with axes member and molecule, i or (c, i), (n, j)."""
        n = self.size
        of_scalar = scalar.unflatten(1, (-1, n, n)).transpose(3, 4).flatten(3, 4).flatten(0, 1)
        of_vector = vector.unflatten(2, (-1, n, n)).permute(0, 2, 1, 3, 5, 4).reshape(*of_scalar.shape[:1], 3 * n, -1)
        return Basis(of_scalar, of_vector)

    def by_entry(
        self, basis: Basis
    ) -> tuple[Float[Tensor, "n_members n_entries n"], Float[Tensor, "n_members 3 n_entries n"]]:
        """The inverse of :meth:`laid_out`."""
        n, n_molecules = self.size, self.n_molecules
        scalar = basis.scalar.unflatten(0, (-1, n_molecules)).unflatten(3, (-1, n)).transpose(3, 4)
        vector = basis.vector.unflatten(0, (-1, n_molecules)).unflatten(2, (3, n)).unflatten(4, (-1, n))
        return scalar.flatten(1, 3), vector.permute(0, 2, 1, 3, 5, 4).flatten(2, 4)

    def sums(self, source: Source, basis: Basis, weight: Tensor) -> Message:
        """Sums over neighbours, m = G X."""
        A, A_vs = _weights(weight, source.vector is not None)
        scalar, vector = self._parts(
            torch.bmm(basis.scalar, self._weighted(self._rows(*source[::2]), A)), source.scalar.shape[2]
        )
        radial = torch.bmm(basis.vector, self._weighted(self._rows(source.radial, None), A_vs))
        of_radial = radial.unflatten(1, (3, -1)).unflatten(0, (-1, self.n_molecules)).transpose(1, 2)
        return Message(scalar, (of_radial if vector is None else vector + of_radial).flatten(2, 3))

    def adjoint(self, message_bar: Message, basis: Basis, weight: Tensor, *, vectors: bool) -> Source:
        """Derivatives in the sources; those in p and y are sums over neighbours too, as q(ij) is q(ji)."""
        A, A_vs = _weights(weight, vectors)
        bar = self._rows(message_bar.scalar, message_bar.vector if vectors else None)
        scalar, vector = self._parts(torch.bmm(basis.scalar, self._weighted(bar, A)), A_vs.shape[2])
        back = self._back(basis.vector, self._component_rows(message_bar.vector))
        radial = (back.unflatten(0, (-1, self.n_molecules)) * A_vs[:, None, :, None]).sum(2)
        return Source(scalar, radial.flatten(1, 2), None if vector is None else vector.flatten(2, 3))

    def basis_gradient(self, message_bar: Message, source: Source, weight: Tensor) -> Basis:
        """Derivatives in the basis, Ḡ = m̄ X^T."""
        A, A_vs = _weights(weight, source.vector is not None)
        bar = self._rows(message_bar.scalar, None if source.vector is None else message_bar.vector)
        return Basis(
            torch.bmm(bar, self._weighted(self._rows(*source[::2]), A).mT),
            torch.bmm(
                self._component_rows(message_bar.vector),
                self._weighted(self._rows(source.radial, None), A_vs).mT,
            ),
        )

    def weight_gradient(self, message_bar: Message, source: Source, basis: Basis) -> Tensor:
        """Derivatives in the weights of the filters, Ā_n = Σ_j (G^T m̄)_(nj) ∘ x_j."""
        n_features = source.scalar.shape[2]
        bar = self._rows(message_bar.scalar, None if source.vector is None else message_bar.vector)
        of_rows = self._of_weights(self._back(basis.scalar, bar), self._rows(*source[::2]))
        back = self._back(basis.vector, self._component_rows(message_bar.vector))
        radial = self._of_weights(back, self._rows(source.radial, None))
        scalar, *vectors = of_rows.split(n_features, dim=2)
        vector = torch.stack(vectors).sum(0) if vectors else torch.zeros_like(scalar)
        return torch.cat([scalar.mT, vector.mT, radial.mT], dim=1)

    def _of_weights(self, back: Tensor, rows: Tensor) -> Float[Tensor, "n_members n_basis n_columns"]:
        of_members: Tensor = (back * rows.unsqueeze(1)).sum(2).unflatten(0, (-1, self.n_molecules)).sum(1)
        return of_members

    def _back(self, matrix: Tensor, bar: Tensor) -> Tensor:
        """G^T m̄, with axes member and molecule, n, j, feature."""
        product: Tensor = torch.bmm(matrix.mT, bar).unflatten(1, (-1, self.size))
        return product

    def _rows(self, scalar: Tensor, vector: Tensor | None) -> Tensor:
        """Features of atoms side by side, with axes member and molecule, atom, feature."""
        of_scalar: Tensor = scalar.unflatten(1, (-1, self.size)).flatten(0, 1)
        if vector is None:
            return of_scalar.contiguous()
        components = vector.unflatten(2, (-1, self.size)).unbind(1)
        return torch.cat([of_scalar, *(component.flatten(0, 1) for component in components)], dim=2)

    def _component_rows(self, vector: Tensor) -> Tensor:
        """Vectors with axes member and molecule, component and atom, feature."""
        rows: Tensor = vector.unflatten(2, (-1, self.size)).transpose(1, 2).flatten(0, 1).flatten(1, 2)
        return rows

    def _weighted(self, rows: Tensor, A: Float[Tensor, "n_members n_basis n_columns"]) -> Tensor:
        """X: rows of atoms times the weights of each basis function, with axes member and molecule, (n, j), feature."""
        product = rows.unflatten(0, (-1, self.n_molecules)).unsqueeze(2) * A[:, None, :, None]
        weighted: Tensor = product.flatten(2, 3).flatten(0, 1)
        return weighted

    def _parts(self, rows: Tensor, n_features: int) -> tuple[Tensor, Tensor | None]:
        """Scalars of atoms, and vectors with axes member, component, molecule, atom; the latter None if not there."""
        scalar, *vector = rows.unflatten(0, (-1, self.n_molecules)).split(n_features, dim=3)
        return scalar.flatten(1, 2), torch.stack(vector, dim=1) if vector else None


def _weights(weight: Tensor, vectors: bool) -> tuple[Tensor, Tensor]:
    """Weights of the filters of scalars, and of the components of y, side by side; and those of r."""
    A_s, A_vv, A_vs = weight.mT.chunk(3, dim=2)
    return torch.cat([A_s, A_vv, A_vv, A_vv], dim=2) if vectors else A_s, A_vs
