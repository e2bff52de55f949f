"""Two torsions of a molecule as the variables of a landscape, which repeats in both: (φ, ψ) of a peptide, as in Fig. 4.

Angles are in radians, from -π to π.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float, Int
from torch import Tensor

from sparring.atoms.geometry import dihedral
from sparring.atoms.structures import Structures
from sparring.proposers.spaces import Dihedrals
from sparring.surfaces.grids import Variable

__all__ = ["PERIOD", "Torsion", "TorsionPlane", "bins", "coverage", "wrapped"]

Torsion: TypeAlias = tuple[int, int, int, int]
"""Four atoms, bonded in a chain."""

PERIOD = 2 * np.pi
N_BINS = 24


@dataclass(frozen=True, kw_only=True)
class TorsionPlane:
    """Two torsions of a molecule.

    Attributes:
        names: Names of the torsions, also in ``atoms.info`` of a grid's structures.
        torsions: Indices of four atoms each.
        bonds: Pairs of atoms; None to have them perceived.
    """

    names: tuple[str, str]
    torsions: tuple[Torsion, Torsion]
    bonds: tuple[tuple[int, int], ...] | None = None

    def space(self, molecule: Atoms) -> Dihedrals:
        """The space of both torsions."""
        return Dihedrals.of(molecule, self.torsions, bonds=self.bonds)

    def angles(self, positions: Float[Tensor, "*batch n_atoms 3"]) -> Float[Tensor, "*batch 2"]:
        """Both torsions of many geometries."""
        return torch.stack([dihedral(positions, *torsion) for torsion in self.torsions], dim=-1)

    def values(self, structures: Sequence[Atoms]) -> Float[np.ndarray, "n_structures 2"]:
        """Both torsions of many structures of one molecule."""
        if not structures:
            return np.empty((0, 2))
        positions = np.stack([atoms.positions for atoms in structures])
        return np.asarray(self.angles(torch.as_tensor(positions, dtype=torch.float64)).numpy())

    def turned(self, space: Dihedrals, structures: Structures, targets: Float[Tensor, "n_structures 2"]) -> Structures:
        """The structures with exactly these torsions and all else as it is; differentiable in their positions."""
        positions = structures.positions.reshape(structures.n_structures, -1, 3)
        turn = torch.remainder(targets - self.angles(positions) + np.pi, PERIOD) - np.pi
        return space.displace(structures, turn.reshape(-1))

    def variables(self, points: tuple[int, int]) -> tuple[Variable, Variable]:
        """The sides of a grid: equal steps from -π on, π being -π again.

        Raises:
            ValueError: If a side has fewer than two points.
        """
        if len(points) != 2 or min(points) < 2:
            raise ValueError(f"a grid of two torsions needs two numbers of at least 2 points, got {points}")
        sides = (-np.pi + PERIOD * np.arange(n) / n for n in points)
        x, y = (
            Variable(name=name, unit="rad", values=values, period=PERIOD)
            for name, values in zip(self.names, sides, strict=True)
        )
        return x, y


def wrapped(angles: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Angles as those from -π to π, π left out, that they are equal to."""
    return np.asarray((angles + np.pi) % PERIOD - np.pi)


def bins(angles: Float[np.ndarray, "n 2"], n_bins: int = N_BINS) -> Int[np.ndarray, "n_bins n_bins"]:
    """Number of pairs of angles in each of `n_bins` × `n_bins` equal bins, the first from -π on."""
    place = np.minimum((wrapped(angles) + np.pi) / PERIOD * n_bins, n_bins - 0.5).astype(int)
    counts = np.zeros((n_bins, n_bins), dtype=int)
    np.add.at(counts, (place[:, 0], place[:, 1]), 1)
    return counts


def coverage(angles: Float[np.ndarray, "n 2"], n_bins: int = N_BINS) -> float:
    """Fraction of the bins with at least one pair of angles."""
    return float((bins(angles, n_bins) > 0).mean())
