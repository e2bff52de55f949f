r"""PaiNN, a message-passing network of scalars and vectors: Schütt et al., arXiv:2102.03150.

Symbols of the equations, with those of the paper:

================================ =======================================================================
:math:`s_i`                      scalar features of atom i, unchanged by rotations
:math:`\vec v_i`                 vector features of atom i, which rotate with the structure
:math:`\vec r_{ij}, d_{ij}`      vector from atom i to its neighbour j, and its length
:math:`\phi, a`                  networks of one hidden layer, for each atom
:math:`W`                        filters: linear functions of a radial basis, times an envelope
:math:`U, V`                     linear maps that mix vector features, and so rotate with them
================================ =======================================================================
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.equivariant import Edge, EquivariantNetwork
from sparring.potentials.neighborhoods import EdgeList, Neighborhoods
from sparring.units import KCAL_PER_MOL

__all__ = ["PaiNN"]


class Linear(nn.Linear):
    """A linear layer, also with weights that have leading axes of members, which inputs then have, too."""

    def forward(self, x: Float[Tensor, "*members n_atoms n_in"]) -> Tensor:
        """The result for every atom."""
        result: Tensor = x @ self.weight.mT
        return result if self.bias is None else result + self.bias.unsqueeze(-2)


class Message(nn.Module):
    r"""Sums over neighbours (Eq. 7 and 8).

    .. math::
        \Delta s_i &= \sum_j \phi_s(s_j) \circ W_s(d_{ij}) \\
        \Delta\vec v_i &= \sum_j \vec v_j \circ \phi_{vv}(s_j) \circ W_{vv}(d_{ij})
            + \phi_{vs}(s_j) \circ W_{vs}(d_{ij}) \, \vec r_{ij} / d_{ij}
    """

    def __init__(self, n_features: int, n_radial: int) -> None:
        super().__init__()
        self.phi = nn.Sequential(Linear(n_features, n_features), nn.SiLU(), Linear(n_features, 3 * n_features))
        self.filter = Linear(n_radial, 3 * n_features)

    def forward(
        self, scalars: Tensor, vectors: Tensor | None, edge: Edge, neighborhoods: Neighborhoods
    ) -> tuple[Tensor, Tensor]:
        """Updates of the features of every atom by its neighbours.

        Args:
            scalars: Scalar features, (..., n_atoms, n_features).
            vectors: Vector features, (..., n_atoms, 3, n_features); None if all are zero, as in the first layer.
            edge: Geometry of the edges.
            neighborhoods: Neighbors of every atom.
        """
        # The envelope scales the filters. To scale their input, which is narrow, and their bias is the same.
        filters = edge.radial @ self.filter.weight.mT + edge.envelope * self.filter.bias.unsqueeze(-2)
        messages = self.phi(scalars).index_select(-2, neighborhoods.source) * filters
        of_s, of_vv, of_vs = messages.chunk(3, dim=-1)
        delta_s, delta_v = neighborhoods.sum(of_s), neighborhoods.outer_sum(edge.unit, of_vs)
        if vectors is not None:
            v_j = vectors.flatten(-2).index_select(-2, neighborhoods.source).unflatten(-1, (3, -1))
            of_v = (v_j * of_vv.unsqueeze(-2)).flatten(-2)
            delta_v = delta_v + neighborhoods.sum(of_v).unflatten(-1, (3, -1))
        return delta_s, delta_v


class Update(nn.Module):
    r"""Mixing of the features of one atom (Eq. 9 and 10).

    .. math::
        \Delta s_i &= a_{ss} + a_{sv} \langle U \vec v_i, V \vec v_i \rangle \\
        \Delta\vec v_i &= a_{vv} \, U \vec v_i, \qquad a = a(s_i, n(V \vec v_i))

    The paper has the norm :math:`n(\vec v) = \lVert\vec v\rVert`, whose derivatives do not exist at zero. There are
    vectors that pass through zero by symmetry, in planar ammonia and in linear molecules, and attacks need second
    derivatives. Therefore :math:`n(\vec v) = \sqrt{1 + \vec v^2} - 1`: a norm for long vectors, smooth for short ones.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.mix = Linear(n_features, 2 * n_features, bias=False)  # U and V
        self.a = nn.Sequential(Linear(2 * n_features, n_features), nn.SiLU(), Linear(n_features, 3 * n_features))

    def forward(self, scalars: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """Updates of the features of every atom by its own."""
        u, v = self.mix(vectors.flatten(-3, -2)).unflatten(-2, (-1, 3)).chunk(2, dim=-1)
        square = v.square().sum(-2)
        norm = square / (1 + (1 + square).sqrt())  # sqrt(1 + v²) - 1 without cancellation
        a_ss, a_sv, a_vv = self.a(torch.cat([scalars, norm], dim=-1)).chunk(3, dim=-1)
        return a_ss + a_sv * (u * v).sum(-2), a_vv.unsqueeze(-2) * u


class PaiNN(EquivariantNetwork):
    r"""PaiNN: scalar and vector features, so that an atom knows the directions of its neighbours.

    Scalar features of each atom start from an embedding of its element, vector features from zero. Layers of
    :class:`Message` and :class:`Update` change them, and the scalars are read out as an energy, in kcal/mol as that of
    :class:`sparring.SchNet`. Departures from the published network: an envelope with three continuous derivatives, a
    norm that is smooth at zero, reference energies of the elements and, if wanted, a repulsion of nuclei. Energies are
    summed in double precision whatever the precision of the network.

    Args:
        n_features: Number of scalar features, and of vector features, of an atom.
        n_interactions: Number of layers.
        n_radial: Number of radial basis functions.
        cutoff: Largest distance at which atoms interact, in Å.
        reference_energies: True for elements with energies of their own, set by :func:`sparring.fit`.
        repulsion: True to add the repulsion of nuclei at distances below a bond length, see
            :func:`sparring.potentials.repulsion.pair_repulsion`.
    """

    kind = "painn"

    def __init__(
        self,
        *,
        n_features: int = 64,
        n_interactions: int = 3,
        n_radial: int = 8,
        cutoff: float = 5.0,
        reference_energies: bool = True,
        repulsion: bool = False,
    ) -> None:
        super().__init__(
            n_features=n_features,
            n_interactions=n_interactions,
            n_radial=n_radial,
            cutoff=cutoff,
            reference_energies=reference_energies,
            repulsion=repulsion,
        )
        self.edge_width = 6 * n_features  # filters of scalars and vectors, and messages of vectors
        self.embedding = nn.Embedding(N_ELEMENTS, n_features)
        self.messages = nn.ModuleList(Message(n_features, n_radial) for _ in range(n_interactions))
        self.updates = nn.ModuleList(Update(n_features) for _ in range(n_interactions))
        n_half = max(n_features // 2, 1)
        self.readout = nn.Sequential(Linear(n_features, n_half), nn.SiLU(), Linear(n_half, 1))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights: Glorot-uniform matrices, zero biases, unit-normal embeddings."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)

    def features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, "n_atoms n_features"], Float[Tensor, "n_atoms 3 n_features"]]:
        """Scalar and vector features of every atom after the last layer; the structures must have edges."""
        assert structures.edges is not None
        around = EdgeList(structures.edges, structures.n_atoms)
        edge = self.edge(structures, structures.positions, structures.cells, around)
        return self._features(structures, edge, around)

    def atoms(self, structures: Structures, edge: Edge, neighborhoods: Neighborhoods) -> tuple[Tensor, Tensor]:
        """Energy of every atom, and the scalar features that are read out as it."""
        scalars, _ = self._features(structures, edge, neighborhoods)
        return self.readout(scalars).squeeze(-1).double() * KCAL_PER_MOL, scalars

    def _features(self, structures: Structures, edge: Edge, neighborhoods: Neighborhoods) -> tuple[Tensor, Tensor]:
        scalars = self.embedding.weight.index_select(-2, structures.atomic_numbers)
        vectors: Tensor | None = None
        for message, update in zip(self.messages, self.updates, strict=True):
            delta_s, delta_v = message(scalars, vectors, edge, neighborhoods)
            scalars, vectors = scalars + delta_s, delta_v if vectors is None else vectors + delta_v
            delta_s, delta_v = update(scalars, vectors)
            scalars, vectors = scalars + delta_s, vectors + delta_v
        assert vectors is not None  # there is at least one layer
        return scalars, vectors
