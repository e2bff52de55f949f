"""Starting data from dynamics under the force field that labels."""

from typing import Any

from ase import Atoms

from sparring.labels import OpenMM, langevin_snapshots, n_langevin_snapshots
from sparring.labels.service import LabelService
from sparring.systems.section import Langevin

__all__ = ["n_snapshots", "snapshots"]


def n_snapshots(section: Langevin) -> int:
    """Number of snapshots of one trajectory."""
    return n_langevin_snapshots(duration=section.duration, every=section.every, timestep=section.timestep)


def snapshots(section: Langevin, atoms: Atoms, seed: int, label_service: LabelService) -> list[Atoms]:
    """Geometries, without labels, that a molecule visits.

    Args:
        section: Times and temperature of the dynamics.
        atoms: Molecule.
        seed: Seed of velocities and noise.
        label_service: Labeller, which must be OpenMM.
    """
    worker = label_service.labeller
    assert isinstance(worker, OpenMM)  # a configuration with another labeller is refused
    moving: dict[str, Any] = section.arguments()
    return langevin_snapshots(worker, atoms, seed=seed, progress=label_service.progress_bars("dynamics"), **moving)
