r"""ACE, a message-passing atomic cluster expansion, after MACE (Batatia et al., arXiv:2206.07697).

Symbols of the equations in this folder:

================================ ==========================================================================
:math:`s_i, \vec v_i`            features and vector features of atom i
:math:`\hat r_{ij}, d_{ij}`      unit vector from atom i to its neighbour j, and its distance
:math:`R`                        radial functions: linear in a Bessel basis, times an envelope
:math:`a, \vec v, T`             moments of the neighbours' features: scalars, vectors and matrices
:math:`\bar n`                   mean number of neighbours
================================ ==========================================================================
"""

import torch
from torch import Tensor, nn

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures
from sparring.potentials.ace.layers import Layer
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.equivariant import Edge, EquivariantNetwork
from sparring.potentials.neighborhoods import Neighborhoods

__all__ = ["ACE"]

N_HIDDEN = 16
"""Width of the hidden layer between the last features and the energy."""


class ACE(EquivariantNetwork):
    r"""Energies from products of moments of each atom's neighbourhood, up to three at a time, in a few layers.

    Features of each atom start from an embedding of its element. Every layer adds to the energy of the atom: linearly
    in its features, and in the last layer by a network with one hidden layer. The sum is scaled by the size of forces
    in the training data. One layer knows an atom with any three neighbours at once, two know neighbours of neighbours.

    Unlike MACE it has Cartesian tensors up to l = 2, and radial functions that are linear in their basis.

    Args:
        n_features: Number of features of every kind.
        n_interactions: Number of layers.
        n_radial: Number of radial basis functions.
        cutoff: Largest distance at which atoms interact, in Å.
        reference_energies: True for elements with energies of their own, set by :func:`sparring.fit`.
        repulsion: True to add the repulsion of nuclei at distances below a bond length, see
            :func:`sparring.potentials.repulsion.pair_repulsion`.
        mean_neighbors: Mean number of neighbours of an atom; None for that of the training data.
        energy_scale: Scale of the network's energies in eV; None for the root mean square of the forces of the training
            data, in eV/Å.
    """

    kind = "ace"

    def __init__(
        self,
        *,
        n_features: int = 16,
        n_interactions: int = 2,
        n_radial: int = 8,
        cutoff: float = 5.0,
        reference_energies: bool = True,
        repulsion: bool = False,
        mean_neighbors: float | None = None,
        energy_scale: float | None = None,
    ) -> None:
        super().__init__(
            n_features=n_features,
            n_interactions=n_interactions,
            n_radial=n_radial,
            cutoff=cutoff,
            reference_energies=reference_energies,
            repulsion=repulsion,
        )
        of_data = {"mean_neighbors": mean_neighbors, "energy_scale": energy_scale}
        self.hyperparameters = {**self.hyperparameters, **of_data}
        self.energy_scale = energy_scale or 1.0
        self.edge_width = 5 * n_features
        self.embedding = nn.Parameter(torch.zeros(N_ELEMENTS, n_features))
        last = n_interactions - 1
        self.layers = nn.ModuleList(
            Layer(
                n_features,
                n_radial,
                from_vectors=number > 0,
                to_vectors=number < last,
                mean_neighbors=mean_neighbors or 1.0,
            )
            for number in range(n_interactions)
        )
        self.hidden = nn.Parameter(torch.zeros(n_features, N_HIDDEN))
        self.readout = nn.Parameter(torch.zeros(last * n_features + N_HIDDEN, 1))

    def for_data(self, dataset: Dataset) -> "ACE":
        """The network for a data set, with its mean number of neighbours and the size of its forces."""
        chosen = dict(self.hyperparameters)
        if chosen["mean_neighbors"] is None:
            near = distances(with_edges(dataset.structures, self.cutoff)) < self.cutoff
            chosen["mean_neighbors"] = max(int(near.sum()) / dataset.structures.n_atoms, 1.0)
        if chosen["energy_scale"] is None:
            forces = dataset.forces[dataset.atoms_with_forces]
            chosen["energy_scale"] = max(float(forces.square().mean().sqrt()), 1e-3) if len(forces) else 1.0
        return ACE(**chosen)  # type: ignore[arg-type]

    def initialise(self, generator: torch.Generator) -> None:
        """Draw new weights: normal matrices that keep the size of what they multiply, unit-normal embeddings."""
        for name, weight in self.named_parameters():
            n_terms = weight.shape[0]
            if weight is self.embedding:
                n_terms = 1
            elif name.endswith("_products"):
                n_terms = weight.shape[1] // self.embedding.shape[1]
            nn.init.normal_(weight, std=n_terms**-0.5, generator=generator)

    def atoms(self, structures: Structures, edge: Edge, neighborhoods: Neighborhoods) -> tuple[Tensor, Tensor]:
        """Energy of every atom, and what it is linear in: features of layers, and the hidden layer after the last."""
        element, unit = structures.atomic_numbers, edge.unit
        identity = torch.eye(3, dtype=unit.dtype, device=unit.device)
        quadrupole = (unit.unsqueeze(-1) * unit.unsqueeze(-2) - identity / 3).flatten(-2)
        scalars, vectors, features = self.embedding.index_select(-2, element), None, []
        for layer in self.layers:
            scalars, vectors = layer(scalars, vectors, element, edge, quadrupole, neighborhoods)
            features.append(scalars)
        features[-1] = nn.functional.silu(scalars @ self.hidden)
        values = torch.cat(features, dim=-1)
        return (values @ self.readout).squeeze(-1).double() * self.energy_scale, values
