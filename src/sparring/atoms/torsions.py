"""Torsions of a molecule: the four atoms that define each, and the atoms that turn with it.

A torsion i-j-k-l is that of the bond j-k. To change it, everything on the side of k is turned about the bond, and
nothing else: bond lengths, angles and all torsions of other bonds stay as they are. So torsions may move each other's
axes: in any order of turns, the molecule ends in the same shape, though not in the same place.
"""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.atoms.electronic_state import total_charge
from sparring.atoms.geometry import angle
from sparring.atoms.guests import Molecules, made_whole, molecules_in
from sparring.atoms.peptides import NAMES, backbone_torsions
from sparring.support.suggestions import did_you_mean

__all__ = ["OnePiece", "Torsion", "bond_graph", "find", "in_one_piece"]

STRAIGHT = math.radians(178)
"""Three atoms with a wider angle are on a line, about which no torsion is defined."""

ROTATABLE = "rotatable"
"""Name of all torsions that can turn."""
STIFF = 0.93
"""Length of a bond of C, N or O in units of the sum of covalent radii, below which it does not turn."""

Four = tuple[int, int, int, int]


class Torsion(NamedTuple):
    """A torsion of a molecule.

    Attributes:
        atoms: The four atoms i, j, k and l.
        moving: The atoms that turn about the bond from j to k, in rising order; l is one of them.
        name: Name or SMARTS that it was found by, with numbers where that matches several torsions.
    """

    atoms: Four
    moving: tuple[int, ...]
    name: str


def find(
    atoms: Atoms,
    torsions: Sequence[str | Sequence[int]],
    bonds: Sequence[Sequence[int]] | None = None,
    guest: Sequence[int] | None = None,
) -> tuple[Torsion, ...]:
    """Torsions by atoms, names or SMARTS, in the order in which they are given.

    A torsion that is named twice is found once. In a periodic structure they are those of its molecules, which are not
    bonded to a framework.

    Args:
        atoms: The molecule, or a periodic structure.
        torsions: Four atoms each, counted from 0; or "phi", "psi" or "omega" for all of a peptide's chain, with a
            number for that of one residue ("phi2"); or "rotatable" for one about each bond that can turn; or a SMARTS
            of four atoms, which stands for one torsion about each bond that it matches, the one of the lowest atoms
            (this takes RDKit).
        bonds: Pairs of atoms; None to find them from the distances.
        guest: Atoms of the molecule in a periodic structure; None for all molecules.

    Raises:
        ValueError: If a periodic structure has no molecule, or bonds are given for one; a name or a SMARTS is not known
            or matches nothing; four atoms are not bonded in a chain, or on a line; a bond is in a ring; two different
            torsions are about the same bond.
        ModuleNotFoundError: If a SMARTS is given and RDKit is not installed.
    """
    if isinstance(torsions, str) or not len(torsions):
        raise ValueError(f"wanted a list of torsions, such as ['phi', (4, 6, 8, 14)], got {torsions!r}")
    atoms, groups, bonds = in_one_piece(atoms, bonds, guest)
    inside: Sequence[int] = sorted(atom for group in groups for atom in group) or range(len(atoms))
    graph = bond_graph(atoms, bonds)
    found: dict[frozenset[int], Torsion] = {}
    for wanted in torsions:
        for name, four in _resolve(atoms, graph, wanted, inside):
            torsion = _checked(atoms, graph, four, name)
            _, j, k, _ = four
            known = found.setdefault(frozenset((j, k)), torsion)
            if known.atoms not in (four, four[::-1]):
                raise ValueError(
                    f"torsions {known.name} and {name} of {_named(atoms)} are about the same bond "
                    f"{_labelled(atoms, j, k)}, so they are not independent; leave one of them out"
                )
    return tuple(found.values())


class OnePiece(NamedTuple):
    """A structure without periodic boundaries, with its molecules in one piece.

    Attributes:
        atoms: The structure.
        groups: Atoms of each molecule of what was periodic; none for a molecule alone.
        bonds: Bonds of the molecules; None to find them from the distances.
    """

    atoms: Atoms
    groups: Molecules
    bonds: Sequence[Sequence[int]] | None


