"""Alanine dipeptide, ACE-ALA-NME (N-acetyl-L-alanine-N'-methylamide), and its two torsions (Sec. III.C and V.C)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.systems.base import Published, Start, StartCost, System
from sparring.systems.langevin import n_snapshots, snapshots
from sparring.systems.metrics import TORSIONS, TORSIONS_PROGRESS
from sparring.systems.section import Langevin

if TYPE_CHECKING:
    from openmm.app import Topology

__all__ = [
    "BONDS",
    "NAMES",
    "PHI",
    "PSI",
    "RESIDUES",
    "SYMBOLS",
    "geometry",
    "system",
    "topology",
    "torsion_plane",
]

RESIDUES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ACE", ("CH3", "H1", "H2", "H3", "C", "O")),
    ("ALA", ("N", "H", "CA", "HA", "CB", "HB1", "HB2", "HB3", "C", "O")),
    ("NME", ("N", "H", "C", "H1", "H2", "H3")),
)
"""The residues and the names of their atoms, as a PDB file has them, in the order of the atoms."""
NAMES: tuple[str, ...] = tuple(name for _, names in RESIDUES for name in names)
"""The name of every atom, such as "CA"."""
SYMBOLS: tuple[str, ...] = tuple(name[0] for name in NAMES)
"""The element of every atom."""
BONDS: tuple[tuple[int, int], ...] = (
    *((0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (4, 6)),
    *((6, 7), (6, 8), (8, 9), (8, 10), (10, 11), (10, 12), (10, 13), (8, 14), (14, 15), (14, 16)),
    *((16, 17), (16, 18), (18, 19), (18, 20), (18, 21)),
)
"""The bonded pairs of atoms."""
PHI: tuple[int, int, int, int] = (4, 6, 8, 14)
"""C (of ACE), N, CA, C."""
PSI: tuple[int, int, int, int] = (6, 8, 14, 16)
"""N, CA, C, N (of NME)."""

# Built with RDKit as the L-enantiomer and minimised with OPLS-AA from every 60 degrees of phi and psi: the lowest of
# the minima found. In the frame of its principal axes.
_C7EQ = (
    (-2.75416, 1.47645, -0.25330),
    (-3.00291, 2.41774, 0.23788),
    (-2.54478, 1.68538, -1.30234),
    (-3.62245, 0.82074, -0.18990),
    (-1.54789, 0.83409, 0.41446),
    (-0.97218, 1.40327, 1.33892),
    (-1.14642, -0.34934, -0.06442),
    (-1.63022, -0.72714, -0.86293),
    (-0.01389, -1.12820, 0.44059),
    (0.01060, -1.08706, 1.53144),
    (-0.20721, -2.59057, -0.00622),
    (-0.22989, -2.68475, -1.09296),
    (-1.13508, -3.00494, 0.38794),
    (0.60709, -3.21910, 0.35771),
    (1.31950, -0.56909, -0.10213),
    (2.04644, -1.24403, -0.82896),
    (1.62391, 0.68630, 0.23934),
    (0.93617, 1.17922, 0.80368),
    (2.82827, 1.38651, -0.17970),
    (2.84427, 2.39391, 0.23601),
    (2.87104, 1.46197, -1.26720),
    (3.71979, 0.85863, 0.16211),
)


def geometry() -> Atoms:
    """The molecule at its lowest minimum, C7eq: phi is -79.4 and psi 61.9 degrees, a hydrogen bond closes a ring of 7.

    It is the minimum of OPLS-AA as `sparring.labels.OpenMM` has it. Other methods have one near by.
    """
    info = {"charge": 0, "multiplicity": 1}
    return Atoms(SYMBOLS, positions=np.array(_C7EQ), info=info)


def topology() -> "Topology":
    """The molecule as OpenMM wants it: residues, names, elements and bonds."""
    from openmm.app import Element, Topology

    result = Topology()
    chain = result.addChain()
    atoms = []
    for residue_name, names in RESIDUES:
        residue = result.addResidue(residue_name, chain)
        atoms += [result.addAtom(name, Element.getBySymbol(name[0]), residue) for name in names]
    for first, second in BONDS:
        result.addBond(atoms[first], atoms[second])
    return result


def torsion_plane() -> TorsionPlane:
    """(φ, ψ) of the backbone."""
    return TorsionPlane(names=("phi", "psi"), torsions=(PHI, PSI), bonds=BONDS)


def system(sampling: Langevin | None = None) -> System:
    """Alanine dipeptide with its bonds, topology and torsions.

    Args:
        sampling: Dynamics that the starting data are taken from; None for the paper's.
    """
    moving = sampling or Langevin()
    n = n_snapshots(moving)

    def start(given: Start) -> Sequence[Atoms]:
        return given.label_many(snapshots(moving, geometry(), given.seed, given.label_service))

    return System(
        name="alanine_dipeptide",
        structures=lambda: [geometry()],
        start=start,
        cost=lambda _: StartCost(n_labels=n, n_structures=n),
        metrics=TORSIONS,
        progress=TORSIONS_PROGRESS,
        bonds=BONDS,
        topology=topology,
        torsions=lambda _: (torsion_plane(), geometry()),
        in_report=("landscape",),
        published=(
            Published(
                "landscape",
                None,
                "From generation to generation committees reproduce more of the landscape, such as φ > π/2 and the "
                "ellipsoid of high energy at (0, 0); there the uncertainty remains high, for what lies above 10⁴ "
                "kcal/mol is discarded.",
                "Sec. III.C, Fig. 4c",
            ),
        ),
    )
