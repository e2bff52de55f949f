"""Cases to measure: structures, and committees of the paper's size with random weights.

Random weights cost what trained ones cost, and random labels what real ones do: nothing here depends on the values.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read
from torch import Generator

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.potentials import SchNet
from sparring.proposers.objectives import force_variance, log, mean_energy
from sparring.proposers.spaces import Cartesian, Dihedrals, Space
from sparring.systems import alanine_dipeptide as dipeptide
from sparring.units import quantity

KT = quantity("20 kcal/mol")
OBJECTIVE = log(force_variance) + (-1 / KT) * mean_energy
"""Eq. 13 in its logarithm, but for the constant ln Q."""

TEMPERATURE, TIMESTEP = 300.0, 0.5
"""Temperature in K and time step in fs of dynamics."""

N_MEMBERS = 5
RATTLE = 0.05
"""Standard deviation of every coordinate, in Å."""


class Size(NamedTuple):
    """Widths and depth of a SchNet; the default is the paper's."""

    n_features: int = 256
    n_filters: int = 256
    n_interactions: int = 4
    n_gaussians: int = 32


PAPER = Size()
TINY = Size(n_features=8, n_filters=8, n_interactions=2, n_gaussians=8)


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        task: Task: attack, training, dynamics, or forces (energies and forces).
        system: System.
        n_structures: Number of structures in a batch: seeds, molecules of a minibatch, replicas.
        over_loop: Smallest ratio of the time of the plain loop to ours; None without a goal.
        over_floor: Largest ratio of our time to that of the floor; None without a goal.
    """

    task: str
    system: str
    n_structures: int
    over_loop: float | None = None
    over_floor: float | None = None


CASES = (
    Case("attack", "ammonia", 30, over_loop=25, over_floor=2),
    Case("attack", "alanine dipeptide", 50, over_floor=3),
    Case("attack", "silicon 64", 5, over_loop=2, over_floor=3),
    Case("attack", "silicon 1000", 1, over_loop=2, over_floor=3),
    Case("training", "ammonia", 30, over_loop=4, over_floor=3),
    Case("training", "alanine dipeptide", 30),
    Case("training", "silicon 64", 5, over_loop=2, over_floor=3),
    Case("training", "silicon 216", 1, over_loop=2, over_floor=3),
    Case("dynamics", "ammonia", 600, over_loop=100),
    Case("dynamics", "alanine dipeptide", 50),
    Case("dynamics", "silicon 64", 5, over_loop=2, over_floor=3),
    Case("dynamics", "silicon 1000", 1, over_loop=2, over_floor=3),
    Case("forces", "ammonia", 30),
    Case("forces", "alanine dipeptide", 50),
    Case("forces", "silicon 64", 5),
    Case("forces", "silicon 1000", 1),
)

QUICK_CASES = tuple(
    Case(task, system, n_structures)
    for task in ("attack", "training", "dynamics", "forces")
    for system, n_structures in (("ammonia", 3), ("silicon 8", 2))
)
"""Small cases for a test that everything works; their times have no meaning."""

REPEATS = {8: (1, 1, 1), 16: (2, 1, 1), 32: (2, 2, 1), 64: (2, 2, 2), 128: (4, 2, 2), 216: (3, 3, 3), 256: (4, 4, 2)}
REPEATS |= {512: (4, 4, 4), 1000: (5, 5, 5)}
"""Repetitions of the cubic cell of eight atoms along each axis, by the number of atoms."""


def silicon(n_atoms: int) -> Atoms:
    """A periodic cell of silicon: within 5 Å, an atom has 28 neighbours whatever the size of the cell.

    Raises:
        ValueError: If there is no such cell here.
    """
    cell: Atoms
    if n_atoms == 4:
        cell = bulk("Si", "diamond", a=5.43).repeat((2, 1, 1))
        return cell
    if n_atoms not in REPEATS:
        raise ValueError(f"cells have 4 or {sorted(REPEATS)} atoms, got {n_atoms}")
    cell = bulk("Si", "diamond", a=5.43, cubic=True).repeat(REPEATS[n_atoms])
    return cell


def alanine_dipeptide() -> Atoms:
    """22 atoms; the file says how its geometry was made."""
    (atoms,) = read(Path(__file__).parent / "alanine_dipeptide.xyz", ":")
    return atoms


TORSIONS = "alanine dipeptide, (phi, psi)"
"""The molecule of the paper's third example, attacked in its two torsions and not atom by atom."""

SYSTEMS: dict[str, Callable[[], Atoms]] = {
    TORSIONS: dipeptide.geometry,
    "ammonia": lambda: molecule("NH3"),
    "alanine dipeptide": alanine_dipeptide,
    **{f"silicon {n_atoms}": partial(silicon, n_atoms) for n_atoms in (4, *REPEATS)},
}


def space(system: str) -> Space:
    """The space of attacks on a system."""
    if system == TORSIONS:
        return Dihedrals.of(dipeptide.geometry(), (dipeptide.PHI, dipeptide.PSI), bonds=dipeptide.BONDS)
    return Cartesian()


def copies(system: str, n_structures: int) -> list[Atoms]:
    """Structures of a system, each rattled in its own way."""
    atoms = [SYSTEMS[system]() for _ in range(n_structures)]
    for index, one in enumerate(atoms):
        one.rattle(RATTLE, seed=index)
    return atoms


def batch(system: str, n_structures: int) -> Structures:
    """The same in one batch, without edges."""
    return Structures.from_atoms(copies(system, n_structures))


def labelled(system: str, n_structures: int) -> Dataset:
    """The same with labels that mean nothing."""
    generator = np.random.default_rng(0)
    atoms = copies(system, n_structures)
    for one in atoms:
        one.info[ENERGY] = float(generator.normal())
        one.arrays[FORCES] = generator.normal(size=(len(one), 3))
    return Dataset.from_atoms(atoms)


def networks(n_members: int, size: Size = PAPER) -> list[SchNet]:
    """Members with weights of their own."""
    members = [SchNet(**size._asdict()) for _ in range(n_members)]
    for index, member in enumerate(members):
        member.initialise(Generator().manual_seed(index))
    return members
