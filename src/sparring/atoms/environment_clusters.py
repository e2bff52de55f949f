"""Clusters about an atom, whose cut bonds end in hydrogen."""

import math

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.atoms.environment_cells import images_within

__all__ = ["cluster_about"]

MARGIN = 6.0
"""Width in Å beyond the shell of a cluster within which atoms may be added, so that no double bond is cut."""
HYDROGEN = 1
USUAL_BONDS = {5: 3, 6: 4, 7: 3, 8: 2, 14: 4, 15: 3, 16: 2}
"""Number of neighbours from which on an atom has single bonds only."""
NONMETALS = (1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 52, 53, 54)
METALS = frozenset(range(1, len(covalent_radii))).difference(NONMETALS)
"""Elements whose bonds are cut without a cap."""
BOND = 2.5
"""Length in Å that no bond exceeds."""


def cluster_about(atoms: Atoms, centre: int, reach: float) -> Atoms:
    """Core and shell in vacuum, whose cut bonds end in hydrogen."""
    bare = atoms.copy()
    bare.positions -= bare.positions[centre]
    whole = images_within(bare, reach + MARGIN) if bare.pbc.any() else bare
    whole.set_cell(None)
    whole.arrays.pop("image_of", None)
    distance = np.linalg.norm(whole.positions, axis=1)
    near = np.flatnonzero(distance <= reach + MARGIN)
    whole, distance = whole[near], distance[near]
    graph = BondGraph.of(len(whole), [(bond.first, bond.second) for bond in find_bonds(whole)])
    inside = _completed(whole, graph, set(np.flatnonzero(distance <= reach).tolist()))
    if len(near) < len(bare) or bare.pbc.any():
        farthest = max(distance[list(inside)])
        if farthest > reach + MARGIN - BOND:
            raise ValueError(
                f"no bond within {MARGIN:g} Å of the shell about atom {centre} can be cut, as in a conjugated network; "
                "cut a periodic environment"
            )
    order = sorted(inside, key=lambda atom: (distance[atom] > 1e-9, atom))
    cluster: Atoms = whole[order]
    cluster.set_array("cap", np.zeros(len(order), dtype=int))
    for atom in order:
        for other in graph.neighbours[atom]:
            if other not in inside and not _metallic(whole, atom, other):
                vector = whole.positions[other] - whole.positions[atom]
                length = covalent_radii[HYDROGEN] + covalent_radii[whole.numbers[atom]]
                cap = Atoms("H", [whole.positions[atom] + vector * length / np.linalg.norm(vector)])
                cap.set_array("cap", np.ones(1, dtype=int))
                cluster += cap
    cluster.pbc = False
    return cluster


def _completed(whole: Atoms, graph: BondGraph, inside: set[int]) -> set[int]:
    """Atoms inside, with those that have bonds to them that cannot be cut, or several bonds to them."""
    border = sorted(inside)
    while border:
        atom = border.pop()
        for other in graph.neighbours[atom]:
            if other in inside:
                continue
            n_bonds = len(inside.intersection(graph.neighbours[other]))
            if not _can_be_cut(whole, graph, atom, other) or (n_bonds > 1 and not _metallic(whole, atom, other)):
                inside.add(other)
                border.append(other)
    return inside


def _can_be_cut(whole: Atoms, graph: BondGraph, atom: int, other: int) -> bool:
    """True for a bond with a metal, and for one between atoms that have single bonds only."""
    pair = whole.numbers[[atom, other]].tolist()
    if _metallic(whole, atom, other):
        return True
    if HYDROGEN in pair:
        return False
    return all(
        len(graph.neighbours[one]) >= USUAL_BONDS.get(number, math.inf)
        for one, number in zip((atom, other), pair, strict=True)
    )


def _metallic(whole: Atoms, atom: int, other: int) -> bool:
    return not METALS.isdisjoint(whole.numbers[[atom, other]].tolist())
