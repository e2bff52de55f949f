r"""Closeness of atoms: distances in units of the sum of covalent radii, their smooth minimum, and the closest pair.

======================  ==========================================================
:math:`d_{ij}`          distance of two atoms or periodic images, in Å
:math:`r_i`             covalent radius of an element (Cordero et al. 2008, doi:10.1039/B801115J, as ASE has them)
:math:`s_{ij}`          scaled distance :math:`d_{ij} / (r_i + r_j)`, about 1 for a single bond
======================  ==========================================================
"""

import functools
from dataclasses import replace
from typing import NamedTuple

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures

__all__ = ["REACH", "SHARPNESS", "ClosestPairs", "closest_pairs", "soft_closeness"]

SHARPNESS = 40.0
"""The larger, the more the closest pair alone decides; 40 tells apart pairs that differ by 0.05 Å."""
REACH = 2.0
"""Scaled distance from which on a pair does not count."""


def soft_closeness(
    structures: Structures, *, sharpness: float = SHARPNESS, reach: float = REACH
) -> Float[Tensor, " n_structures"]:
    r"""Closeness of the closest pair of atoms, as a smooth maximum over all pairs, periodic images included.

    .. math:: c = \frac1\beta \ln\Big(1 + \sum_{i<j} w(s_{ij})\, e^{\beta (1 - s_{ij})}\Big), \qquad
        w(s) = \begin{cases}\big(1 - s^2 / s_{max}^2\big)^4 & s < s_{max} \\ 0 & \text{else}\end{cases}

    It is close to 1 - min s for a pair that is closer than all others, and 0 for atoms without neighbours. Derivatives
    up to the third are continuous wherever no two atoms coincide. Computed in double precision.

    Args:
        structures: Structures. Their edges are used if they reach far enough, so that an attack on a crystal does not
            search for neighbours twice; else new ones are found.
        sharpness: Sharpness :math:`\beta` of the maximum.
        reach: Scaled distance :math:`s_{max}` from which on a pair does not count.
    """
    structures, scaled = _scaled_distances(structures, reach)
    envelope = (1 - (scaled / reach).square()).clamp(min=0.0) ** 4
    terms = 0.5 * envelope * (sharpness * (1 - scaled)).exp()  # a pair has two edges
    total = terms.new_zeros(structures.n_structures).index_add(0, _owner(structures), terms)
    return torch.log1p(total) / sharpness


class ClosestPairs(NamedTuple):
    """The pair of atoms of each structure with the smallest scaled distance.

    Attributes:
        first: Index of one atom in its structure; -1 where there is no pair within reach.
        second: Index of the other atom; it may be the same one, in another cell.
        distance: Their distance in Å; infinite where there is no pair.
        scaled: Their distance divided by the sum of their covalent radii; infinite where there is no pair.
    """

    first: Int[Tensor, " n_structures"]
    second: Int[Tensor, " n_structures"]
    distance: Float[Tensor, " n_structures"]
    scaled: Float[Tensor, " n_structures"]


def closest_pairs(structures: Structures, *, reach: float = REACH) -> ClosestPairs:
    """The closest pair of atoms of each structure, by their scaled distance.

    Args:
        structures: Structures, on the CPU.
        reach: Largest scaled distance of periodic images; pairs of molecules are found at any distance.
    """
    with torch.no_grad():
        structures, scaled = _scaled_distances(structures, reach)
        assert structures.edges is not None
        lengths, owner, n = distances(structures), _owner(structures), structures.n_structures
        least = scaled.new_full((n,), torch.inf).scatter_reduce(0, owner, scaled, "amin")
        rows = (scaled == least[owner]).nonzero().squeeze(1)
        # The first edge of the least scaled distance: writing from the last to the first leaves that one.
        edge = rows.new_full((n,), -1)
        for row in rows.flip(0).tolist():
            edge[owner[row]] = row
        found, (source, target, _) = edge >= 0, structures.edges
        if not len(lengths):
            return ClosestPairs(edge, edge, least, least)
        first, second = (torch.where(found, atoms[edge] - structures.first_atoms, -1) for atoms in (target, source))
        length = torch.where(found, lengths[edge], torch.inf)
    return ClosestPairs(first, second, length, least)


def _scaled_distances(structures: Structures, reach: float) -> tuple[Structures, Float[Tensor, " n_edges"]]:
    """Structures in double precision with edges that reach far enough, and the scaled distance of each edge."""
    structures = structures.to(dtype=torch.float64)
    radii = _radii(structures.positions.device)[structures.atomic_numbers]
    # Two radii of the largest atom bound the sum of any two. Molecules have all pairs, whatever the cutoff.
    cutoff = reach * 2 * float(radii.max()) if structures.periodic else reach
    if structures.periodic and (structures.edge_cutoff or 0.0) < cutoff:
        structures = replace(structures, edges=None)
    structures = with_edges(structures, cutoff)
    assert structures.edges is not None
    source, target, _ = structures.edges
    return structures, distances(structures) / (radii.index_select(0, source) + radii.index_select(0, target))


def _owner(structures: Structures) -> Int[Tensor, " n_edges"]:
    assert structures.edges is not None
    return structures.structure_index.index_select(0, structures.edges.target)


@functools.lru_cache(maxsize=8)
def _radii(device: torch.device) -> Float[Tensor, " n_elements"]:
    """Covalent radii by atomic number, kept on the device so that no step of an attack copies them."""
    return torch.as_tensor(covalent_radii, dtype=torch.float64, device=device)
