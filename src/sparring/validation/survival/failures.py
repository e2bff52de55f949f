"""Failures of copies: when, why, and which bond, angle or pair of atoms went."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii

from sparring.atoms.bonds import find_bonds
from sparring.atoms.internal_coordinates import InternalCoordinate, values
from sparring.atoms.rigid_parts import Shift
from sparring.evaluation import StructurePredictions
from sparring.validation.survival.spread import Moments

__all__ = ["Contact", "Departure", "Failure", "explained", "with_predictions"]


@dataclass(frozen=True, kw_only=True)
class Departure:
    """The bond or angle that is farthest from its value in the start, in units of its thermal spread.

    Attributes:
        kind: "bond" or "angle".
        name: Elements and indices of its atoms.
        atoms: Indices of its atoms.
        value: Value in the failing frame, in Å or degrees.
        start: Value in the start.
        spread: Standard deviation over all copies at the temperature, see :class:`Moments`.
    """

    kind: str
    name: str
    atoms: tuple[int, ...]
    value: float
    start: float
    spread: float

    @property
    def deviation(self) -> float:
        """Change since the start in units of the spread."""
        return (self.value - self.start) / self.spread

    def __str__(self) -> str:
        """Description for tables."""
        unit, form = (" Å", ".2f") if self.kind == "bond" else ("°", ".0f")
        return f"{self.kind} {self.name} {self.value:{form}}{unit} (start {self.start:{form}}{unit})"


@dataclass(frozen=True, kw_only=True)
class Contact:
    """Two atoms that are as close as bonded ones and are not bonded in the start, the closest of such pairs.

    Attributes:
        name: Elements and indices of the atoms.
        atoms: Indices of the atoms.
        distance: Distance in Å, to the nearest image.
    """

    name: str
    atoms: tuple[int, int]
    distance: float

    def __str__(self) -> str:
        """Description for tables."""
        return f"{self.name} {self.distance:.2f} Å"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Failure of a copy.

    Attributes:
        copy: Number of the copy, from 0.
        time: Time in fs.
        reason: Text of the criterion.
        departure: Bond or angle that went farthest; None if there is none.
        contact: Closest pair of atoms among those that are as close as bonded ones and were not bonded; None if there
            is none.
        energy: Mean energy of the committee in the failing frame, above that of the start, in eV.
        energy_sigma: Uncertainty of the energy there, in eV.
        force_sigma: Uncertainty of a component of the forces there, in eV/Å.
        force_expected: Expected error of the forces there, in eV/Å; None where the committee has none.
        energy_error: Mean energy less that of the label, in eV; NaN without a label.
        force_error: Root mean square error of the components of the forces, in eV/Å; NaN without a label.
        refused: Reason why there is no label, where one was wanted.
    """

    copy: int
    time: float
    reason: str
    departure: Departure | None = None
    contact: Contact | None = None
    energy: float = math.nan
    energy_sigma: float = math.nan
    force_sigma: float = math.nan
    force_expected: float | None = None
    energy_error: float = math.nan
    force_error: float = math.nan
    refused: str = ""


def with_predictions(failures: Sequence[Failure], predicted: StructurePredictions) -> list[Failure]:
    """Failures with the energy, the uncertainties and the expected error of the committee there.

    Args:
        failures: Failures.
        predicted: Predictions for their frames, and for the start at the end.
    """
    with np.errstate(invalid="ignore"):
        of_energy, of_forces = np.sqrt(predicted.energy_variance), np.sqrt(predicted.force_variance)
        above = predicted.energy - predicted.energy[-1]
    law = predicted.expected
    expected = [None] * len(above) if law is None else law.forces(of_forces).tolist()
    columns = zip(failures, above[:-1], of_energy[:-1], of_forces[:-1], expected[:-1], strict=True)
    return [
        replace(failure, energy=float(e), energy_sigma=float(s), force_sigma=float(f), force_expected=x)
        for failure, e, s, f, x in columns
    ]


def explained(
    failures: Sequence[Failure],
    frames: Sequence[Atoms],
    start: Atoms,
    coordinates: Sequence[InternalCoordinate],
    moments: Moments,
) -> list[Failure]:
    """Failures with the bond or angle that went farthest, and the contact of atoms that were not bonded.

    Args:
        failures: Failures.
        frames: Geometries at the failures, not wrapped into the cell.
        start: Start of all copies.
        coordinates: Bonds and angles of the start.
        moments: Means and spreads of these over the copies.
    """
    if not failures:
        return []
    bonded = {(one.atoms[0], one.atoms[1], one.shifts[1]) for one in coordinates if one.kind == "bond"}
    contacts = [_contact(atoms, bonded) for atoms in frames]
    if not coordinates:
        return [replace(failure, contact=contact) for failure, contact in zip(failures, contacts, strict=True)]
    before = values(torch.as_tensor(start.positions), coordinates, torch.as_tensor(start.cell.array)).numpy()
    positions, cells = (np.stack([getattr(atoms, name) for atoms in frames]) for name in ("positions", "cell"))
    now = values(torch.as_tensor(positions), coordinates, torch.as_tensor(cells)).numpy()
    spread = moments.spread([one.kind for one in coordinates])
    worst = np.abs((now - before) / spread).argmax(axis=1)
    found = []
    for failure, contact, row, which in zip(failures, contacts, now, worst.tolist(), strict=True):
        one = coordinates[which]
        unit = 1.0 if one.kind == "bond" else math.degrees(1)
        departure = Departure(
            kind=one.kind,
            name=one.name,
            atoms=one.atoms,
            value=unit * float(row[which]),
            start=unit * float(before[which]),
            spread=unit * float(spread[which]),
        )
        found.append(replace(failure, departure=departure, contact=contact))
    return found


def _contact(atoms: Atoms, bonded: Set[tuple[int, int, Shift]]) -> Contact | None:
    """The closest pair, by covalent radii, of those that are as close as bonded atoms and are not bonded in the start.

    Args:
        atoms: Geometry, not wrapped into the cell, so that bonds keep their images.
        bonded: Bonds of the start: two atoms and the image of the second.
    """
    radii = covalent_radii[atoms.numbers]
    new = [bond for bond in find_bonds(atoms) if bond[:3] not in bonded]
    if not new:
        return None
    first, second, _, distance = min(new, key=lambda bond: bond.length / (radii[bond.first] + radii[bond.second]))
    name = "-".join(f"{atoms.symbols[atom]}{atom}" for atom in (first, second))
    return Contact(name=name, atoms=(first, second), distance=distance)
