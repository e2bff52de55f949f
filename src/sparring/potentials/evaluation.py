"""Energies of all members of a committee: those of one architecture in one pass, others one after another."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparring.atoms.structures import Structures
from sparring.potentials.base import Architecture, MemberEnergies, Potential
from sparring.potentials.looped import looped_energies
from sparring.potentials.stacking import architectures, can_be_stacked, stack, stacked_energies

__all__ = ["energies_by_architecture"]


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

    def energies(structures: Structures, positions: Tensor, create_graph: bool, cells: Tensor | None = None) -> Tensor:
        of_groups = zip(parts, slices, strict=True)
        return torch.cat(
            [
                part(structures, positions[rows], create_graph, None if cells is None else cells[rows])
                for part, rows in of_groups
            ]
        )

    return energies


def _of_group(members: Sequence[Potential], number: int, *, analytic: bool) -> MemberEnergies:
    first = members[0]
    if not isinstance(first, Architecture) or not can_be_stacked(members):
        return lambda structures, positions, create_graph, cells=None: looped_energies(
            members, structures, positions, cells, number
        )
    weights = stack([member for member in members if isinstance(member, Architecture)])

    def by_vmap(structures: Structures, positions: Tensor, create_graph: bool, cells: Tensor | None = None) -> Tensor:
        own = {"positions": positions} if cells is None else {"positions": positions, "cells": cells}
        return stacked_energies(first, weights, structures, own)

    return (first.stacked_model(weights) if analytic else None) or by_vmap
