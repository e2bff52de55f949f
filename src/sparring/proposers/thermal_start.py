"""Thermal displacements of the seeds of attacks: bonds and angles at the spread that they have at a temperature.

Attacks on torsions keep the bonds and angles of their seeds. Where all seeds are one minimum, the committee would never
see others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from ase import Atoms
from torch import Tensor

from sparring.atoms.reference import FORCES
from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.dynamics import CloserThan, Langevin, simulate
from sparring.dynamics.ensembles import FRICTION
from sparring.evaluation import predict_structures
from sparring.proposers.base import Proposer
from sparring.proposers.dynamics import along, check_axes
from sparring.starting_data.normal_modes import hessian, normal_modes
from sparring.starting_data.sampling import normal_mode_displacements
from sparring.support.seeds import derive

__all__ = ["DynamicsStart", "NormalModeStart", "ThermalStart", "started"]


@runtime_checkable
class ThermalStart(Protocol):
    """Displaces seeds at a temperature. A plain function will do."""

    def __call__(self, committee: Committee, seeds: Structures, seed: int) -> Structures:
        """The displaced seeds, one for each, in their order.

        Args:
            committee: Committee whose mean energies count.
            seeds: Geometries to displace.
            seed: Seed of the random numbers.
        """


@dataclass(frozen=True, kw_only=True)
class NormalModeStart:
    """Displacements from the classical harmonic ensemble about each seed, by Hessians of the committee.

    For seeds that are minima or near one. Modes softer than 50 cm⁻¹ and imaginary ones stay as they are
    (:func:`sparring.starting_data.sampling.normal_mode_displacements`). Equal seeds share a Hessian.

    Attributes:
        temperature: Temperature in K.
    """

    temperature: float

    def __call__(self, committee: Committee, seeds: Structures, seed: int) -> Structures:
        """The displaced seeds.

        Raises:
            ValueError: If a seed has no vibration.
        """
        frames, alike = seeds.to_atoms(), dict[tuple[bytes, int], list[int]]()
        charges = [0] * len(frames) if seeds.charge is None else seeds.charge.tolist()
        for index, (atoms, charge) in enumerate(zip(frames, charges, strict=True)):
            atoms.info["charge"] = charge  # potentials may depend on it
            content = atoms.numbers.tobytes() + atoms.positions.tobytes() + atoms.cell.array.tobytes()
            alike.setdefault((content, charge), []).append(index)
        positions: list[Tensor] = [torch.empty(0)] * len(frames)
        for indices in alike.values():
            atoms = frames[indices[0]]
            modes = normal_modes(atoms, hessian(atoms, lambda some: _with_forces(committee, some)))
            drawn = normal_mode_displacements(
                atoms,
                modes,
                len(indices),
                temperatures=(self.temperature, self.temperature),
                seed=derive(seed, "start", indices[0]),
            )
            for index, displaced in zip(indices, drawn, strict=True):
                positions[index] = torch.as_tensor(displaced.positions)
        return replace(seeds, edges=None).with_free_positions(torch.cat(positions).to(seeds.positions))


@dataclass(frozen=True, kw_only=True)
class DynamicsStart:
    """The ends of short dynamics of the committee, for seeds of any kind. One that fails ends before its failure.

    Attributes:
        temperature: Temperature in K.
        duration: Duration in fs.
        timestep: Time step in fs.
        min_distance: Distance of two atoms in Å below which dynamics ends.
        axes: Axes along which atoms move, for particles in a potential that does not depend on the others.
        max_memory: Bytes to take at a time; None for no limit.
    """

    temperature: float
    duration: float = 200.0
    timestep: float = 0.5
    min_distance: float = 0.5
    axes: str = "xyz"
    max_memory: float | None = 4e9

    def __call__(self, committee: Committee, seeds: Structures, seed: int) -> Structures:
        """The displaced seeds.

        Raises:
            ValueError: If the axes are not some of x, y and z.
        """
        check_axes(self.axes)
        moved = simulate(
            committee,
            seeds,
            ensemble=Langevin(self.temperature, FRICTION),
            timestep=self.timestep,
            n_steps=round(self.duration / self.timestep),
            every=max(1, round(self.duration / self.timestep)),
            seed=derive(seed, "start"),
            criteria=[CloserThan(self.min_distance)] if self.min_distance else [],
            fixed_centre=bool((seeds.counts > 1).all()),
            max_memory=self.max_memory,
        )
        ends = moved.structures.positions.to(seeds.positions)
        positions = along(self.axes, seeds.positions, ends.unsqueeze(0))[0]
        return replace(seeds, edges=None).with_free_positions(positions.to(seeds.positions))


def started(proposer: Proposer, start: ThermalStart) -> Proposer:
    """A proposer that begins at seeds that are displaced at a temperature."""

    def propose(committee: Committee, seeds: Structures, seed: int) -> Candidates:
        return proposer(committee, start(committee, seeds, seed), seed)

    return propose


def _with_forces(committee: Committee, frames: Sequence[Atoms]) -> list[Atoms]:
    """The structures with the mean forces of the committee, as of a labeller."""
    forces = predict_structures(committee.without_domain(), Structures.from_atoms(frames)).forces
    labelled = [atoms.copy() for atoms in frames]
    for atoms, of_atoms in zip(labelled, forces, strict=True):
        atoms.arrays[FORCES] = of_atoms
    return labelled
