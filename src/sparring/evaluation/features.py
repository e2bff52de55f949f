"""Features of structures that the last layers of a committee read out."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials.base import Backbone
from sparring.potentials.heads.backbone import energy_and_features, sum_features
from sparring.potentials.heads.evaluation import shares_backbone

__all__ = ["last_layer_features"]

N_ATOMS = 512
"""Number of atoms whose features are evaluated at a time."""


def last_layer_features(committee: Committee, structures: Structures) -> Float[Tensor, "n_structures n_features"]:
    r"""Features of structures that the last layers of the members read out, in double precision, without a graph.

    .. math:: \varphi = \frac{1}{\sqrt M} \left(\varphi^{(1)}, \ldots, \varphi^{(M)}\right), \qquad
        \varphi^{(m)} = \sum_i f_i^{(m)}

    Features of members stand side by side: each has axes of its own, so that their mean would mean nothing, while this
    makes inner products the mean over the members. Members that share a backbone have one set of features.

    Args:
        committee: Committee whose members have features of atoms.
        structures: Structures.

    Raises:
        ValueError: If a member has no features.
    """
    members = committee.members[:1] if shares_backbone(committee.members) else committee.members
    for member in members:
        if not (isinstance(member, Backbone) or callable(getattr(member, "features", None))):
            name = getattr(member, "__name__", type(member).__name__)
            raise ValueError(
                f"{name} has no features of atoms, by which max_det and lcmd compare structures; give it a method "
                "energy_and_features(structures), or use distinct"
            )
    sizes = structures.counts.cumsum(0).cpu().numpy() // N_ATOMS
    parts = []
    for part in np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(sizes)) + 1):
        prepared = committee.prepare(structures.take(part))
        with torch.no_grad():
            found = [sum_features(energy_and_features(member, prepared)[1], prepared) for member in members]
        parts.append(torch.cat(found, dim=1) / len(members) ** 0.5)
    return torch.cat(parts)
