"""Sampling of two torsions by dynamics of a molecule, with a committee or on the surface of the labels."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Int

from sparring.atoms.inheritance import bare_copy
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.dynamics import BondsKept, CloserThan, Langevin, Status, simulate
from sparring.inputs.extxyz import read_structures
from sparring.support.cached import cached
from sparring.support.digest import digest
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.seeds import derive
from sparring.surfaces.torsion_plane import TorsionPlane
from sparring.validation.free_energy.histograms import Visits, in_blocks, visits
from sparring.validation.records import keep_frames, read_record, write_record
from sparring.validation.survival.batches import identity

if TYPE_CHECKING:
    from sparring.labels.openmm import OpenMM

__all__ = ["committee_visits", "dynamics_visits", "reference_visits"]


@dataclass(frozen=True, kw_only=True)
class MDBatch:
    """Histograms of copies that were simulated together."""

    identity: str
    first: int
    n_failed: int
    counts: Int[np.ndarray, "n_copies n_x n_y"]


def committee_visits(
    committee: Committee,
    starts: Sequence[Atoms],
    plane: TorsionPlane,
    *,
    temperature: float = 300.0,
    n_copies: int = 20,
    duration: float = 20_000.0,
    equilibration: float = 1000.0,
    timestep: float = 1.0,
    friction: float = 0.001,
    every: int = 20,
    n_bins: int = 24,
    seed: int = 0,
    n_at_once: int = 20,
    batches: Path | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> Visits:
    """Copies in Langevin dynamics under a committee's mean forces, and where in the plane of two torsions they are.

    A copy leaves if a bond breaks or two atoms overlap; its frames until then count.

    Args:
        committee: Committee whose mean forces are used.
        starts: Starting structures of one molecule, used in turn.
        plane: Torsions.
        temperature: Temperature in K.
        n_copies: Number of copies; each is a block.
        duration: Length of a trajectory in fs, equilibration included.
        equilibration: Time in fs that is discarded at the start of each trajectory.
        timestep: Time step in fs.
        friction: Friction in 1/fs.
        every: Number of steps between frames.
        n_bins: Number of bins along each side of the plane.
        seed: Random seed of velocities and noise.
        n_at_once: Number of copies that are simulated together.
        batches: Folder for the results of batches; a batch that is found there is not computed again.
        progress_bars: Progress bars.

    Raises:
        ValueError: If there is no start, or nothing would count.
    """
    if not starts or n_copies < 1 or n_at_once < 1:
        raise ValueError(f"need a start and at least one copy, got {len(starts)}, {n_copies} and {n_at_once} at once")
    if not 0 <= equilibration < duration:
        raise ValueError(
            f"the equilibration must be shorter than the trajectory, got {equilibration:g} fs of {duration:g} fs"
        )
    committee.require_known(starts)
    work = _Sampling(
        committee=committee,
        starts=[bare_copy(atoms) for atoms in starts],
        plane=plane,
        temperature=temperature,
        duration=duration,
        equilibration=equilibration,
        timestep=timestep,
        friction=friction,
        every=every,
        n_bins=n_bins,
        seed=seed,
    )
    of = "" if batches is None else work.identity()
    parts = []
    for first in range(0, n_copies, n_at_once):
        copies = range(first, min(first + n_at_once, n_copies))
        title = f"dynamics, copies {copies[0] + 1} to {copies[-1] + 1} of {n_copies}"
        compute = partial(work.batch, of, copies, title, progress_bars)
        file = None if batches is None else batches / f"{copies[0]:04d}-{copies[-1]:04d}_{of[:12]}.json"
        parts.append(cached(file, compute, read=lambda known: read_record(known, MDBatch), write=write_record))
    words = f"committee, {n_copies} copies of {duration / 1000:g} ps in steps of {timestep:g} fs"
    return Visits(
        counts=np.concatenate([part.counts for part in parts]),
        n_failed=sum(part.n_failed for part in parts),
        method=words,
    )


@dataclass(frozen=True, kw_only=True)
class _Sampling:
    """Settings of the dynamics of all copies, see :func:`committee_visits`."""

    committee: Committee
    starts: Sequence[Atoms]
    plane: TorsionPlane
    temperature: float
    duration: float
    equilibration: float
    timestep: float
    friction: float
    every: int
    n_bins: int
    seed: int

    @property
    def criteria(self) -> tuple[BondsKept, CloserThan]:
        """Criteria for a copy to leave."""
        return BondsKept(self.starts[0]), CloserThan(0.5)

    def identity(self) -> str:
        """Digest of all that determines the result of a copy."""
        times = [self.temperature, self.friction, self.timestep, self.duration, self.equilibration, self.every]
        settings = {
            "starts": _digest(self.starts),
            "plane": [self.plane.names, self.plane.torsions],
            "langevin": times,
            "bins": self.n_bins,
            "seed": self.seed,
        }
        return identity(self.committee, self.starts[0], self.criteria, settings)

    def batch(self, of: str, copies: range, title: str, progress_bars: ProgressBars) -> MDBatch:
        """Simulate copies together."""
        result = simulate(
            self.committee,
            Structures.from_atoms([self.starts[copy % len(self.starts)] for copy in copies]),
            ensemble=Langevin(self.temperature, self.friction),
            timestep=self.timestep,
            n_steps=round(self.duration / self.timestep),
            every=self.every,
            seed=derive(self.seed, "free energy"),
            numbers=copies,
            criteria=self.criteria,
            keep_frames=True,
            progress=progress_bars(title),
        )
        assert result.positions is not None
        skipped = -(-round(self.equilibration / self.timestep) // self.every) + 1
        frames = result.positions[skipped:].cpu()
        angles = self.plane.angles(frames.reshape(len(frames), len(copies), -1, 3)).transpose(0, 1).numpy()
        n_failed = int((result.status != Status.FINISHED).sum())
        counts = visits(angles, n_bins=self.n_bins).counts
        return MDBatch(identity=of, first=copies[0], n_failed=n_failed, counts=counts)


def reference_visits(
    frames: Sequence[Atoms], plane: TorsionPlane, *, n_blocks: int = 20, n_bins: int = 24, method: str = ""
) -> Visits:
    """Histograms of one long trajectory, in blocks that are taken as independent.

    Args:
        frames: Frames in order of time.
        plane: Torsions.
        n_blocks: Number of blocks.
        n_bins: Number of bins along each side of the plane.
        method: Description of the dynamics.

    Raises:
        ValueError: If there are fewer frames than blocks.
    """
    return visits(in_blocks(plane.values(frames), n_blocks), n_bins=n_bins, method=method)


def dynamics_visits(
    labeller: "OpenMM",
    plane: TorsionPlane,
    start: Atoms,
    *,
    temperature: float = 300.0,
    duration: float = 2e6,
    every: float = 50.0,
    timestep: float = 2.0,
    friction: float = 0.001,
    equilibration: float = 10_000.0,
    n_blocks: int = 20,
    n_bins: int = 24,
    n_starts: int = 100,
    seed: int = 0,
    folder: Path | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> tuple[Visits, list[Atoms]]:
    """Histograms of dynamics by OpenMM on the surface of the labels, and structures from the whole trajectory.

    Args:
        labeller: Force field.
        plane: Torsions.
        start: Structure that the trajectory starts from.
        temperature: Temperature in K.
        duration: Length of the trajectory in fs.
        every: Time between frames in fs.
        timestep: Time step in fs.
        friction: Friction in 1/fs.
        equilibration: Time in fs before the trajectory.
        n_blocks: Number of blocks that are taken as independent.
        n_bins: Number of bins along each side of the plane.
        n_starts: Number of structures that are returned.
        seed: Random seed of velocities and noise.
        folder: Folder where the result is stored, and read if it is there.
        progress_bars: Progress bars.
    """
    from sparring.labels.openmm import langevin_snapshots

    settings = [plane.names, plane.torsions, n_blocks, n_bins, n_starts, seed, labeller.method, labeller.version]
    times = [temperature, duration, every, timestep, friction, equilibration]
    words = f"{labeller.method}, {duration / 1000:g} ps in steps of {timestep:g} fs"
    name = digest([_digest([start]), settings, times])[:12]

    def compute() -> tuple[Visits, list[Atoms]]:
        frames = langevin_snapshots(
            labeller,
            start,
            temperature=temperature,
            friction=friction,
            timestep=timestep,
            duration=duration,
            every=every,
            equilibration=equilibration,
            seed=derive(seed, "reference") % 2**31,
            progress=progress_bars("reference dynamics"),
        )
        seen = reference_visits(frames, plane, n_blocks=n_blocks, n_bins=n_bins, method=words)
        return seen, frames[:: max(1, len(frames) // n_starts)]

    record = None if folder is None else folder / f"free_energy_reference_{name}.json"
    return cached(record, compute, read=_read_reference, write=_write_reference)


def _write_reference(record: Path, result: tuple[Visits, list[Atoms]]) -> None:
    seen, starts = result
    keep_frames(record.with_suffix(".extxyz"), starts)
    write_record(record, seen)  # last, because its existence stands for both files


def _read_reference(record: Path) -> tuple[Visits, list[Atoms]]:
    return read_record(record, Visits), read_structures(record.with_suffix(".extxyz"))


def _digest(frames: Sequence[Atoms]) -> str:
    content = b"".join(np.round(atoms.positions, 6).tobytes() for atoms in frames)
    return hashlib.sha256(content).hexdigest()
