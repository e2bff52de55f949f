"""The potential of another package: a network of sums over Gaussians of distances, after Behler and Parrinello."""

import torch
from ase.data import atomic_numbers
from torch import nn

from sparring import Architecture
from sparring.atoms.neighbors import distances


class PairNetwork(Architecture):
    """Each atom's energy is a network of sums over its neighbours, one sum for each element and Gaussian."""

    kind = "pair_network"

    def __init__(self, *, elements=("H", "N", "O"), n_gaussians=6, n_units=8, cutoff=3.0):
        super().__init__()
        self.hyperparameters = {
            "elements": list(elements),
            "n_gaussians": n_gaussians,
            "n_units": n_units,
            "cutoff": cutoff,
        }
        self.elements, self.cutoff = tuple(elements), cutoff
        numbers = torch.tensor([atomic_numbers[symbol] for symbol in elements])
        self.register_buffer("numbers", numbers)
        self.register_buffer("row", torch.full((100,), -1).index_copy(0, numbers, torch.arange(len(numbers))))
        self.register_buffer("centres", torch.linspace(0.5, cutoff, n_gaussians))
        self.register_buffer("reference", torch.zeros(len(numbers), dtype=torch.float64))
        self.network = nn.Sequential(nn.Linear(len(numbers) * n_gaussians, n_units), nn.Tanh(), nn.Linear(n_units, 1))

    def initialise(self, generator):
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5, generator=generator)

    def set_reference_energies(self, energies):
        self.reference = energies[self.numbers]

    def forward(self, structures):
        source, target, _ = structures.edges
        rows = self.row.index_select(0, structures.atomic_numbers)
        distance = distances(structures).unsqueeze(-1)
        # Edges of molecules are all pairs: what is farther than the cutoff has to be zero.
        envelope = (1 - (distance / self.cutoff).clamp(max=1.0).square()) ** 3
        gaussians = torch.exp(-4.0 * (distance - self.centres.to(distance)).square()) * envelope
        elements = nn.functional.one_hot(rows.index_select(0, source), len(self.elements)).to(gaussians)
        of_edges = (elements.unsqueeze(-1) * gaussians.unsqueeze(1)).flatten(1)
        of_atoms = of_edges.new_zeros(len(rows), of_edges.shape[1]).index_add(0, target, of_edges)
        energy = self.network(of_atoms).squeeze(-1).double() + self.reference.index_select(0, rows)
        return energy.new_zeros(structures.n_structures).index_add(0, structures.structure_index, energy)
