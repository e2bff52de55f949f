"""Energies and distances of a file that no structure has, whatever its method: another unit."""

from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float

from sparring.atoms.dataset import ENERGY
from sparring.plausibility.findings import Finding

__all__ = ["STRETCHED", "bond_ratio", "energy_findings", "length_findings"]

STRETCHED, SQUEEZED = 1.5, 0.3
"""Shortest distances over sums of covalent radii: above the first atoms may be apart, below the second they overlap."""
LONGEST_HYDROGEN_BOND, FARTHEST_HYDROGEN = 1.35, 2.4
"""Distances of hydrogen from the nearest C, N or O, in Å; bonds are shorter than the first, and longer in Bohr."""
MOST_FRAMES, MOST_ATOMS = 20, 1000
THOMAS_FERMI = 20.92
"""Energy in eV of a neutral atom by Thomas and Fermi, over the 7/3rd power of its number: -0.7687 Hartree."""
DEEPEST, DEPTH = 2.0, 100.0
"""No electrons are lower than this times that energy, and this in eV for every atom."""


def energy_findings(structures: Sequence[Atoms], file: str) -> list[Finding]:
    """Finding for energies below those of all electrons, as in kcal/mol."""
    labelled = [atoms for atoms in structures if ENERGY in atoms.info and (atoms.numbers > 0).all()]
    if not labelled:
        return []
    lowest = np.array([DEEPEST * _thomas_fermi(atoms) - DEPTH * len(atoms) for atoms in labelled])
    energies = np.array([float(atoms.info[ENERGY]) for atoms in labelled])
    below = energies < lowest
    if np.mean(below) <= 0.5:
        return []
    first = int(np.flatnonzero(below)[0])
    formula = labelled[first].get_chemical_formula()
    text = (
        f"{file}: energies are below those of all electrons, as in kcal/mol or kJ/mol read as eV: "
        f"{energies[first]:.6g} eV for {formula}, whose electrons have about "
        f"{_thomas_fermi(labelled[first]):.4g} eV ({below.sum()} of {len(labelled)} frames); write `energy_unit` in "
        "the section system, or convert the file to eV"
    )
    return [Finding("stop", text, about="consistency")]


def length_findings(structures: Sequence[Atoms], file: str) -> list[Finding]:
    """Finding for positions in nm or Bohr."""
    ratio = bond_ratio(structures)
    if ratio < SQUEEZED:
        text = (
            f"{file}: atoms overlap: the shortest distances are {ratio:.2g} times the sum of covalent radii (median), "
            "as of positions in nm; convert them to Å, with the cell"
        )
        return [Finding("stop", text, about="consistency")]
    bonds = [length for atoms in _some(structures) for length in _hydrogen_bonds(atoms)]
    median = float(np.median(bonds)) if bonds else 0.0
    if LONGEST_HYDROGEN_BOND < median < FARTHEST_HYDROGEN:
        text = (
            f"{file}: bonds of hydrogen are {median:.3g} Å long (median of {len(bonds)}), as of positions in Bohr; "
            "convert them to Å, with the cell"
        )
        return [Finding("stop", text, about="consistency")]
    return []


def bond_ratio(structures: Sequence[Atoms]) -> float:
    """The median of distances to the nearest atom over the sums of covalent radii; 1 if there are no pairs."""
    ratios = [ratio for atoms in _some(structures) for ratio in _nearest(atoms)[0]]
    return float(np.median(ratios)) if ratios else 1.0


def _thomas_fermi(atoms: Atoms) -> float:
    return float(-THOMAS_FERMI * (atoms.numbers ** (7 / 3)).sum())


def _some(structures: Sequence[Atoms]) -> list[Atoms]:
    several = [atoms for atoms in structures if 1 < len(atoms) <= MOST_ATOMS and (atoms.numbers > 0).all()]
    return several[:: max(1, len(several) // MOST_FRAMES)][:MOST_FRAMES]


def _nearest(atoms: Atoms) -> tuple[Float[np.ndarray, " n_atoms"], Float[np.ndarray, "n_atoms n_atoms"]]:
    """The smallest ratio of a distance to covalent radii for each atom, and all distances."""
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[np.minimum(atoms.numbers, len(covalent_radii) - 1)]
    return (distances / (radii[:, None] + radii[None])).min(axis=1), distances


def _hydrogen_bonds(atoms: Atoms) -> Iterator[float]:
    """Distances of hydrogen atoms whose nearest atom is C, N or O."""
    _, distances = _nearest(atoms)
    for hydrogen in np.flatnonzero(atoms.numbers == 1):
        nearest = int(distances[hydrogen].argmin())
        if atoms.numbers[nearest] in (6, 7, 8):
            yield float(distances[hydrogen, nearest])
