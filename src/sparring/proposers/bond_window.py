r"""A penalty that holds bonds and angles in a window, so that an attack cannot break the molecule."""

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.molecule_tables import MoleculeTables, valence_pairs
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.objectives import Term

__all__ = ["bond_window"]

WIDTH = 0.02
"""Part of its length by which a bond outside the window costs 1."""


def bond_window(shortest: float, longest: float, reference: Dataset) -> Term:
    r"""Penalty of bonds and angles outside a window: zero inside it, quadratic outside.

    .. math:: -\sum_p \left(\frac{\max(a - s_p, 0) + \max(s_p - b, 0)}{0.02}\right)^2, \qquad s_p = d_p / d^\circ_p

    with the distances d of bonded atoms and of both ends of each angle (1,3), relative to those in the structure of
    lowest energy of the molecule. A bond 10 % of its length outside the window costs 25. With b = 1.3, ends of angles
    can reach 180°, and a = 0.8 ends them at about 80°. Bonds are found from distances
    (:func:`sparring.atoms.bonds.find_bonds`); isomers with the same atoms in the same order are held to the bonds of
    the lowest one. A structure of a molecule that the data do not have gets NaN.

    Args:
        shortest: Shortest distance a, as a multiple of that in the lowest structure.
        longest: Longest distance b.
        reference: Labelled structures.

    Raises:
        ValueError: If the window does not enclose 1, or a structure of the data is periodic.
    """
    if not 0 <= shortest < 1 < longest:
        raise ValueError(f"the window of bonds must enclose 1, as 0.8 to 1.3 does, got {shortest:g} to {longest:g}")
    tables = MoleculeTables.of(reference, valence_pairs)
    if bool(tables.periodic.any()):
        raise ValueError("bond_window is for molecules, and a structure of the data is periodic; leave it out")

    def penalty(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        own = tables.to(structures.positions.device)
        rows = own.rows(structures)
        stretch = own.distances(structures, rows) / own.lengths.index_select(0, rows.clamp(min=0))
        outside = (shortest - stretch).clamp(min=0.0) + (stretch - longest).clamp(min=0.0)
        return torch.where(rows >= 0, -(outside / WIDTH).square().sum(1), torch.nan)

    return Term(name=f"bond_window({shortest:g}, {longest:g})", score=penalty)
