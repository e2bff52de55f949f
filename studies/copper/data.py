"""Copper that nobody trains on: a liquid, and surfaces that the starting structures do not have. Labels are EMT's."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import add_adsorbate, bulk, fcc100, fcc110
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin

from sparring.atoms.dataset import Dataset
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels import ASECalculator, Label, label, labelled_atoms

__all__ = ["LATTICE_CONSTANT", "SETS", "dataset", "primitive", "write"]

LATTICE_CONSTANT = 3.6
"""That of the starting structures in Å; EMT's is 3.59."""
N_FRAMES = 40
"""Frames of each set."""
TIMESTEP, EVERY, EQUILIBRATION = 4.0, 50, 500
"""Time step in fs; steps between two frames, and before the first."""
TEMPERATURES = {"liquid": 2500.0, "surfaces": 600.0}
"""Temperatures in K; EMT copper of a few atoms melts quickly well above its melting point of about 1,300 K."""


def liquid() -> Iterator[Atoms]:
    """Snapshots of 32 atoms that have melted, at a density 18 % below that of the crystal."""
    crystal = bulk("Cu", a=1.07 * LATTICE_CONSTANT, cubic=True) * (2, 2, 2)
    yield from _snapshots(crystal, TEMPERATURES["liquid"], N_FRAMES, seed=1)


def surfaces() -> Iterator[Atoms]:
    """Snapshots of (100) and (110) slabs, each with an atom on top."""
    slabs = (
        fcc100("Cu", (2, 2, 4), a=LATTICE_CONSTANT, vacuum=6.0, periodic=False),
        fcc110("Cu", (2, 2, 4), a=LATTICE_CONSTANT, vacuum=6.0, periodic=False),
    )
    for seed, slab in enumerate(slabs):
        add_adsorbate(slab, "Cu", 1.6, "hollow")
        yield from _snapshots(slab, TEMPERATURES["surfaces"], N_FRAMES // len(slabs), seed=2 + seed)


SETS: Mapping[str, Callable[[], Iterator[Atoms]]] = {"liquid": liquid, "surfaces": surfaces}
"""Sets of structures by name."""


def primitive() -> Atoms:
    """The primitive cell of the crystal."""
    return bulk("Cu", a=LATTICE_CONSTANT)


def write(file: Path, name: str) -> None:
    """Write the structures of a set with their labels."""
    frames = list(SETS[name]())
    report = label(frames, ASECalculator("emt"))
    rows = zip(frames, report.labels, report.keys, strict=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_structures(file, [labelled_atoms(atoms, one, key) for atoms, one, key in rows if isinstance(one, Label)])


def dataset(file: Path) -> Dataset:
    """All structures of a file."""
    return Dataset.from_atoms(read_structures(file))


def _snapshots(atoms: Atoms, temperature: float, n: int, *, seed: int) -> Iterator[Atoms]:
    """Frames of Langevin dynamics under EMT."""
    random = np.random.default_rng(seed)
    moving = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, calculator=EMT())
    thermal = np.sqrt(units.kB * temperature * moving.get_masses())
    moving.set_momenta(thermal[:, None] * random.standard_normal((len(moving), 3)))
    friction = 0.02 / units.fs
    dynamics = Langevin(
        moving, TIMESTEP * units.fs, temperature_K=temperature, friction=friction, rng=random, fixcm=False
    )
    dynamics.run(EQUILIBRATION)
    for _ in range(n):
        dynamics.run(EVERY)
        yield Atoms(moving.numbers, moving.positions, cell=moving.cell, pbc=moving.pbc)
