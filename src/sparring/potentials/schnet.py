"""SchNet, a continuous-filter convolutional network: Schütt et al., doi:10.1063/1.5019779."""

import math
from collections.abc import Mapping
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Edges, Structures
from sparring.potentials.base import N_ELEMENTS, Architecture
from sparring.potentials.schnet_fast.derivatives import AnalyticSchNet
from sparring.potentials.schnet_fast.radial import LOWEST_EXPONENT
from sparring.potentials.schnet_fast.tiles import TiledSchNet
from sparring.units import KCAL_PER_MOL

__all__ = ["SchNet"]


class ShiftedSoftplus(nn.Module):
    """ln(0.5 eˣ + 0.5): smooth everywhere, and zero at zero."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply to every element."""
        return functional.softplus(x) - math.log(2.0)


class Gaussians(nn.Module):
    """Gaussians of a distance, with trained centres and widths: exp(-(d - c)² / 2w²)."""

    def __init__(self, n_gaussians: int, cutoff: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.linspace(0.0, cutoff, n_gaussians))
        self.widths = nn.Parameter(torch.full((n_gaussians,), cutoff / (n_gaussians - 1)))

    def forward(self, distance: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_gaussians"]:
        """Value of each Gaussian, one column each."""
        exponent = -0.5 * ((distance.unsqueeze(-1) - self.centres) / self.widths).square()
        return torch.exp(exponent.clamp(min=LOWEST_EXPONENT))


class Interaction(nn.Module):
    """One continuous-filter convolution: a sum over neighbours, weighted by a filter of their distance."""

    def __init__(self, n_features: int, n_filters: int, n_gaussians: int, cutoff: float) -> None:
        super().__init__()
        self.seen = nn.Sequential(
            Gaussians(n_gaussians, cutoff), nn.Linear(n_gaussians, n_gaussians), ShiftedSoftplus()
        )
        self.filter = nn.Linear(n_gaussians, n_filters)
        self.node = nn.Linear(n_features, n_filters)
        self.update = nn.Sequential(
            nn.Linear(n_filters, n_features), ShiftedSoftplus(), nn.Linear(n_features, n_features)
        )

    def forward(
        self,
        features: Float[Tensor, "n_atoms n_features"],
        distance: Float[Tensor, " n_edges"],
        weight: Float[Tensor, " n_edges"],
        edges: Edges,
    ) -> Float[Tensor, "n_atoms n_features"]:
        """Update of the features of every atom by its neighbours."""
        # The envelope scales the filters. To scale their input, which is narrow, and a one for the bias is the same
        # with an eighth of the work.
        envelope = weight.unsqueeze(-1)
        q = torch.cat([self.seen(distance) * envelope, envelope], dim=1)
        filters = functional.linear(q, torch.cat([self.filter.weight, self.filter.bias.unsqueeze(-1)], dim=1))
        node = self.node(features)
        messages = node.index_select(0, edges.source) * filters
        update: Tensor = self.update(torch.zeros_like(node).index_add(0, edges.target, messages))
        return update


class SchNet(Architecture):
    r"""SchNet as Schwalbe-Koda et al. used it: 886,401 parameters at its default size.

    Features of each atom start from an embedding of its element, are updated by convolutions over its neighbours, and
    are read out as an energy. Two things are added to the published network, and can be switched off. Messages go to
    zero smoothly at the cutoff (:math:`1 - 28x^6 + 48x^7 - 21x^8`, two continuous derivatives), where the published
    ones break off. Each element has a reference energy, so that the network need not learn the energies of cores.
    Energies are summed in double precision independent of the precision of the network.

    The readout is in kcal/mol, as that of the published network. Adam moves weights by steps of the same length
    in any unit, so the unit decides how much an energy moves in a step: with eV, training is slower and ends
    farther from its goal.

    Args:
        n_features: Width of an atom's features.
        n_filters: Width of the convolutions.
        n_interactions: Number of convolutions.
        n_gaussians: Number of Gaussians of a distance.
        cutoff: Largest distance at which atoms interact, in Å.
        envelope: True for messages that go to zero smoothly at the cutoff.
        reference_energies: True for elements with energies of their own, set by :func:`sparring.fit`.
    """

    kind = "schnet"
    revision = 2  # the readout is in kcal/mol
    cutoff: float

    def __init__(
        self,
        *,
        n_features: int = 256,
        n_filters: int = 256,
        n_interactions: int = 4,
        n_gaussians: int = 32,
        cutoff: float = 5.0,
        envelope: bool = True,
        reference_energies: bool = True,
    ) -> None:
        super().__init__()
        if cutoff <= 0:
            raise ValueError(f"the cutoff must be positive, got {cutoff} Å")
        if n_gaussians < 2 or min(n_features, n_filters, n_interactions) < 1:
            raise ValueError("SchNet needs at least two Gaussians, and one feature, filter and interaction")
        self.hyperparameters = {
            "n_features": n_features,
            "n_filters": n_filters,
            "n_interactions": n_interactions,
            "n_gaussians": n_gaussians,
            "cutoff": cutoff,
            "envelope": envelope,
            "reference_energies": reference_energies,
        }
        self.cutoff, self.edge_width = cutoff, n_filters
        self.envelope = envelope
        self.reference_energies = reference_energies
        self.embedding = nn.Embedding(N_ELEMENTS, n_features)
        self.interactions = nn.ModuleList(
            Interaction(n_features, n_filters, n_gaussians, cutoff) for _ in range(n_interactions)
        )
        n_half = max(n_features // 2, 1)
        self.readout = nn.Sequential(nn.Linear(n_features, n_half), ShiftedSoftplus(), nn.Linear(n_half, 1))
        self.register_buffer("atomic_energy", torch.zeros(N_ELEMENTS, dtype=torch.float64))
        self.atomic_energy: Tensor

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights: Glorot-uniform matrices, zero biases, unit-normal embeddings; Gaussians stay."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)

    def stacked_model(self, weights: Mapping[str, Tensor]) -> TiledSchNet:
        """The same network for all members at once, with analytic derivatives."""
        network = partial(
            AnalyticSchNet,
            n_interactions=len(self.interactions),
            cutoff=self.cutoff,
            envelope=self.envelope,
            reference_energies=self.reference_energies,
        )
        return TiledSchNet(weights, network, n_filters=self.edge_width)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Set the energy of each element, in eV, by atomic number; ignored without ``reference_energies``."""
        if self.reference_energies:
            self.atomic_energy = energies.to(self.atomic_energy)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of every structure in eV; the structures must have edges."""
        return self.energy_and_features(structures)[0]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of every structure in eV, and the features that are read out as the energy."""
        if structures.edges is None:
            raise ValueError("SchNet needs edges; call neighbors.with_edges(structures, potential.cutoff) first")
        distance = distances(structures)
        weight = polynomial_envelope(distance / self.cutoff) if self.envelope else (distance < self.cutoff).to(distance)
        features = self.embedding(structures.atomic_numbers)
        for interaction in self.interactions:
            features = features + interaction(features, distance, weight, structures.edges)
        atoms: Tensor = self.readout(features).squeeze(-1).double() * KCAL_PER_MOL
        if self.reference_energies:
            atoms = atoms + self.atomic_energy.index_select(0, structures.atomic_numbers)
        energy = atoms.new_zeros(structures.n_structures).index_add(0, structures.structure_index, atoms)
        return energy, features


def polynomial_envelope(x: Float[Tensor, " n_edges"]) -> Float[Tensor, " n_edges"]:
    """One at zero, zero from one on, with two continuous derivatives (Gasteiger et al., arXiv:2003.03123, p = 6)."""
    inside = x.clamp(max=1.0)
    return 1 - 28 * inside**6 + 48 * inside**7 - 21 * inside**8
