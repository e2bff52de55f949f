"""Weights of structures that fall with their energy."""

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.composition import composition, lowest_energies
from sparring.atoms.dataset import Dataset

__all__ = ["low_energy_weights"]


def low_energy_weights(dataset: Dataset, energy_scale: float) -> Float[Tensor, " n_structures"]:
    r"""Weights of the losses of structures, which fall with the energy above the lowest of the same composition.

    .. math:: w_i = \left( \frac{E_s}{E_s + E_i - E_{\min}} \right)^2

    so that the errors have weights :math:`E_s / (E_s + \Delta E)`, as in fits of permutationally invariant polynomials
    (Qu, Yu and Bowman, doi:10.1146/annurev-physchem-050317-021139). Not in the paper, where all structures have equal
    weights: there, the few structures of high energy that attacks find dominate the loss.

    Environments, whose energies do not count, have a weight of one.

    Args:
        dataset: Labelled structures.
        energy_scale: Energy :math:`E_s` above the lowest, in eV, at which an error has half the weight.

    Raises:
        ValueError: If the scale is not positive.
    """
    if not energy_scale > 0:
        raise ValueError(f"energy_scale must be a positive energy in eV, or None, got {energy_scale}")
    structures, counts = dataset.to_atoms(), dataset.has_energy.tolist()
    lowest = lowest_energies([atoms for atoms, has in zip(structures, counts, strict=True) if has])
    rows = zip(structures, dataset.energy.tolist(), counts, strict=True)
    above = torch.tensor(
        [energy - lowest[composition(atoms)] if has else 0.0 for atoms, energy, has in rows], dtype=torch.float64
    )
    return (energy_scale / (energy_scale + above)).square()
