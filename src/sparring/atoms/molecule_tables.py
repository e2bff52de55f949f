"""Tables of pairs of atoms for the molecules of a data set, by which a batch of mixed molecules is measured at once.

A molecule is a sequence of atomic numbers and a charge. The same molecule with its atoms in another order is another
one, and isomers with the same atoms in the same order are one.
"""

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from ase import Atoms
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.atoms.dataset import Dataset
from sparring.atoms.structures import Structures

__all__ = ["MoleculeTables", "all_pairs", "valence_pairs"]

Pairs = Iterable[tuple[int, int]]


def valence_pairs(molecule: Atoms) -> list[tuple[int, int]]:
    """Bonded atoms and both ends of every angle (1,2 and 1,3 pairs), from distances; none in what is periodic."""
    if molecule.pbc.any():
        return []
    graph = BondGraph.of(len(molecule), ((bond.first, bond.second) for bond in find_bonds(molecule)))
    ends = {pair for around in graph.neighbours for pair in itertools.combinations(around, 2)}
    return sorted({*graph.bonds, *ends})


def all_pairs(molecule: Atoms) -> list[tuple[int, int]]:
    """All pairs of atoms; none in what is periodic."""
    return [] if molecule.pbc.any() else list(itertools.combinations(range(len(molecule)), 2))


@dataclass(frozen=True, kw_only=True, eq=False)
class MoleculeTables:
    """Pairs of atoms of each molecule, padded to rows of one length.

    Attributes:
        atomic_numbers: Atomic numbers in order; -1 beyond the last atom.
        charge: Total charges in e.
        periodic: Mask of molecules that are periodic, and have no pairs.
        pairs: Both atoms of each pair, by their index in the molecule.
        present: Mask of the pairs that there are.
        lengths: Their distances in the structure of lowest energy, in Å; 1 where there is no pair.
    """

    atomic_numbers: Int[Tensor, "n_molecules most_atoms"]
    charge: Int[Tensor, " n_molecules"]
    periodic: Bool[Tensor, " n_molecules"]
    pairs: Int[Tensor, "n_molecules n_pairs 2"]
    present: Bool[Tensor, "n_molecules n_pairs"]
    lengths: Float[Tensor, "n_molecules n_pairs"]

    @classmethod
    def of(cls, reference: Dataset, pairs_of: Callable[[Atoms], Pairs]) -> "MoleculeTables":
        """The molecules of a data set.

        Args:
            reference: Labelled structures.
            pairs_of: Function from the structure of lowest energy of a molecule to its pairs.
        """
        lowest: dict[tuple[tuple[int, ...], int], int] = {}
        frames, charges = reference.structures.to_atoms(), charges_of(reference.structures).tolist()
        for index, (atoms, charge) in enumerate(zip(frames, charges, strict=True)):
            known = lowest.setdefault((tuple(atoms.numbers.tolist()), charge), index)
            if reference.energy[index] < reference.energy[known]:
                lowest[tuple(atoms.numbers.tolist()), charge] = index
        chosen = [frames[index] for index in lowest.values()]
        pairs = [list(pairs_of(atoms)) for atoms in chosen]
        numbers = torch.full((len(chosen), max(map(len, chosen))), -1)
        indices = torch.zeros((len(chosen), max(map(len, pairs)), 2), dtype=torch.long)
        present = torch.zeros(indices.shape[:2], dtype=torch.bool)
        for row, (atoms, own) in enumerate(zip(chosen, pairs, strict=True)):
            numbers[row, : len(atoms)] = torch.as_tensor(atoms.numbers)
            indices[row, : len(own)] = torch.tensor(own, dtype=torch.long).reshape(-1, 2)
            present[row, : len(own)] = True
        tables = cls(
            atomic_numbers=numbers,
            charge=torch.tensor([charge for _, charge in lowest]),
            periodic=torch.tensor([bool(atoms.pbc.any()) for atoms in chosen]),
            pairs=indices,
            present=present,
            lengths=torch.ones(indices.shape[:2], dtype=torch.float64),
        )
        structures = Structures.from_atoms(chosen, ignore_constraints=True)
        lengths = tables.distances(structures, torch.arange(len(chosen)))
        return cls(**{**vars(tables), "lengths": lengths})

    @functools.lru_cache(maxsize=8)  # noqa: B019 - kept on the device, so that no step of an attack copies them
    def to(self, device: torch.device) -> "MoleculeTables":
        """The same tables on another device."""
        return MoleculeTables(**{name: value.to(device) for name, value in vars(self).items()})

    def rows(self, structures: Structures) -> Int[Tensor, " n_structures"]:
        """Molecule of each structure, -1 for one that is not known; no host synchronisation."""
        n, most = structures.n_structures, self.atomic_numbers.shape[1]
        index = structures.structure_index
        place = torch.arange(len(index), device=index.device) - structures.first_atoms.index_select(0, index)
        # Atoms beyond the largest molecule add to the last column, which then matches no element.
        amount = torch.where(place < most, structures.atomic_numbers + 1, 1_000_000)
        found = index.new_full((n * most,), -1).index_add(0, index * most + place.clamp(max=most - 1), amount)
        same = (found.reshape(n, 1, most) == self.atomic_numbers).all(-1)
        same &= charges_of(structures).unsqueeze(1) == self.charge
        return torch.where(same.any(1), same.long().argmax(1), -1)

    def distances(
        self, structures: Structures, rows: Int[Tensor, " n_structures"]
    ) -> Float[Tensor, "n_structures n_pairs"]:
        """Distances of the pairs in double precision, in Å; 1 where there is no pair; no host synchronisation.

        Args:
            structures: Structures.
            rows: Molecule of each, as :meth:`rows` has it.
        """
        known = rows.clamp(min=0)
        present = self.present.index_select(0, known) & (rows >= 0).unsqueeze(1)
        local = torch.where(present.unsqueeze(2), self.pairs.index_select(0, known), 0)
        atoms = structures.first_atoms.reshape(-1, 1, 1) + local
        ends = structures.positions.double().index_select(0, atoms.flatten()).unflatten(0, atoms.shape)
        squared = (ends[:, :, 1] - ends[:, :, 0]).square().sum(-1)
        return torch.where(present, squared, 1.0).sqrt()


def charges_of(structures: Structures) -> Int[Tensor, " n_structures"]:
    """Total charges in e."""
    if structures.charge is None:
        return structures.structure_index.new_zeros(structures.n_structures)
    return structures.charge
