"""A plain network of coordinates, for toy wells (Sec. V.A of Schwalbe-Koda et al.)."""

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture

__all__ = ["CoordinateMLP"]


class CoordinateMLP(Architecture):
    """Energy of a particle as a function of its first coordinates; no symmetry, no neighbours.

    Layers do not share weights (in the published code they do, by accident).

    Args:
        n_coordinates: Number of coordinates, of x, y, z, that the energy depends on.
        n_layers: Number of hidden layers.
        n_units: Width of each hidden layer.
    """

    kind = "coordinate_mlp"

    def __init__(self, *, n_coordinates: int = 2, n_layers: int = 4, n_units: int = 1024) -> None:
        super().__init__()
        if not 1 <= n_coordinates <= 3:
            raise ValueError(f"a particle has 1 to 3 coordinates, got n_coordinates={n_coordinates}")
        if min(n_layers, n_units) < 1:
            raise ValueError(f"the network needs a layer and a unit, got n_layers={n_layers}, n_units={n_units}")
        self.hyperparameters = {"n_coordinates": n_coordinates, "n_layers": n_layers, "n_units": n_units}
        self.cutoff = None
        self.n_coordinates = n_coordinates
        widths = [n_coordinates, *[n_units] * n_layers]
        hidden = [
            module for n_in, n_out in itertools.pairwise(widths) for module in (nn.Linear(n_in, n_out), nn.Softplus())
        ]
        self.layers = nn.Sequential(*hidden, nn.Linear(n_units, 1))

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights as PyTorch does by default: uniform within 1/sqrt(fan in)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)

    def forward(self, structures: Structures) -> Float[Tensor, " n_structures"]:
        """Energy of every structure in eV; particles do not interact."""
        return self.energy_and_features(structures)[0]

    def energy_and_features(
        self, structures: Structures
    ) -> tuple[Float[Tensor, " n_structures"], Float[Tensor, "n_atoms n_features"]]:
        """Energy of every structure in eV, and the units of the last hidden layer."""
        features: Tensor = self.layers[:-1](structures.positions[:, : self.n_coordinates])
        atoms: Tensor = self.layers[-1](features).squeeze(-1).double()
        return atoms.new_zeros(structures.n_structures).index_add(0, structures.structure_index, atoms), features
