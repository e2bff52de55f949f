"""A repulsion between the attacks of a batch, so that they do not all climb the same hill."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sparring.atoms.dataset import Dataset
from sparring.atoms.molecule_tables import MoleculeTables, all_pairs
from sparring.atoms.structures import Structures
from sparring.committee import Prediction
from sparring.proposers.objectives import Term

__all__ = ["mutual_repulsion"]

MOST = 100


def mutual_repulsion(distance: float, reference: Dataset, *, among: int | float = 10) -> Term:
    r"""Penalty of attacks that are near each other: 1 for a pair of equal geometries, half of it at either one.

    .. math:: -\tfrac12 \sum_{B \ne A} \exp\left(-\frac{D_{AB}^2}{2 w^2}\right), \qquad
        D_{AB}^2 = \frac{2}{n (n-1)} \sum_{i<j} \left(d_{ij}(A) - d_{ij}(B)\right)^2

    D is the root mean square difference of all distances in a molecule, which rotations and mirror images leave as it
    is. The sum runs over structures of the same molecule in a group of consecutive seeds: the first `among`, the next
    `among`, and so on. :func:`sparring.attack` keeps groups together, so that its limit of memory changes nothing;
    a group needs the memory of that many attacks.

    Args:
        distance: Width w in Å.
        reference: Labelled structures, which name the molecules.
        among: Number of seeds in a group.

    Raises:
        ValueError: If the distance is not positive, a group has fewer than 2 seeds or more than 100, or a structure of
            the data is periodic or a single atom.
    """
    if not 0 < distance < math.inf:
        raise ValueError(f"the distance of the repulsion must be positive, got {distance:g} Å")
    if among != int(among) or not 2 <= among <= MOST:
        raise ValueError(f"attacks repel each other in groups of 2 to {MOST}, got among={among:g}")
    among = int(among)
    tables = MoleculeTables.of(reference, all_pairs)
    if bool(tables.periodic.any()) or not bool(tables.present.any(1).all()):
        raise ValueError("mutual_repulsion is for molecules, and a structure of the data is periodic or a single atom")

    def penalty(prediction: Prediction, structures: Structures) -> Float[Tensor, " n_structures"]:
        n = structures.n_structures
        own = tables.to(structures.positions.device)
        molecule = own.rows(structures)
        distances = own.distances(structures, molecule)
        n_pairs = own.present.index_select(0, molecule.clamp(min=0)).sum(1)
        finite = torch.isfinite(distances).all(1)  # an attack that has failed must not stop the others
        distances = torch.where(finite.unsqueeze(1), distances, 0.0) / n_pairs.sqrt().unsqueeze(1)
        empty = -n % among
        grouped = torch.nn.functional.pad(distances, (0, 0, 0, empty)).unflatten(0, (-1, among))
        kind = torch.nn.functional.pad(torch.where(finite, molecule, -1), (0, empty), value=-1).unflatten(
            0, (-1, among)
        )
        squared = (grouped.unsqueeze(2) - grouped.unsqueeze(1)).square().sum(-1)
        itself = torch.eye(among, dtype=torch.bool, device=kind.device)
        repel = (kind.unsqueeze(2) == kind.unsqueeze(1)) & (kind >= 0).unsqueeze(1) & ~itself
        near = torch.where(repel, (-squared / (2 * distance**2)).exp(), 0.0)
        return torch.where(molecule >= 0, -near.sum(2).flatten()[:n] / 2, torch.nan)

    return Term(name=f"mutual_repulsion({distance:g} Å, among={among})", score=penalty, among=among)
