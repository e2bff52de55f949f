"""Criteria that end trajectories of one's own molecule, from their sections of the configuration."""

import math
from collections.abc import Callable

from ase import Atoms

from sparring.dynamics import BondsKept, CloserThan, Criterion, DistanceWindow, EnergyBelow
from sparring.systems.own.section import Bonds, ClosestDistance, Distance, LowestEnergy

__all__ = ["criteria", "window"]


def window(section: Distance) -> DistanceWindow:
    """The window of a distance.

    Raises:
        ValueError: If it is empty, or there is no such element.
    """
    first, second = section.between
    high = math.inf if section.high is None else section.high
    if isinstance(first, str) and isinstance(second, str):
        return DistanceWindow(first, second, low=section.low, high=high)
    return DistanceWindow((int(first),), (int(second),), low=section.low, high=high)


def criteria(
    sections: tuple[Distance | Bonds | ClosestDistance | LowestEnergy, ...],
    minimum_energy: Callable[[], float],
    start: Atoms,
) -> tuple[Criterion, ...]:
    """The criteria of sections.

    Args:
        sections: Sections, in the order in which they are checked.
        minimum_energy: Function that computes the energy of the committee's minimum, in eV.
        start: Structure that copies start from.
    """
    found: list[Criterion] = []
    for section in sections:
        if isinstance(section, Distance):
            found.append(window(section))
        elif isinstance(section, Bonds):
            found.append(BondsKept(start, (section.low, section.high)))
        elif isinstance(section, ClosestDistance):
            found.append(CloserThan(section.distance))
        else:
            found.append(EnergyBelow(minimum_energy() - section.margin))
    return tuple(found)
