"""The backbone of peptides, found from their bonds without names of atoms or residues."""

from collections.abc import Sequence
from typing import NamedTuple

from sparring.atoms.bonds import BondGraph

__all__ = ["NAMES", "backbone_torsions"]

NAMES = ("phi", "psi", "omega")
CARBON, NITROGEN, OXYGEN = 6, 7, 8

Four = tuple[int, int, int, int]


class Residue(NamedTuple):
    """The backbone atoms N, CA and C of an amino acid."""

    nitrogen: int
    alpha: int
    carbon: int


def backbone_torsions(atomic_numbers: Sequence[int], graph: BondGraph) -> dict[str, dict[int, Four]]:
    """The torsions phi, psi and omega of all residues, by name and number of the residue.

    With IUPAC (1970), doi:10.1021/bi00820a001: phi is C'-N-CA-C, psi N-CA-C-N', omega CA-C-N'-CA'. Residues are counted
    from 1 along the chain, which begins at its N terminus, and from chain to chain. Carbons of caps serve where a
    residue is missing, so that omega 0 is the one of a cap before residue 1.
    """
    peptide = _Peptide(list(atomic_numbers), graph)
    found: dict[str, dict[int, Four]] = {name: {} for name in NAMES}
    for number, residue in enumerate(peptide.in_order(), start=1):
        nitrogen, alpha, carbon = residue
        before, after = peptide.acyl(residue), peptide.amide(residue)
        if before is not None:
            found["phi"][number] = (before, nitrogen, alpha, carbon)
            cap = None if before in peptide.carbons else peptide.carbon_beside(before)
            if cap is not None:
                found["omega"][number - 1] = (cap, before, nitrogen, alpha)
        if after is not None:
            found["psi"][number] = (nitrogen, alpha, carbon, after)
            following = peptide.at_nitrogen.get(after)
            end = following.alpha if following else peptide.carbon_beside(after, carbon)
            if end is not None:
                found["omega"][number] = (alpha, carbon, after, end)
    return found


class _Peptide:
    """The residues of a molecule."""

    def __init__(self, numbers: list[int], graph: BondGraph) -> None:
        self.numbers, self.graph = numbers, graph
        self.residues = [
            Residue(nitrogen, alpha, carbon)
            for carbon in range(graph.n_atoms)
            if self.carbonyl(carbon)
            for alpha in self.beside(carbon, CARBON)
            if not self.carbonyl(alpha)
            for nitrogen in self.beside(alpha, NITROGEN)
        ]
        self.at_nitrogen = {residue.nitrogen: residue for residue in self.residues}
        self.carbons = {residue.carbon: residue for residue in self.residues}

    def beside(self, atom: int, element: int) -> list[int]:
        return [other for other in self.graph.neighbours[atom] if self.numbers[other] == element]

    def carbonyl(self, atom: int) -> bool:
        oxygens = self.beside(atom, OXYGEN)
        return self.numbers[atom] == CARBON and any(len(self.graph.neighbours[oxygen]) == 1 for oxygen in oxygens)

    def carbon_beside(self, atom: int, but: int | None = None) -> int | None:
        return next((other for other in self.beside(atom, CARBON) if other != but), None)

    def acyl(self, residue: Residue) -> int | None:
        """The carbonyl carbon before a residue: that of another residue rather than any other."""
        acyls = [c for c in self.beside(residue.nitrogen, CARBON) if c != residue.alpha and self.carbonyl(c)]
        return min(acyls, key=lambda carbon: (carbon not in self.carbons, carbon), default=None)

    def amide(self, residue: Residue) -> int | None:
        """The nitrogen behind a residue."""
        return min(self.beside(residue.carbon, NITROGEN), default=None)

    def in_order(self) -> list[Residue]:
        """Residues along each chain from its N terminus; a closed chain begins at its lowest nitrogen."""
        ordered: list[Residue] = []
        inner = {self.amide(residue) for residue in self.residues}
        by_end = sorted(self.residues, key=lambda residue: (residue.nitrogen in inner, residue))
        for first in by_end:
            residue: Residue | None = first
            while residue is not None and residue not in ordered:
                ordered.append(residue)
                after = self.amide(residue)
                residue = None if after is None else self.at_nitrogen.get(after)
        return ordered
