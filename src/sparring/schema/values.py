"""The types of values in a configuration: quantities with units, counts, rates and weights."""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sparring.units import quantity

LONGEST_NAME, MOST_ATOMS = 255, 1_000_000
"""Bytes of the name of a file, and the largest index of an atom."""


@dataclass(frozen=True)
class Quantity:
    """Marks a number of a given dimension: read with its unit, written with the internal one.

    Attributes:
        dimension: Dimension, as :func:`sparring.units.quantity` names it.
        unit: Internal unit.
        most: Largest value that makes sense, in the internal unit.
        zero: Flag to allow zero.
    """

    dimension: str
    unit: str
    most: float
    zero: bool = False

    def read(self, value: object) -> float:
        """The value in the internal unit; a bare number already is.

        Raises:
            ValueError: If the unit is unknown or of another dimension, the value is no quantity at all, not positive,
                or absurdly large.
        """
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"wanted a quantity of {self.dimension} such as '1.0 {self.unit}', got {shown(value)}")
        number = quantity(value, self.dimension)
        given = value if isinstance(value, str) else shown(value)
        if number < 0 or (number == 0 and not self.zero):
            raise ValueError(f"must be {'at least' if self.zero else 'greater than'} 0, got {given:.80}")
        if number > self.most:
            raise ValueError(f"must be at most {bound(self.most)} {self.unit}, got {given:.80}")
        return number

    def write(self, value: float) -> str:
        """Every digit is kept, so that what is written reads back as the same number."""
        return f"{value!r} {self.unit}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        return core_schema.no_info_before_validator_function(self.read, handler(source), serialization=written)


def shown(value: object) -> str:
    """A value approximately as in YAML.

    >>> shown(None), shown(True), shown("5 Å")
    ('nothing', 'true', "'5 Å'")
    """
    return {"None": "nothing", "True": "true", "False": "false"}.get(repr(value), f"{value!r:.80}")


def bound(limit: int | float) -> str:
    """A bound as text.

    >>> bound(1000000), bound(0.5), bound(1e23)
    ('1,000,000', '0.5', '1e+23')
    """
    return f"{int(limit):,}" if limit == int(limit) and abs(limit) < 1e12 else f"{limit:g}"


def _number(value: object) -> object:
    # Python reads 1_000 and the digits of other scripts as numbers; people who see them in a file do not.
    if isinstance(value, bool) or (isinstance(value, str) and ("_" in value or not value.isascii())):
        raise ValueError(f"wanted a number, got {shown(value)}")
    return value


def _device(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"cpu|mps|cuda(:[0-9]+)?", value):
        raise ValueError(f"wanted cpu, cuda, cuda:1 (and so on) or mps, got {shown(value)}")
    return value


@dataclass(frozen=True)
class UnitOf:
    """Marks the name of a unit of a given dimension."""

    dimension: str

    def read(self, value: object) -> object:
        """The name as it stands.

        Raises:
            ValueError: If there is no such unit, or it is one of another dimension.
        """
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"wanted the name of a unit of {self.dimension}, got {shown(value)}")
        quantity(f"1 {value}", self.dimension)
        return value.strip()

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.read, handler(source))


def _in_order(temperatures: tuple[float, float]) -> tuple[float, float]:
    low, high = temperatures
    if low > high:
        raise ValueError(f"wanted the lower temperature first, got [{low:g} K, {high:g} K]")
    return temperatures


def _whole(fractions: tuple[float, float, float]) -> tuple[float, float, float]:
    if abs(sum(fractions) - 1) > 1e-6:
        given = ", ".join(f"{fraction:g}" for fraction in fractions)
        raise ValueError(f"training, validation and test must add up to 1, got [{given}] = {sum(fractions):g}")
    return fractions


def _norm(norm: float) -> float:
    if not norm >= 1:
        raise ValueError(f"wanted a p of at least 1, or inf, got {norm:g}")
    if 100 < norm < math.inf:
        raise ValueError(f"wanted a p of at most 100, or inf, got {norm:g}")
    return norm


def _each_once(temperatures: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(temperatures)) < len(temperatures):
        raise ValueError(f"wanted each temperature once, got {', '.join(f'{one:g} K' for one in temperatures)}")
    return temperatures


