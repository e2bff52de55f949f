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
from sparring.potentials.base import Architecture
from sparring.potentials.schnet_fast.derivatives import WrittenOut
from sparring.potentials.schnet_fast.radial import LOWEST_EXPONENT
from sparring.potentials.schnet_fast.tiles import Tiled
from sparring.units import KCAL_PER_MOL

__all__ = ["N_ELEMENTS", "SchNet"]

N_ELEMENTS = 100


class ShiftedSoftplus(nn.Module):
    """ln(0.5 eˣ + 0.5): smooth everywhere, and zero at zero."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Apply to every element."""
        return functional.softplus(x) - math.log(2.0)


class Gaussians(nn.Module):
    """Distances seen through Gaussians whose centres and widths are learnt: exp(-(d - c)² / 2w²)."""

    def __init__(self, n_gaussians: int, cutoff: float) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.linspace(0.0, cutoff, n_gaussians))
        self.widths = nn.Parameter(torch.full((n_gaussians,), cutoff / (n_gaussians - 1)))

    def forward(self, distance: Float[Tensor, " n_edges"]) -> Float[Tensor, "n_edges n_gaussians"]:
        """One column a Gaussian."""
        exponent = -0.5 * ((distance.unsqueeze(-1) - self.centres) / self.widths).square()
        return torch.exp(exponent.clamp(min=LOWEST_EXPONENT))


class Interaction(nn.Module):
    """One continuous-filter convolution: each atom gathers its neighbours, weighted by a filter of their distance."""

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
        """What the neighbours add to every atom."""
        # The envelope scales the filters. To scale what they are made of, a narrow layer and a one for the bias, is the
        # same with an eighth of the work.
        fade = weight.unsqueeze(-1)
        seen = torch.cat([self.seen(distance) * fade, fade], dim=1)
        filters = functional.linear(seen, torch.cat([self.filter.weight, self.filter.bias.unsqueeze(-1)], dim=1))
        node = self.node(features)
        messages = node.index_select(0, edges.source) * filters
        update: Tensor = self.update(torch.zeros_like(node).index_add(0, edges.target, messages))
        return update


class SchNet(Architecture):
    r"""SchNet as Schwalbe-Koda et al. used it: 886,401 parameters at its default size.

    Each atom starts from an embedding of its element, is refined by convolutions over its neighbours, and is read out
    as an energy. Two things are added to the published network, and can be switched off. Messages fade out smoothly
    at the cutoff (:math:`1 - 28x^6 + 48x^7 - 21x^8`, two continuous derivatives), where the published one breaks off.
    Each element has a reference energy, so that the network learns chemistry rather than the energies of cores.
    Energies are added up in double precision whatever the precision of the network.

    The readout speaks kcal/mol, as that of the published network does. Adam moves weights by steps of the same length
    whatever the unit, so the unit decides how much an energy moves in a step: with eV, training is slower and ends
    farther from its goal.

    Args:
        n_features: Width of an atom's representation.
        n_filters: Width of the convolutions.
        n_interactions: How many convolutions.
        n_gaussians: How many Gaussians a distance is seen through.
        cutoff: How far an atom sees, in Å.
        envelope: Whether messages fade out at the cutoff.
        reference_energies: Whether elements have energies of their own, set by :func:`sparring.fit`.
    """

    kind = "schnet"
    revision = 2  # the readout speaks kcal/mol
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
        self.cutoff, self.n_filters = cutoff, n_filters
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
        """Draw new weights: Glorot-uniform matrices, zero biases, unit-normal embeddings; Gaussians stay put."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, generator=generator)

    def written_out(self, weights: Mapping[str, Tensor]) -> Tiled:
        """The same network for all members at once, its derivatives computed by hand."""
        network = partial(
            WrittenOut,
            n_interactions=len(self.interactions),
            cutoff=self.cutoff,
            envelope=self.envelope,
            reference_energies=self.reference_energies,
        )
        return Tiled(weights, network, n_filters=self.n_filters)

    def set_reference_energies(self, energies: Float[Tensor, " n_elements"]) -> None:
        """Take the energies that atoms have by themselves, in eV, by atomic number."""
        if self.reference_energies:
            self.atomic_energy = energies.to(self.atomic_energy)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of every structure in eV; the structures must have edges."""
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
        return atoms.new_zeros(structures.n_structures).index_add(0, structures.structure_index, atoms)


def polynomial_envelope(x: Float[Tensor, " n_edges"]) -> Float[Tensor, " n_edges"]:
    """One at zero, zero from one on, with two continuous derivatives (Gasteiger et al., arXiv:2003.03123, p = 6)."""
    inside = x.clamp(max=1.0)
    return 1 - 28 * inside**6 + 48 * inside**7 - 21 * inside**8
