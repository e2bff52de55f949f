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

import math
from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sparring.atoms.neighbors import edge_vectors
from sparring.atoms.structures import Edges, Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.painn_fast.network import StackedPaiNN
from sparring.potentials.painn_fast.tiles import TiledPaiNN
from sparring.potentials.repulsion import pair_repulsion, smooth_envelope
from sparring.units import KCAL_PER_MOL

__all__ = ["PaiNN"]


class Message(nn.Module):
    r"""Sums over neighbours (Eq. 7 and 8).

    .. math::
        \Delta s_i &= \sum_j \phi_s(s_j) \circ W_s(d_{ij}) \\
        \Delta\vec v_i &= \sum_j \vec v_j \circ \phi_{vv}(s_j) \circ W_{vv}(d_{ij})
            + \phi_{vs}(s_j) \circ W_{vs}(d_{ij}) \, \vec r_{ij} / d_{ij}
    """

    def __init__(self, n_features: int, n_radial: int) -> None:
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(n_features, n_features), nn.SiLU(), nn.Linear(n_features, 3 * n_features))
        self.filter = nn.Linear(n_radial, 3 * n_features)

    def forward(
        self,
        scalars: Float[Tensor, "n_atoms n_features"],
        vectors: Float[Tensor, "n_atoms 3 n_features"] | None,
        basis: Float[Tensor, "n_edges n_radial_and_one"],
        direction: Float[Tensor, "n_edges 3"],
        edges: Edges,
    ) -> tuple[Float[Tensor, "n_atoms n_features"], Float[Tensor, "n_atoms 3 n_features"]]:
        """Updates of the features of every atom by its neighbours.

        Args:
            scalars: Scalar features.
            vectors: Vector features; None if all are zero, as in the first layer.
            basis: Radial basis and a one for the bias of the filters, both times the envelope.
            direction: Unit vectors from each atom to its neighbours.
            edges: Neighbours.
        """
        weight = torch.cat([self.filter.weight, self.filter.bias.unsqueeze(-1)], dim=1)
        messages = self.phi(scalars).index_select(0, edges.source) * functional.linear(basis, weight)
        of_s, of_vv, of_vs = messages.unflatten(-1, (3, -1)).unbind(-2)
        of_v = of_vs.unsqueeze(1) * direction.unsqueeze(-1)
        if vectors is not None:
            of_v = of_v + vectors.index_select(0, edges.source) * of_vv.unsqueeze(1)
        delta_s = torch.zeros_like(scalars).index_add(0, edges.target, of_s)
        zeros = of_v.new_zeros(len(scalars), *of_v.shape[1:])
        return delta_s, zeros.index_add(0, edges.target, of_v)


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
        self.mix = nn.Linear(n_features, 2 * n_features, bias=False)  # U and V
        self.a = nn.Sequential(nn.Linear(2 * n_features, n_features), nn.SiLU(), nn.Linear(n_features, 3 * n_features))

    def forward(
        self, scalars: Float[Tensor, "n_atoms n_features"], vectors: Float[Tensor, "n_atoms 3 n_features"]
    ) -> tuple[Float[Tensor, "n_atoms n_features"], Float[Tensor, "n_atoms 3 n_features"]]:
        """Updates of the features of every atom by its own."""
        u, v = self.mix(vectors).unflatten(-1, (2, -1)).unbind(-2)
        square = v.square().sum(1)
        norm = square / (1 + (1 + square).sqrt())  # sqrt(1 + v²) - 1 without cancellation
        a_ss, a_sv, a_vv = self.a(torch.cat([scalars, norm], dim=-1)).unflatten(-1, (3, -1)).unbind(-2)
        return a_ss + a_sv * (u * v).sum(1), a_vv.unsqueeze(1) * u


