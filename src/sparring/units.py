"""The only conversion factors of the package, and the reader of quantities such as "20 kcal/mol".

Inside, the units are always eV, Å, fs, K, eV/Å, eV/Å³, 1/fs, rad and bytes. Factors follow the exact SI constants of
2019 and CODATA 2018 (doi:10.1103/RevModPhys.93.025010).
"""

import math
import re
import unicodedata
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from sparring.support.suggestions import did_you_mean

_ELEMENTARY_CHARGE = 1.602176634e-19  # C, exact
_AVOGADRO = 6.02214076e23  # 1/mol, exact
_BOLTZMANN = 1.380649e-23 / _ELEMENTARY_CHARGE  # eV/K, exact

KJ_PER_MOL = 1000 / (_AVOGADRO * _ELEMENTARY_CHARGE)
"""One kJ/mol in eV."""
KCAL_PER_MOL = 4.184 * KJ_PER_MOL
"""One (thermochemical) kcal/mol in eV."""
HARTREE = 27.211386245988
"""One Hartree in eV."""
BOHR = 0.529177210903
"""One Bohr radius in Å."""
AMU = 1.66053906660e-27 * 1e10 / _ELEMENTARY_CHARGE  # 1 (Å/fs)² = 1e10 (m/s)²
"""One atomic mass unit in eV fs²/Å²."""
GPA = 1e9 * 1e-30 / _ELEMENTARY_CHARGE
"""One GPa in eV/Å³."""
THZ = 6.62607015e-34 * 1e12 / _ELEMENTARY_CHARGE
"""Energy of a quantum of one THz in eV."""


