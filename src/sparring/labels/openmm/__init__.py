"""OpenMM: labels by force fields, and snapshots of their dynamics. Importing this loads no OpenMM."""

from sparring.labels.openmm.dynamics import langevin_snapshots, n_langevin_snapshots
from sparring.labels.openmm.labeller import OpenMM
from sparring.labels.openmm.reading import FORCEFIELDS, Combination, forcefield_system, with_geometric_means

__all__ = [
    "FORCEFIELDS",
    "Combination",
    "OpenMM",
    "forcefield_system",
    "langevin_snapshots",
    "n_langevin_snapshots",
    "with_geometric_means",
]
