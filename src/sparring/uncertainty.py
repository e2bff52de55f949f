r"""Uncertainty of a committee: Eq. 4-8 of Schwalbe-Koda et al., doi:10.1038/s41467-021-25342-8.

========================  =======================================
:math:`M`                 number of members
:math:`n`                 number of atoms of a structure
:math:`\hat E^{(m)}`      energy predicted by member m, eV
:math:`\hat F^{(m)}_{ij}` force on atom i along j, eV/Å
:math:`\hat S^{(m)}_{jk}` stress, eV/Å³
========================  =======================================
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = [
    "atom_variance",
    "energy_variance",
    "force_variance",
    "is_familiar",
    "mean_over_atoms",
    "stress_variance",
    "sum_over_atoms",
]


def sum_over_atoms(
    values: Float[Tensor, " n_atoms"], structure_index: Int[Tensor, " n_atoms"], n_structures: int
) -> Float[Tensor, " n_structures"]:
    """Sum of atomic values over the atoms of each structure."""
    return values.new_zeros(n_structures).index_add(0, structure_index, values)


def mean_over_atoms(
    values: Float[Tensor, " n_atoms"], structure_index: Int[Tensor, " n_atoms"], n_structures: int
) -> Float[Tensor, " n_structures"]:
    """Mean of atomic values over the atoms of each structure."""
    sizes = sum_over_atoms(torch.ones_like(values), structure_index, n_structures)
    return sum_over_atoms(values, structure_index, n_structures) / sizes


def _variance(values: Float[Tensor, "n_members ..."]) -> Float[Tensor, "..."]:
    n_members = values.shape[0]
    if n_members < 2:
        raise ValueError(f"a variance takes at least two members, got {n_members}; train a larger committee")
    return (values - values.mean(0)).square().sum(0) / (n_members - 1)


def energy_variance(energy: Float[Tensor, "n_members n_structures"]) -> Float[Tensor, " n_structures"]:
    r"""Disagreement of the committee about the energy of a structure, in eV².

    .. math:: \sigma_E^2 = \frac{1}{M-1} \sum_m (\hat E^{(m)} - \bar E)^2

    Eq. 5 of Schwalbe-Koda et al. (2021).

    Raises:
        ValueError: If there are fewer than two members.
    """
    return _variance(energy)


def atom_variance(forces: Float[Tensor, "n_members n_atoms 3"]) -> Float[Tensor, " n_atoms"]:
    r"""Disagreement of the committee about the force on each atom, in (eV/Å)².

    .. math:: \sigma_i^2 = \frac{1}{M-1} \sum_m \frac{1}{3} \sum_j (\hat F^{(m)}_{ij} - \bar F_{ij})^2

    Its mean over the atoms of a structure is Eq. 7 of Schwalbe-Koda et al. (2021), :func:`force_variance`.

    Raises:
        ValueError: If there are fewer than two members.
    """
    return _variance(forces).mean(-1)


def force_variance(
    forces: Float[Tensor, "n_members n_atoms 3"], structure_index: Int[Tensor, " n_atoms"], n_structures: int
) -> Float[Tensor, " n_structures"]:
    r"""Disagreement of the committee about the forces on a structure, in (eV/Å)².

    .. math:: \sigma_F^2 = \frac{1}{M-1} \sum_m \frac{1}{3n} \sum_{ij} (\hat F^{(m)}_{ij} - \bar F_{ij})^2

    Eq. 7 of Schwalbe-Koda et al. (2021). The variance, not its root: where members agree the root's gradient is NaN.

    Raises:
        ValueError: If there are fewer than two members.
    """
    return mean_over_atoms(atom_variance(forces), structure_index, n_structures)


def stress_variance(stress: Float[Tensor, "n_members n_structures 3 3"]) -> Float[Tensor, " n_structures"]:
    r"""Disagreement of the committee about the stress of a structure, in (eV/Å³)².

    .. math:: \sigma_S^2 = \frac{1}{M-1} \sum_m \frac{1}{9} \sum_{jk} (\hat S^{(m)}_{jk} - \bar S_{jk})^2

    Eq. 7 of Schwalbe-Koda et al. (2021) for the nine components of the stress, so that rotations do not change it.

    Raises:
        ValueError: If there are fewer than two members.
    """
    return _variance(stress).mean((-2, -1))


def is_familiar(variance: Float[Tensor, " n_structures"], threshold: float) -> Bool[Tensor, " n_structures"]:
    r"""True where the uncertainty is below the threshold: :math:`\sigma^2 < t`, the classifier of Eq. 8."""
    return variance < threshold
