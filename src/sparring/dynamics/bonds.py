"""A criterion for molecules of any kind: bonds stay bonds."""

import functools
from dataclasses import InitVar, dataclass, field

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.bonds import Bond, find_bonds
from sparring.atoms.structures import Structures
from sparring.dynamics.phase import Observation

__all__ = ["BondsKept"]


@dataclass(frozen=True)
class BondsKept:
    """A bond of the starting structure has broken or collapsed.

    Atoms are bonded that stand closer than 1.25 times the sum of their covalent radii. Replicas must start near that
    structure, with its atoms in the same order.

    Attributes:
        factor: Shortest and longest length of a bond, as multiples of its length in the starting structure.
        bonds: Bonds of the starting structure.

    Raises:
        ValueError: If there are no bonds, or the factors are not one below and one above 1.
    """

    start: InitVar[Atoms]
    factor: tuple[float, float] = (0.6, 1.6)
    bonds: tuple[Bond, ...] = field(init=False, repr=False)
    numbers: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self, start: Atoms) -> None:
        """Find the bonds."""
        low, high = self.factor
        if not 0 <= low < 1 < high:
            raise ValueError(f"the factors of bonds must be one below and one above 1, got {low:g} and {high:g}")
        object.__setattr__(self, "bonds", find_bonds(start))
        object.__setattr__(self, "numbers", tuple(start.numbers.tolist()))
        if not self.bonds:
            raise ValueError(f"there are no bonds in {start.get_chemical_formula()}; use CloserThan or DistanceWindow")

    def __str__(self) -> str:
        """Description for messages."""
        low, high = self.factor
        return f"a bond outside {low:g} to {high:g} of its length"

    def check(self, structures: Structures) -> None:
        """Check that replicas have the atoms of the starting structure.

        Raises:
            ValueError: If one of them has others.
        """
        wanted = list(self.numbers) * structures.n_structures
        if structures.atomic_numbers.tolist() != wanted or bool((structures.counts != len(self.numbers)).any()):
            raise ValueError(f"{self}: the bonds are those of another molecule; take them from the starting structure")

    def __call__(self, structures: Structures, observation: Observation) -> Bool[Tensor, " n_copies"]:
        """Replicas with such a bond."""
        low, high = self.factor
        stretch = self.stretch(structures)
        return ((stretch < low) | (stretch > high)).any(-1)

    def stretch(self, structures: Structures) -> Float[Tensor, "n_copies n_bonds"]:
        """Lengths of the bonds as multiples of those in the starting structure; no host synchronisation."""
        positions = structures.positions
        pairs, shifts, lengths = _of_bonds(self.bonds, positions.device, positions.dtype)
        atoms = structures.first_atoms.unsqueeze(-1) + pairs.unsqueeze(1)
        first, second = (positions.index_select(0, column.flatten()).unflatten(0, column.shape) for column in atoms)
        # Positions are never wrapped into the cell, so a bond keeps its image.
        vectors = second - first + shifts @ structures.cells if structures.periodic else second - first
        stretched: Tensor = vectors.square().sum(-1).sqrt() / lengths
        return stretched


# Kept on the device: to copy them there in every step would make the host wait.
@functools.lru_cache(maxsize=64)
def _of_bonds(
    bonds: tuple[Bond, ...], device: torch.device, dtype: torch.dtype
) -> tuple[Int[Tensor, "2 n_bonds"], Float[Tensor, "n_bonds 3"], Float[Tensor, " n_bonds"]]:
    """Both atoms of each bond, the image of the second, and the length."""
    pairs = torch.tensor([[bond.first for bond in bonds], [bond.second for bond in bonds]], device=device)
    shifts = torch.tensor([bond.shift for bond in bonds], device=device, dtype=dtype)
    return pairs, shifts, torch.tensor([bond.length for bond in bonds], device=device, dtype=dtype)