def in_one_piece(
    atoms: Atoms, bonds: Sequence[Sequence[int]] | None = None, guest: Sequence[int] | None = None
) -> OnePiece:
    """The molecules of a structure and their bonds, without those of a framework; arguments are those of :func:`find`.

    Raises:
        ValueError: If a periodic structure has no molecule, or bonds are given for one.
    """
    if not atoms.pbc.any():
        return OnePiece(atoms, (), bonds)
    if bonds is not None:
        raise ValueError(
            f"{_named(atoms)} is periodic, and bonds can be given for molecules only; leave them out, to find those of "
            "its molecules from the distances"
        )
    groups = molecules_in(atoms, guest)
    whole, inside = made_whole(atoms, groups), sorted(atom for group in groups for atom in group)
    found = find_bonds(whole[inside])
    return OnePiece(whole, groups, [(inside[bond.first], inside[bond.second]) for bond in found])


def bond_graph(atoms: Atoms, bonds: Sequence[Sequence[int]] | None = None) -> BondGraph:
    """The bonds of a molecule: those given, or those found from its distances."""
    if bonds is None:
        bonds = [(bond.first, bond.second) for bond in find_bonds(atoms)]
    return BondGraph.of(len(atoms), bonds)


def _resolve(
    atoms: Atoms, graph: BondGraph, torsion: str | Sequence[int], inside: Sequence[int]
) -> list[tuple[str, Four]]:
    """The torsions that a name, a SMARTS or four atoms stand for, each with its name."""
    if not isinstance(torsion, str):
        four = tuple(int(atom) for atom in torsion)
        if len(four) != 4 or len(set(four)) != 4:
            raise ValueError(f"a torsion is four different atoms, got {four}")
        if not all(0 <= atom < len(atoms) for atom in four):
            raise ValueError(f"torsion {four}: the atoms of {_named(atoms)} are numbered from 0 to {len(atoms) - 1}")
        return [("-".join(map(str, four)), four)]
    if torsion == ROTATABLE:
        return [("-".join(map(str, four)), four) for four in _rotatable(atoms, graph)]
    match = re.fullmatch(rf"({'|'.join(NAMES)})(\d*)", torsion)
    if match is None:
        return [(f"{torsion} at {'-'.join(map(str, four))}", four) for four in _matches(atoms, graph, torsion, inside)]
    name, number = match[1], match[2]
    of_residues = backbone_torsions(atoms.numbers.tolist(), graph)[name]
    if not of_residues:
        raise ValueError(
            f"{_named(atoms)} has no {name}: there is no peptide's backbone with it; name four atoms instead"
        )
    if number and int(number) not in of_residues:
        raise ValueError(f"{_named(atoms)} has no {torsion}, only {', '.join(f'{name}{n}' for n in of_residues)}")
    return [(f"{name}{n}", four) for n, four in of_residues.items() if not number or n == int(number)]


def _rotatable(atoms: Atoms, graph: BondGraph) -> list[Four]:
    """One torsion of the lowest neighbours about each bond that can turn.

    That is a bond outside of rings between two atoms that have other neighbours, none of which is on a line with it.
    Bonds of C, N and O that are shorter than 0.93 times the sum of covalent radii cannot: double bonds and amides.
    """
    found = list[Four]()
    for j, k in graph.bonds:
        before, after = ([n for n in graph.neighbours[one] if n != other] for one, other in ((j, k), (k, j)))
        radii = sum(covalent_radii[atoms.numbers[one]] for one in (j, k))
        stiff = {*atoms.symbols[[j, k]]} <= {*"CNO"} and atoms.get_distance(j, k) < STIFF * radii
        if before and after and not stiff and not graph.in_ring(j, k):
            four = (min(before), j, k, min(after))
            if not _on_a_line(atoms, four):
                found.append(four)
    if not found:
        raise ValueError(f"{_named(atoms)} has no rotatable bond; use a Cartesian space for it")
    return found


def _on_a_line(atoms: Atoms, four: Four) -> list[tuple[int, ...]]:
    """The three atoms of a chain of four that are on a line, so that there is no torsion."""
    positions = torch.as_tensor(atoms.positions)
    return [three for three in (four[:3], four[1:]) if float(angle(positions, *three)) > STRAIGHT]


