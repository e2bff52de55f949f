"""Arguments of `sparring validate survival`: temperatures, copies and time, criteria."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ase import Atoms

from sparring.atoms.bonds import find_bonds
from sparring.committee import Committee
from sparring.dynamics import BondsKept, CloserThan, Criterion, DistanceWindow, EnergyBelow
from sparring.runs.generation import DATASET as DATA
from sparring.units import quantity
from sparring.validation.run_system import system_of
from sparring.validation.survival.compute import own_minimum

__all__ = ["FAR_BELOW", "Extent", "criteria_of", "criteria_of_run", "default_criteria", "extent_of"]

FAR_BELOW = 0.5
"""Energy in eV below the committee's own minimum from which on a copy of one's own molecule has failed: far more than
another conformer can bring, and less than what a hole has."""


class Extent(NamedTuple):
    """Extent of a simulation.

    Attributes:
        temperatures: Temperatures in K.
        n_copies: Number of copies at each temperature.
        duration: Length of a trajectory in fs.
    """

    temperatures: tuple[float, ...]
    n_copies: int
    duration: float


DEFAULT = Extent(temperatures=(300.0,), n_copies=20, duration=30_000.0)
PAPER = Extent(temperatures=(500.0, 600.0, 700.0, 800.0, 900.0, 1000.0), n_copies=100, duration=5000.0)
"""Sec. V.B of the paper, whose fractions of stable trajectories a report shows beside those of a run."""


def extent_of(folder: Path, temperatures: Sequence[str] | None, n_copies: int | None, duration: str | None) -> Extent:
    """Temperatures, copies and length from the arguments; defaults are the paper's for systems of which it has numbers.

    Args:
        folder: Folder of the committee.
        temperatures: Temperatures; a text may hold several, separated by commas.
        n_copies: Number of copies at each temperature.
        duration: Length of a trajectory.
    """
    system = system_of(folder)
    published = system is not None and any(one.quantity == "stable" for one in system.published)
    default = PAPER if published else DEFAULT
    texts = [one for several in temperatures or () for one in several.split(",")]
    return Extent(
        tuple(quantity(one, "temperature") for one in texts) or default.temperatures,
        default.n_copies if n_copies is None else n_copies,
        default.duration if duration is None else quantity(duration, "time"),
    )


def criteria_of(
    committee: Committee,
    folder: Path,
    start: Atoms,
    *,
    min_distance: str | None,
    bonds: str | None,
    windows: Sequence[str],
    energy_below: str | None,
) -> tuple[Criterion, ...]:
    """Criteria from the arguments; by default those of the system of the run, else those of :func:`default_criteria`.

    Raises:
        ValueError: If one of them cannot be read.
    """
    chosen: list[Criterion] = [_window(text) for text in windows]
    if bonds is not None:
        chosen.append(BondsKept(start, _factors(bonds)))
    if min_distance is not None:
        chosen.append(CloserThan(quantity(min_distance, "length")))
    if energy_below is not None:
        chosen.append(EnergyBelow(own_minimum(committee, start) - quantity(energy_below, "energy")))
    if chosen:
        return tuple(chosen)
    found = criteria_of_run(committee, folder, [start])
    return default_criteria(committee, start) if found is None else found


def default_criteria(committee: Committee, start: Atoms) -> tuple[Criterion, ...]:
    """Criteria for any molecule: its bonds, atoms closer than 0.5 Å, an energy 0.5 eV below the committee's minimum."""
    bonds = (BondsKept(start),) if find_bonds(start) else ()
    return (*bonds, CloserThan(0.5), EnergyBelow(own_minimum(committee, start) - FAR_BELOW))


def criteria_of_run(committee: Committee, folder: Path, starts: Sequence[Atoms]) -> tuple[Criterion, ...] | None:
    """The criteria of the system of the run that a generation belongs to; None where it has none for these starts.

    Args:
        committee: Committee of the generation.
        folder: Folder of the generation.
        starts: Structures that copies start from; criteria are those of one molecule.
    """
    system = system_of(folder) if (folder / DATA).exists() else None
    one_molecule = len({tuple(atoms.numbers.tolist()) for atoms in starts}) == 1
    if system is None or system.unphysical is None or not one_molecule:
        return None
    return system.unphysical(lambda: own_minimum(committee, starts[0]), starts[0])


def _window(text: str) -> DistanceWindow:
    """`H,H,0.80,2.55`, or with indices of atoms `0,1,0.9,1.3`."""
    words = [word.strip() for word in text.split(",")]
    if len(words) != 4 or words[0].isdecimal() != words[1].isdecimal():
        raise ValueError(
            f"a window is two elements or two indices of atoms, and the shortest and longest distance, e.g. "
            f"'H,H,0.80 Å,2.55 Å' or '0,1,0.9 Å,inf'; got {text!r}"
        )
    first, second, *bounds = words
    low, high = (math.inf if bound == "inf" else quantity(bound, "length") for bound in bounds)
    if first.isdecimal():
        return DistanceWindow((int(first),), (int(second),), low=low, high=high)
    return DistanceWindow(first, second, low=low, high=high)


def _factors(text: str) -> tuple[float, float]:
    """`0.6,1.6`."""
    try:
        low, high = (float(word) for word in text.split(","))
    except ValueError:
        raise ValueError(
            f"--bonds takes the shortest and longest length of a bond, relative to its length in the start, e.g. "
            f"'0.6,1.6'; got {text!r}"
        ) from None
    return low, high
