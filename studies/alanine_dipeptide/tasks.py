"""Computations with the committees of the study of alanine dipeptide: landscapes and free energies."""

from pathlib import Path

from sparring.assembly.labels import labeller
from sparring.committee_files import read_committee
from sparring.config import Config
from sparring.labels.openmm import OpenMM
from sparring.surfaces.torsion_maps import GridKind
from sparring.systems import alanine_dipeptide
from sparring.validation.free_energy.compute import committee_visits, dynamics_visits
from sparring.validation.free_energy.histograms import compare
from sparring.validation.landscape.compute import landscapes
from sparring.validation.records import write_record

__all__ = ["free_energy", "maps"]

EQUILIBRATION = 1000.0
"""Discarded time in fs; trajectories start from structures of the reference."""


def maps(run: Path, file: Path, *, which: GridKind, points: tuple[int, int]) -> None:
    """The landscapes of all committees of a run, on one of the two grids."""
    found = landscapes(run, which=which, points=points)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, found.landscapes)


def free_energy(
    config: Config,
    generation: Path,
    file: Path,
    *,
    reference: Path,
    n_copies: int,
    duration: float,
    reference_duration: float,
    n_bins: int,
    seed: int,
) -> None:
    """The free energy of a committee against that of the force field, both from plain dynamics at 300 K.

    Args:
        config: Configuration of the force field.
        generation: Folder of the committee.
        file: File of the result; finished trajectories are saved beside it.
        reference: Folder for the trajectory of the force field, the same for all committees.
        n_copies: Number of trajectories.
        duration: Length of each trajectory, in fs.
        reference_duration: Length of the force field's trajectory, in fs.
        n_bins: Number of bins along each torsion.
        seed: Seed of velocities and noise.
    """
    worker, plane = labeller(config), alanine_dipeptide.torsion_plane()
    assert isinstance(worker, OpenMM)
    truth, starts = dynamics_visits(
        worker,
        plane,
        alanine_dipeptide.geometry(),
        duration=reference_duration,
        n_bins=n_bins,
        n_starts=n_copies,
        folder=reference,
    )
    seen = committee_visits(
        read_committee(generation),
        starts,
        plane,
        n_copies=n_copies,
        duration=duration,
        equilibration=min(EQUILIBRATION, 0.1 * duration),
        n_bins=n_bins,
        seed=seed,
        n_at_once=10,
        batches=file.with_suffix(""),
    )
    result = compare(seen, truth, names=plane.names, temperature=300.0)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_record(file, result)
