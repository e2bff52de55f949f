"""Repulsion of nuclei, and the envelope with which interactions end at a cutoff."""

import torch
from ase.data import covalent_radii
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.neighbors import distances
from sparring.atoms.structures import Structures
from sparring.potentials.base import N_ELEMENTS

__all__ = ["pair_repulsion", "smooth_envelope"]

COULOMB = 14.3996
"""e² / 4πε₀ in eV Å."""
BOHR = 0.529177
"""Bohr radius in Å."""
RADII: tuple[float, ...] = tuple(float(radius) for radius in covalent_radii[:N_ELEMENTS])
SCREENING = ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))
"""Amplitudes and exponents of the universal screening function of Ziegler, Biersack and Littmark."""


def smooth_envelope(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""One at zero, zero from one on, with three continuous derivatives.

    .. math:: f(x) = (1 - x)^4 (1 + 4x + 10x^2 + 20x^3 + 35x^4 + 56x^5) = 1 - 84x^6 + 216x^7 - 189x^8 + 56x^9

    The first form has no cancellation near one. Gradients of the force variance are second derivatives of energies,
    and so are continuous, with continuous slopes, at the cutoff.
    """
    y = (1 - x).clamp(min=0.0)
    x = x.clamp(max=1.0)
    return y**4 * (1 + x * (4 + x * (10 + x * (20 + x * (35 + x * 56)))))


def pair_repulsion(structures: Structures) -> Float[Tensor, " n_atoms"]:
    r"""Screened Coulomb repulsion of nuclei in eV, half of each pair at either atom.

    .. math::
        E_{ij} = \frac{e^2}{4\pi\varepsilon_0} \frac{Z_i Z_j}{d_{ij}} \, \phi(d_{ij} / a_{ij}) \, f(d_{ij} / r_{ij}),
        \qquad a_{ij} = \frac{0.8854\, a_0}{Z_i^{0.23} + Z_j^{0.23}}

    Ziegler, Biersack and Littmark (1985). The envelope f ends it at the sum :math:`r_{ij}` of the covalent radii, so
    that bonds at equilibrium are left to the network.

    Args:
        structures: Structures with edges.
    """
    assert structures.edges is not None
    source, target, _ = structures.edges
    distance = distances(structures)
    z_i, z_j = (structures.atomic_numbers.index_select(0, atom).to(distance) for atom in (target, source))
    radii = distance.new_tensor(RADII).index_select(0, structures.atomic_numbers)
    reach = radii.index_select(0, target) + radii.index_select(0, source)
    x = distance * (z_i**0.23 + z_j**0.23) / (0.8854 * BOHR)
    screening = torch.stack([amplitude * torch.exp(-exponent * x) for amplitude, exponent in SCREENING]).sum(0)
    pair = COULOMB * z_i * z_j / distance * screening * smooth_envelope(distance / reach)
    atoms = pair.new_zeros(structures.n_atoms, dtype=torch.float64)
    return atoms.index_add(0, target, pair.double() / 2)
