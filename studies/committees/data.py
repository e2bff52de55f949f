"""Labelled structures of ethanol by GFN2-xTB: dynamics at 300 K to learn from, and sets to test on."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS

from sparring.atoms.bonds import BondGraph, find_bonds
from sparring.atoms.dataset import Dataset
from sparring.inputs.extxyz import read_structures
from studies.learning_curves.data import ethanol_snapshots, labelled

__all__ = ["INSIDE", "SETS", "dataset", "labels", "test", "train"]

N_TRAIN, N_TEST = 200, 100
"""Number of snapshots to draw training sets from, and of the later ones to test on."""
INSIDE = "300 K"
"""Name of the test set that is like the data."""
FACTORS = np.linspace(0.7, 1.4, 15)
"""Lengths of scanned bonds, in units of those of the minimum."""


def at_300() -> list[Atoms]:
    """Snapshots at 300 K, those to learn from first, in other trajectories than those to test on."""
    return [*ethanol_snapshots(300.0, N_TRAIN, seed=1), *ethanol_snapshots(300.0, N_TEST, seed=2, n_trajectories=2)]


def at_500() -> list[Atoms]:
    """Snapshots at 500 K."""
    return ethanol_snapshots(500.0, N_TEST, seed=3, n_trajectories=2)


def bond_scans() -> list[Atoms]:
    """Each bond of the minimum at lengths from 0.7 to 1.4 times its own; one side moves as a whole."""
    atoms = molecule("CH3CH2OH")
    atoms.calc = calculator()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    bonds, frames = find_bonds(atoms), []
    graph = BondGraph.of(len(atoms), [(bond[0], bond[1]) for bond in bonds])
    for first, second in ((bond[0], bond[1]) for bond in bonds):
        side = sorted(graph.beyond(first, second))
        for factor in FACTORS:
            moved = atoms.copy()
            moved.positions[side] += (factor - 1) * (atoms.positions[second] - atoms.positions[first])
            frames.append(moved)
    return labels(frames)


SETS: Mapping[str, Callable[[], list[Atoms]]] = {INSIDE: at_300, "500 K": at_500, "bond scans": bond_scans}
"""Structures by the name of their test set."""


def calculator() -> object:
    """GFN2-xTB."""
    from tblite.ase import TBLite

    return TBLite(method="GFN2-xTB", verbosity=0)


def labels(frames: list[Atoms]) -> list[Atoms]:
    """Labelled copies of structures."""
    made = []
    for atoms in frames:
        copy = Atoms(atoms.symbols, positions=atoms.positions)
        copy.calc = calculator()
        made.append(labelled(copy, copy.get_potential_energy(), copy.get_forces()))
    return made


def dataset(file: Path) -> Dataset:
    """All structures of a file."""
    return Dataset.from_atoms(read_structures(file))


def train(file: Path, n: int, seed: int) -> Dataset:
    """Training set of n snapshots at 300 K that depends on the seed."""
    chosen = np.random.default_rng(seed).permutation(N_TRAIN)[:n]
    return dataset(file).take(chosen.tolist())


def test(file: Path, name: str) -> Dataset:
    """The structures of a test set."""
    whole = dataset(file)
    return whole.take(range(N_TRAIN, len(whole))) if name == INSIDE else whole