class PaiNN(Architecture):
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
    cutoff: float

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
        super().__init__()
        if not 0 < cutoff < math.inf:
            raise ValueError(f"the cutoff must be positive, got {cutoff} Å")
        if min(n_features, n_interactions, n_radial) < 1:
            raise ValueError(
                "PaiNN needs at least one feature, one interaction and one radial basis function, got "
                f"n_features={n_features}, n_interactions={n_interactions}, n_radial={n_radial}"
            )
        self.hyperparameters = {
            "n_features": n_features,
            "n_interactions": n_interactions,
            "n_radial": n_radial,
            "cutoff": cutoff,
            "reference_energies": reference_energies,
            "repulsion": repulsion,
        }
        self.n_features, self.n_radial, self.cutoff = n_features, n_radial, cutoff
        self.edge_width = 6 * n_features  # filters of scalars and vectors, and messages of vectors
        self.reference_energies, self.repulsion = reference_energies, repulsion
        self.embedding = nn.Embedding(N_ELEMENTS, n_features)
        self.messages = nn.ModuleList(Message(n_features, n_radial) for _ in range(n_interactions))
        self.updates = nn.ModuleList(Update(n_features) for _ in range(n_interactions))
        n_half = max(n_features // 2, 1)
        self.readout = nn.Sequential(nn.Linear(n_features, n_half), nn.SiLU(), nn.Linear(n_half, 1))
        self.register_buffer("atomic_energy", torch.zeros(N_ELEMENTS, dtype=torch.float64))
        self.atomic_energy: Tensor

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights: Glorot-uniform matrices, zero biases, unit-normal embeddings."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)

    def stacked_model(self, weights: Mapping[str, Tensor]) -> TiledPaiNN:
        """The same network for all members at once, see :mod:`sparring.potentials.painn_fast.messages`."""
        network = partial(
            StackedPaiNN,
            n_interactions=len(self.messages),
            n_radial=self.n_radial,
            cutoff=self.cutoff,
            reference_energies=self.reference_energies,
        )
        return TiledPaiNN(weights, network, n_features=self.n_features, repulsion=self.repulsion)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number; ignored without ``reference_energies``."""
        if self.reference_energies:
            self.atomic_energy = energies.to(self.atomic_energy)

    def features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, "n_atoms n_features"], Float[Tensor, "n_atoms 3 n_features"]]:
        """Scalar and vector features of every atom after the last layer; the structures must have edges."""
        if structures.edges is None:
            raise ValueError("PaiNN needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        edge = edge_vectors(structures)
        distance = edge.square().sum(-1).sqrt()
        direction = edge / distance.unsqueeze(-1)
        # The envelope scales the filters. To scale their input, which is narrow, and a one for the bias is the same.
        envelope = smooth_envelope(distance / self.cutoff).unsqueeze(-1)
        basis = torch.cat([bessel(distance, self.n_radial, self.cutoff) * envelope, envelope], dim=1)
        scalars = self.embedding(structures.atomic_numbers)
        vectors: Tensor | None = None
        for message, update in zip(self.messages, self.updates, strict=True):
            delta_s, delta_v = message(scalars, vectors, basis, direction, structures.edges)
            scalars, vectors = scalars + delta_s, delta_v if vectors is None else vectors + delta_v
            delta_s, delta_v = update(scalars, vectors)
            scalars, vectors = scalars + delta_s, vectors + delta_v
        assert vectors is not None  # there is at least one layer
        return scalars, vectors

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of every structure in eV; the structures must have edges."""
        return self.energy_and_features(structures)[0]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of every structure in eV, and the scalar features that are read out as the energy."""
        scalars, _ = self.features(structures)
        atoms: Tensor = self.readout(scalars).squeeze(-1).double() * KCAL_PER_MOL
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(0, structures.atomic_numbers)
        if self.repulsion:
            atoms = atoms + pair_repulsion(structures)
        energy = atoms.new_zeros(structures.n_structures).index_add(0, structures.structure_index, atoms)
        return energy, scalars


def bessel(distance: Float[Tensor, "*n_edges"], n_radial: int, cutoff: float) -> Float[Tensor, "*n_edges n_radial"]:
    r"""Radial basis :math:`\sqrt{2 / r_c} \sin(n \pi d / r_c) / d` (Gasteiger et al., arXiv:2003.03123).

    Args:
        distance: Length of every edge, in Å.
        n_radial: Number of functions.
        cutoff: Distance :math:`r_c` at which all functions are zero, in Å.
    """
    n = torch.arange(1, n_radial + 1, dtype=distance.dtype, device=distance.device)
    d = distance.unsqueeze(-1)
    return math.sqrt(2 / cutoff) * torch.sin(n * (math.pi / cutoff) * d) / d
