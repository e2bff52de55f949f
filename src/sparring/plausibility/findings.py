"""Findings about labels of a file, as data, and the units that labels may be in."""

import math
from typing import Literal, NamedTuple

from sparring.units import quantity

__all__ = ["ENERGY_UNITS", "FORCE_UNITS", "STRESS_UNITS", "Finding", "nearest_unit"]


class Finding(NamedTuple):
    """Something that people should know before anything is computed.

    Attributes:
        severity: ``stop`` for what would put wrong numbers into the data, ``warn`` for what may be meant.
        text: One line: what was found, and what to do.
        about: ``stress`` for stresses that are wrong by themselves, ``consistency`` for energies and forces that
            contradict each other, ``labels`` for all else.
    """

    severity: Literal["stop", "warn"]
    text: str
    about: Literal["labels", "stress", "consistency"] = "labels"


ENERGY_UNITS = {
    name: quantity(f"1 {name}", "energy") for name in ("eV", "Hartree", "kcal/mol", "kJ/mol", "Ry", "meV", "mHa")
}
"""Units that energies are found in, in eV; the most common first."""
FORCE_UNITS = {
    f"{energy}/{length}": quantity(f"1 {energy}/{length}", "force")
    for length in ("Å", "Bohr", "nm")
    for energy in ENERGY_UNITS
}
"""Units that forces are found in, in eV/Å."""
STRESS_UNITS = {
    name: quantity(f"1 {name}", "pressure")
    for name in (
        *("eV/Å³", "GPa", "kbar", "bar", "MPa", "Hartree/Bohr³", "Ry/Bohr³"),
        *("meV/Å³", "kcal/mol/Å³", "kJ/mol/Å³", "Hartree/Å³", "Ry/Å³"),
    )
}
"""Units that stresses are found in, in eV/Å³; the last are those of virials in such energies."""


def nearest_unit(factor: float, units: dict[str, float], within: float) -> str | None:
    """The unit of which one is nearest to ``factor`` internal ones, or None if none is near enough.

    >>> nearest_unit(27.3, ENERGY_UNITS, within=0.05)
    'Hartree'

    Args:
        factor: Positive number.
        units: Size of each unit.
        within: Largest deviation of the logarithm.
    """
    name = min(units, key=lambda unit: abs(math.log(factor / units[unit])))
    return name if abs(math.log(factor / units[name])) <= within else None
