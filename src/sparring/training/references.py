"""Energies of the elements that reproduce energies of structures best."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS

__all__ = ["reference_energies"]


def reference_energies(
    structures: Structures,
    energy: Float[Tensor, " n_structures"],
    weight: Float[Tensor, " n_structures"] | None = None,
) -> Float[Tensor, " n_elements"]:
    """Energies of the elements that best reproduce energies of structures, in eV, by atomic number.

    Least squares over compositions; where elements always occur in the same proportions, the smallest such energies.

    Args:
        structures: Structures.
        energy: Energies in eV.
        weight: Weights of the squared errors, as the loss has them; None for equal ones.
    """
    cells = structures.structure_index * N_ELEMENTS + structures.atomic_numbers
    counts = torch.zeros(structures.n_structures * N_ELEMENTS, dtype=torch.float64)
    counts = counts.index_add(0, cells.cpu(), torch.ones(structures.n_atoms, dtype=torch.float64))
    rows, wanted = counts.reshape(-1, N_ELEMENTS).numpy(), energy.cpu().double().numpy()
    if weight is not None:
        root = weight.cpu().double().sqrt().numpy()
        rows, wanted = rows * root[:, np.newaxis], wanted * root
    energies, *_ = np.linalg.lstsq(rows, wanted, rcond=1e-10)
    return torch.as_tensor(energies)