@dataclass(frozen=True, kw_only=True)
class EnergyUnit:
    """The unit in which people are shown energies.

    Attributes:
        name: Name of the unit.
        size: Size of one unit in eV.
        decimals: Number of decimals in tables.
    """

    name: str
    size: float
    decimals: int

    def show(self, energy: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
        """The energies, given in eV, in this unit."""
        return energy / self.size


KCAL = EnergyUnit(name="kcal/mol", size=KCAL_PER_MOL, decimals=2)
EV = EnergyUnit(name="eV", size=1.0, decimals=3)

_ENERGY = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "Ha": HARTREE,
    "Hartree": HARTREE,
    "hartree": HARTREE,
    "mHa": 1e-3 * HARTREE,
    "Ry": HARTREE / 2,
}
_TIME = {"fs": 1.0, "ps": 1e3, "ns": 1e6}
_LENGTH = {
    "Å": 1.0,
    "A": 1.0,
    "Angstrom": 1.0,
    "angstrom": 1.0,
    "nm": 10.0,
    "pm": 0.01,
    "Bohr": BOHR,
    "bohr": BOHR,
}
_PRESSURE = {
    **{  # Å³ is read as Å3, as all raised digits are
        f"{energy}/{length}{power}": _ENERGY[energy] / _LENGTH[length] ** 3
        for energy in _ENERGY
        for length in _LENGTH
        for power in ("3", "^3")
    },
    "GPa": GPA,
    "MPa": 1e-3 * GPA,
    "Pa": 1e-9 * GPA,
    "kbar": 0.1 * GPA,
    "bar": 1e-4 * GPA,
    "atm": 1.01325e-4 * GPA,
}
_UNITS: dict[str, dict[str, float]] = {
    "energy": _ENERGY,
    "temperature": {"K": 1.0},
    "time": _TIME,
    "rate": {f"{one}/{time}": 1 / fs for time, fs in _TIME.items() for one in ("1", "")},
    "length": _LENGTH,
    "force": {f"{energy}/{length}": _ENERGY[energy] / _LENGTH[length] for energy in _ENERGY for length in _LENGTH},
    "pressure": _PRESSURE,
    "angle": {"rad": 1.0, "deg": math.pi / 180, "°": math.pi / 180},
    "memory": {"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
}
_DIMENSION_OF = {unit: dimension for dimension, units in _UNITS.items() for unit in units}
_NUMBER_AND_UNIT = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![0-9_.,'])\s*(.*?)\s*")


def quantity(value: str | float | int, dimension: str | None = None) -> float:
    """Read a quantity and give its value in the internal unit.

    A bare number is taken as already in the internal unit of its dimension. Units are spelt as chemists spell them, and
    capitals count: "MeV" is no "meV".

    >>> quantity("0.5 fs"), quantity("25 kcal/mol/Å", "force").__round__(3), quantity(300.0, "temperature")
    (0.5, 1.084, 300.0)

    Args:
        value: A number with its unit, or a bare number.
        dimension: Expected dimension: energy (eV), temperature (K), time (fs), rate (1/fs), length (Å), force (eV/Å),
            pressure (eV/Å³), angle (rad) or memory (bytes). None takes any.

    Raises:
        ValueError: If the number cannot be read or is not finite, the unit is unknown, or it measures something else.
    """
    if dimension is not None and dimension not in _UNITS:
        raise ValueError(f"unknown dimension {dimension!r}; wanted one of {', '.join(_UNITS)}")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"wanted a number with a unit, such as '20 kcal/mol', got {value!r:.80}")
    match = _NUMBER_AND_UNIT.fullmatch(value if isinstance(value, str) else repr(value))
    if match is None:
        raise ValueError(f"wanted a finite number with a unit, such as '20 kcal/mol', got {value!r:.80}")
    number, unit = float(match[1]), _normalised(match[2])
    result = number * _factor(value, unit, dimension) if unit else number
    if not math.isfinite(result):
        raise ValueError(f"wanted a finite number, got {value!r:.80}")
    return result


def kT(temperature: float) -> float:
    """Thermal energy in eV at a temperature in K.

    Raises:
        ValueError: If the temperature is negative or not finite.
    """
    if not 0 <= temperature < math.inf:
        raise ValueError(f"a temperature is finite and not negative, got {temperature} K")
    return _BOLTZMANN * temperature


def _normalised(unit: str) -> str:
    # NFKC makes one of the three ways to write Å; blanks beside the stroke carry no meaning.
    return re.sub(r"\s*/\s*", "/", unicodedata.normalize("NFKC", unit))


def _factor(value: str | float | int, unit: str, dimension: str | None) -> float:
    found = _DIMENSION_OF.get(unit)
    if found is not None and dimension in (None, found):
        return _UNITS[found][unit]
    accepted = ", ".join(_accepted(dimension))
    wanted = f"units of {dimension}" if dimension else "known units"
    if found is not None:
        raise ValueError(f"{value!r:.80} measures {found}, wanted {dimension}; {wanted}: {accepted}")
    raise ValueError(f"unknown unit {unit!r:.80} in {value!r:.80}{_suggestion(unit, dimension)}; {wanted}: {accepted}")


def _accepted(dimension: str | None) -> list[str]:
    if dimension == "force":
        return ["eV/Å", "meV/Å", "kcal/mol/Å", "kJ/mol/Å", "Ha/Bohr", "and any other energy/length"]
    if dimension == "pressure":
        return ["eV/Å³", "GPa", "MPa", "kbar", "bar", "atm", "Ha/Bohr³", "and any other energy/length³"]
    if dimension is not None:
        return list(_UNITS[dimension])
    return [unit for name, units in _UNITS.items() if name not in ("force", "pressure") for unit in units] + [
        "energy/length",
        "GPa",
    ]


def _suggestion(unit: str, dimension: str | None) -> str:
    """Suggest the unit that was probably meant; capitals are compared last, as they are what is mistaken most."""
    names = _UNITS[dimension] if dimension else _DIMENSION_OF
    return did_you_mean(unit, reversed(list(names)))


def unit_of(atomic_numbers: Int[np.ndarray, " n_atoms"]) -> EnergyUnit:
    """Unit for a structure: kcal/mol, or eV for the particle of a toy well, which is the dummy element X."""
    return KCAL if (atomic_numbers > 0).any() else EV