def _file_name(name: object) -> object:
    if isinstance(name, str) and not name.strip():
        raise ValueError("wanted the name of a file or folder, got an empty text")
    if isinstance(name, str | Path) and not is_file_name(name):
        most = f"at most {LONGEST_NAME} bytes for each part"
        raise ValueError(f"no file can have this name: wanted {most}, and no NUL; got {shown(str(name))}")
    return name


def is_file_name(name: str | Path) -> bool:
    """True if a file can have the name, whether there is one or not."""
    parts = str(name).split("/")
    return len(str(name)) < 4096 and "\0" not in str(name) and all(len(os.fsencode(p)) <= LONGEST_NAME for p in parts)


def _one_or_more(temperatures: object) -> object:
    return (temperatures,) if isinstance(temperatures, str | int | float) else temperatures


def _list(names: object) -> object:
    return (names,) if isinstance(names, str) else names


def as_atoms(atoms: object) -> object:
    """Indices of atoms as a tuple.

    Raises:
        ValueError: If they are none, or not all are indices.
    """
    if not isinstance(atoms, list | tuple) or not atoms or not all(map(_is_index, atoms)):
        raise ValueError(f"wanted some atoms, counted from 0, such as [0, 3], got {shown(atoms)}")
    if len(set(atoms)) < len(atoms):
        raise ValueError(f"wanted each atom once, got {shown(atoms)}")
    return tuple(atoms)


def _torsions(torsions: object) -> object:
    wanted = "wanted a list of torsions, such as [phi, psi] or [[4, 6, 8, 14]]"
    if not isinstance(torsions, list | tuple) or not torsions:
        raise ValueError(f"{wanted}, got {shown(torsions)}")
    for one in torsions:
        four = isinstance(one, list | tuple) and len(set(map(str, one))) == 4 == len(one) and all(map(_is_index, one))
        if not four and not (isinstance(one, str) and one):
            raise ValueError(f"{wanted}; each is a name, a SMARTS or four different atoms, got {shown(one)}")
    return tuple(one if isinstance(one, str) else tuple(one) for one in torsions)


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_ATOMS


Energy = Annotated[float, Quantity("energy", "eV", most=1e6)]
EnergyOrZero = Annotated[float, Quantity("energy", "eV", most=1e6, zero=True)]
Force = Annotated[float, Quantity("force", "eV/Å", most=1e6)]
Length = Annotated[float, Quantity("length", "Å", most=1e4)]
LengthOrZero = Annotated[float, Quantity("length", "Å", most=1e4, zero=True)]
Temperature = Annotated[float, Quantity("temperature", "K", most=1e6)]
PRESSURE = Quantity("pressure", "eV/Å^3", most=100.0, zero=True)
PressureOrZero = Annotated[float, PRESSURE]
Time = Annotated[float, Quantity("time", "fs", most=1e23)]
TimeOrZero = Annotated[float, Quantity("time", "fs", most=1e23, zero=True)]
Rate = Annotated[float, Quantity("rate", "1/fs", most=1e3)]
Angle = Annotated[float, Quantity("angle", "rad", most=1e3)]
AngleOrZero = Annotated[float, Quantity("angle", "rad", most=1e3, zero=True)]
EnergyUnit = Annotated[str, UnitOf("energy")]
ForceUnit = Annotated[str, UnitOf("force")]
PressureUnit = Annotated[str, UnitOf("pressure")]
Memory = Annotated[float, Quantity("memory", "B", most=1e18)]
Count = Annotated[int, Field(gt=0, le=1_000_000), BeforeValidator(_number)]
Integer = Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(_number)]
Number = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False), BeforeValidator(_number)]
Weight = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), BeforeValidator(_number)]
Temperatures = Annotated[
    tuple[Temperature, ...],
    BeforeValidator(_one_or_more),
    AfterValidator(_each_once),
    Field(min_length=1, max_length=100),
]
TemperatureRange = Annotated[tuple[Temperature, Temperature], AfterValidator(_in_order)]
Fractions = Annotated[tuple[Number, Number, Number], AfterValidator(_whole)]
Atoms = Annotated[tuple[int, ...], BeforeValidator(as_atoms)]
Torsions = Annotated[tuple[Any, ...], BeforeValidator(_torsions), Field(max_length=1000)]
Norm = Annotated[float, BeforeValidator(_number), AfterValidator(_norm)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list), Field(min_length=1, max_length=100)]
File = Annotated[Path, BeforeValidator(_file_name)]
Device = Annotated[str, BeforeValidator(_device)]
