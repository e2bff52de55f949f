"""The adapter of another package: springs between all atoms that are near each other."""

import torch
from torch import nn

from sparring import Architecture
from sparring.atoms.neighbors import distances
from sparring.potentials.foreign.checkpoints import read_checkpoint


class Springs(Architecture):
    """A spring for each pair of atoms, which ends smoothly at the cutoff."""

    kind = "springs"
    supports_vmap = False
    casts_buffers = True
    elements = ("H", "C", "N", "O")

    def __init__(self, *, cutoff=3.0, constants=None):
        super().__init__()
        self.hyperparameters = {"cutoff": cutoff}
        self.cutoff, self.head = cutoff, None
        start = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
        self.register_buffer("energies", torch.zeros(100, dtype=torch.float64))
        self.constants = nn.Parameter(start if constants is None else constants)

    @classmethod
    def from_module(cls, model, *, head=None):
        return cls(constants=model.weight.detach().double().flatten())

    @classmethod
    def from_file(cls, file, *, trust_pickle=False, head=None):
        content = read_checkpoint(file, trust_pickle=trust_pickle)
        if not isinstance(content, dict):
            return cls.from_module(content, head=head)
        return cls(constants=content["weight"].double().flatten())

    def forward(self, structures):
        strength, length, reference = self.constants
        d = distances(structures)
        inside = torch.where(d < self.cutoff, 1 - (d / self.cutoff) ** 2, 0.0)
        springs = 0.5 * strength * (d - length) ** 2 * inside**4
        owner = structures.structure_index[structures.edges.target]
        energy = springs.new_zeros(structures.n_structures).index_add(0, owner, springs)
        total = (energy + reference * structures.counts).double()
        return total.index_add(0, structures.structure_index, self.energies.double()[structures.atomic_numbers])

    def add_reference_energies(self, energies):
        self.energies += energies