def _checked(atoms: Atoms, graph: BondGraph, four: Four, name: str) -> Torsion:
    of = f"torsion {name} of {_named(atoms)}"
    for first, second in pairwise(four):
        if not graph.bonded(first, second):
            apart = f"{atoms.get_distance(first, second):.2f} Å apart"
            raise ValueError(
                f"{of}: {_labelled(atoms, first, second)} are not bonded ({apart}); name four atoms in a chain of "
                "bonds, or give the bonds where distances do not show them"
            )
    _, j, k, _ = four
    if graph.in_ring(j, k):
        raise ValueError(
            f"{of}: the bond {_labelled(atoms, j, k)} is in a ring, which cannot turn without breaking; leave it out"
            + (" (-!@ in a SMARTS matches bonds outside of rings)" if " at " in name else "")
        )
    for three in _on_a_line(atoms, four):
        raise ValueError(f"{of}: {_labelled(atoms, *three)} are on a line, so that there is no torsion")
    return Torsion(four, tuple(sorted(graph.beyond(j, k) - {k})), name)


def _matches(atoms: Atoms, graph: BondGraph, smarts: str, inside: Sequence[int]) -> list[Four]:
    """One match for each bond in the middle: that of the lowest atoms, whatever RDKit's order is.

    Args:
        atoms: The structure.
        graph: Its bonds.
        smarts: Pattern of four atoms.
        inside: Atoms among which it is looked for, in rising order.
    """
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():
        pattern = Chem.MolFromSmarts(smarts)
    if pattern is None:
        hint = did_you_mean(smarts, (*NAMES, ROTATABLE))
        raise ValueError(f"{smarts!r} is neither one of {', '.join((*NAMES, ROTATABLE))} nor a SMARTS{hint}")
    if pattern.GetNumAtoms() != 4:
        raise ValueError(f"SMARTS {smarts!r} has {pattern.GetNumAtoms()} atoms; a torsion has four")
    place = {atom: index for index, atom in enumerate(inside)}
    pairs = [(place[first], place[second]) for first, second in graph.bonds]
    molecule = _with_bond_orders(atoms[list(inside)], BondGraph.of(len(inside), pairs))
    found: dict[frozenset[int], Four] = {}
    for match in sorted(molecule.GetSubstructMatches(pattern, uniquify=False, maxMatches=10**6)):
        i, j, k, l = (inside[index] for index in match)  # noqa: E741
        found.setdefault(frozenset((j, k)), (i, j, k, l))
    if not found:
        raise ValueError(f"SMARTS {smarts!r} matches nothing in {_named(atoms)}")
    return list(found.values())


def _with_bond_orders(atoms: Atoms, graph: BondGraph) -> Any:  # noqa: ANN401 - RDKit has no types
    """The molecule as RDKit has it; the bonds are ours, only their orders are RDKit's."""
    from rdkit import Chem, rdBase
    from rdkit.Chem.rdDetermineBonds import DetermineBondOrders

    molecule = Chem.RWMol()
    for number in atoms.numbers.tolist():
        atom = Chem.Atom(number)
        atom.SetNoImplicit(True)
        molecule.AddAtom(atom)
    for first, second in graph.bonds:
        molecule.AddBond(first, second, Chem.BondType.SINGLE)
    conformer = Chem.Conformer(len(atoms))
    conformer.SetPositions(np.asarray(atoms.positions, dtype=float))
    molecule.AddConformer(conformer)
    charge = total_charge(atoms)
    try:
        with rdBase.BlockLogs():
            DetermineBondOrders(molecule, charge=charge, embedChiral=False)
            Chem.SanitizeMol(molecule)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"the bonds of {_named(atoms)} have no orders that fit a charge of {charge}, which a SMARTS needs: set "
            f"atoms.info['charge'], or name torsions by four atoms ({str(error).strip().splitlines()[0]})"
        ) from error
    return molecule


def _named(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula())


def _labelled(atoms: Atoms, *indices: int) -> str:
    """Indices and symbols: 6-8 (N-C)."""
    return f"{'-'.join(map(str, indices))} ({'-'.join(atoms.symbols[index] for index in indices)})"
