"""Energies of all members of a committee: those of one architecture in one pass, others one after another."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture, Potential
from sparring.potentials.looped import looped_energies
from sparring.potentials.stacking import architectures, can_be_stacked, stack, stacked_energies

__all__ = ["MemberEnergies", "energies_by_architecture"]

MemberEnergies = Callable[[Structures, Tensor, bool], Tensor]
"""Energies of members in eV, (n_members, n_structures), as a function of structures, of the positions for each member,
(n_members, n_atoms, 3), and of whether the derivative will be differentiated again."""


def energies_by_architecture(members: Sequence[Potential], *, analytic: bool) -> MemberEnergies:
    """Energies of members, with one pass for each row of neighbours of one architecture.

    Args:
        members: Potentials.
        analytic: True for analytic derivatives where an architecture has them.
    """
    slices = architectures(members)
    parts = [_of_group(members[rows], rows.start, analytic=analytic) for rows in slices]
    if len(parts) == 1:
        return parts[0]

    def energies(
        structures: Structures, positions: Float[Tensor, "n_members n_atoms 3"], create_graph: bool
    ) -> Float[Tensor, "n_members n_structures"]:
        of_groups = zip(parts, slices, strict=True)
        return torch.cat([part(structures, positions[rows], create_graph) for part, rows in of_groups])

    return energies


def _of_group(members: Sequence[Potential], number: int, *, analytic: bool) -> MemberEnergies:
    first = members[0]
    if not isinstance(first, Architecture) or not can_be_stacked(members):
        return lambda structures, positions, _: looped_energies(members, structures, positions, number)
    weights = stack([member for member in members if isinstance(member, Architecture)])
    model = first.stacked_model(weights) if analytic else None
    return model or (lambda structures, x, _: stacked_energies(first, weights, structures, {"positions": x}))
