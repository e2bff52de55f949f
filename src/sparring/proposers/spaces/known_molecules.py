"""Molecules whose torsions are known, and the structures that are they, alone or in a periodic structure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from sparring.atoms.guests import Molecules, closest_images
from sparring.atoms.structures import Structures
from sparring.atoms.torsions import Torsion, bond_graph, find, in_one_piece

__all__ = ["BROKEN", "Molecule", "Stretch", "images_of", "kinds_of", "molecule_of", "stretches_of"]

BROKEN = 1.6
"""A bond that is longer than this many times its length in the reference molecule is broken."""


class Molecule(NamedTuple):
    """A molecule whose torsions are known, or a periodic structure with such molecules.

    Attributes:
        numbers: Atomic numbers.
        torsions: Torsions that turn.
        bonds: Pairs of atoms.
        lengths: Lengths of the bonds, in Å.
        groups: Atoms of each molecule of a periodic structure; none for a molecule alone.
    """

    numbers: tuple[int, ...]
    torsions: tuple[Torsion, ...]
    bonds: tuple[tuple[int, int], ...]
    lengths: tuple[float, ...]
    groups: Molecules = ()


class Stretch(NamedTuple):
    """Indices of the structures of a molecule, and the lengths of their bonds relative to the reference."""

    of_kind: Int[np.ndarray, " n_of_kind"]
    molecule: Molecule
    stretch: Float[np.ndarray, "n_of_kind n_bonds"]


def molecule_of(
    atoms: Atoms,
    torsions: Sequence[str | Sequence[int]],
    bonds: Sequence[Sequence[int]] | None = None,
    guest: Sequence[int] | None = None,
) -> Molecule:
    """A molecule from a reference geometry; arguments and errors are those of :func:`sparring.atoms.torsions.find`."""
    whole, groups, found = in_one_piece(atoms, bonds, guest)
    graph = bond_graph(whole, found)
    return Molecule(
        numbers=tuple(atoms.numbers.tolist()),
        torsions=find(atoms, torsions, None if groups else graph.bonds, guest),
        bonds=graph.bonds,
        lengths=tuple(float(whole.get_distance(i, j)) for i, j in graph.bonds),
        groups=groups,
    )


def kinds_of(seeds: Structures, molecules: Sequence[Molecule]) -> Int[np.ndarray, " n_seeds"]:
    """Index of the molecule of each seed.

    Raises:
        ValueError: If a seed is none of them.
    """
    known = {(molecule.numbers, bool(molecule.groups)): index for index, molecule in enumerate(molecules)}
    numbers, pbc = seeds.atomic_numbers.tolist(), seeds.pbc.any(-1).tolist()
    kinds, start = [], 0
    for index, count in enumerate(seeds.counts.tolist()):
        of_seed = tuple(numbers[start : start + count])
        if (of_seed, pbc[index]) not in known:
            formulas = ", ".join(
                Atoms(molecule.numbers).get_chemical_formula() + ", periodic" * bool(molecule.groups)
                for molecule in molecules
            )
            raise ValueError(
                f"seed {index} ({Atoms(of_seed).get_chemical_formula()}{', periodic' * pbc[index]}) is no molecule "
                f"whose torsions are known (those are of {formulas}, with the atoms in one order); leave it out, or "
                "give Dihedrals.of that molecule too"
            )
        kinds.append(known[of_seed, pbc[index]])
        start += count
    return np.array(kinds)


def images_of(
    structures: Structures, kinds: Int[np.ndarray, " n_structures"], molecules: Sequence[Molecule]
) -> Float[np.ndarray, "n_atoms 3"] | None:
    """Images of all atoms with which molecules are in one piece, in units of the cell; None if they are as they lie."""
    if not any(molecules[kind].groups for kind in kinds):
        return None
    images = np.zeros((structures.n_atoms, 3))
    for atoms, start, kind in zip(structures.to_atoms(), structures.first_atoms.tolist(), kinds, strict=True):
        for group in molecules[kind].groups:
            images[start + np.array(group)] = closest_images(atoms, group)
    return images if images.any() else None


def stretches_of(structures: Structures, molecules: Sequence[Molecule]) -> Iterator[Stretch]:
    """For each molecule: which structures it is, and lengths of their bonds in units of what they should be.

    Raises:
        ValueError: If a structure is none of the molecules.
    """
    kinds = kinds_of(structures, molecules)
    positions = structures.positions.detach().cpu().double().numpy()
    images = images_of(structures, kinds, molecules)
    if images is not None:
        cells = structures.cells.detach().cpu().double().numpy()[structures.structure_index.cpu().numpy()]
        positions = positions + (images[:, None] @ cells)[:, 0]
    counts = structures.counts.cpu().numpy()
    first = counts.cumsum() - counts
    for number, molecule in enumerate(molecules):
        of_kind = np.flatnonzero(kinds == number)
        ends = positions[first[of_kind, None, None] + np.array(molecule.bonds)]
        lengths = np.linalg.norm(ends[:, :, 1] - ends[:, :, 0], axis=-1)
        yield Stretch(of_kind, molecule, lengths / np.array(molecule.lengths))
