"""Labelled snapshots of dynamics at 500 K: ethanol by GFN2-xTB, alanine dipeptide by OPLS-AA."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.inputs.extxyz import read_structures, write_structures
from sparring.labels.openmm.dynamics import langevin_snapshots
from sparring.labels.openmm.labeller import OpenMM
from sparring.systems.alanine_dipeptide import geometry, topology

__all__ = ["MOLECULES", "N_TRAIN", "ethanol_snapshots", "labelled", "split", "write"]

N_TRAIN, N_TEST = 500, 500
"""Number of snapshots to draw training sets from, and of the later ones to test on."""
TEMPERATURE = 500.0


def ethanol() -> list[Atoms]:
    """Snapshots of four trajectories, 20 fs apart."""
    return ethanol_snapshots(TEMPERATURE, N_TRAIN + N_TEST, seed=0)


def ethanol_snapshots(temperature: float, n: int, *, seed: int, n_trajectories: int = 4) -> list[Atoms]:
    """Snapshots of trajectories under GFN2-xTB, 20 fs apart after 200 fs.

    Args:
        temperature: Temperature in K.
        n: Number of snapshots of all trajectories.
        seed: Seed of velocities and of the thermostat.
        n_trajectories: Number of trajectories.
    """
    from tblite.ase import TBLite

    generator, frames = np.random.default_rng(seed), []
    for _ in range(n_trajectories):
        atoms = molecule("CH3CH2OH")
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=generator)
        moving = Langevin(
            atoms, 0.5 * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=generator
        )
        moving.run(400)
        for _ in range(n // n_trajectories):
            moving.run(40)
            frames.append(labelled(atoms, atoms.get_potential_energy(), atoms.get_forces()))
    return frames


def alanine_dipeptide() -> list[Atoms]:
    """Snapshots of one trajectory, 400 fs apart."""
    force_field = OpenMM.from_forcefield("opls-aa", topology())
    snapshots = langevin_snapshots(
        force_field,
        geometry(),
        temperature=TEMPERATURE,
        timestep=1.0,
        duration=400.0 * (N_TRAIN + N_TEST),
        every=400.0,
        equilibration=2000.0,
        seed=1,
    )
    labels = [force_field(atoms) for atoms in snapshots]
    return [labelled(atoms, label.energy, label.forces) for atoms, label in zip(snapshots, labels, strict=True)]


MOLECULES: dict[str, Callable[[], list[Atoms]]] = {"ethanol": ethanol, "alanine dipeptide": alanine_dipeptide}


def split(file: Path, seed: int, n: int) -> tuple[Dataset, Dataset]:
    """Training set of n structures that depends on the seed, and the test set, which does not."""
    frames = read_structures(file)
    chosen = np.random.default_rng(seed).permutation(N_TRAIN)[:n]
    return Dataset.from_atoms([frames[i] for i in chosen]), Dataset.from_atoms(frames[N_TRAIN:])


def write(file: Path, make: Callable[[], list[Atoms]]) -> None:
    """Write the snapshots of a molecule."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_structures(file, make())


def labelled(atoms: Atoms, energy: float, forces: np.ndarray) -> Atoms:
    """A copy of the geometry with a label, in eV and eV/Å."""
    copy = Atoms(atoms.symbols, positions=atoms.positions, info={ENERGY: float(energy)})
    copy.set_array(FORCES, forces)
    return copy
