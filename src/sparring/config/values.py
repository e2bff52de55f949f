"""The types of values in a configuration: quantities with units, counts, rates and weights."""

import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from sparring.units import quantity


@dataclass(frozen=True)
class Quantity:
    """Marks a number of a given dimension: read with its unit, written with the internal one."""

    dimension: str
    unit: str

    def read(self, value: object) -> float:
        """The value in the internal unit; a bare number already is.

        Raises:
            ValueError: If the unit is unknown or of another dimension, or the value is no quantity at all.
        """
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"wanted a quantity of {self.dimension} such as '1.0 {self.unit}', got {shown(value)}")
        return quantity(value, self.dimension)

    def write(self, value: float) -> str:
        """Every digit is kept, so that what is written reads back as the same number."""
        return f"{value!r} {self.unit}"

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        written = core_schema.plain_serializer_function_ser_schema(self.write, when_used="json")
        return core_schema.no_info_before_validator_function(self.read, handler(source), serialization=written)


def shown(value: object) -> str:
    """A value as it stands in YAML, near enough.

    >>> shown(None), shown(True), shown("5 Å")
    ('nothing', 'true', "'5 Å'")
    """
    return {"None": "nothing", "True": "true", "False": "false"}.get(repr(value), f"{value!r:.80}")


def _number(value: object) -> object:
    if isinstance(value, bool):
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
    return norm


def _list(names: object) -> object:
    return (names,) if isinstance(names, str) else names


def _atoms(atoms: object) -> object:
    if not isinstance(atoms, list | tuple) or not atoms or not all(map(_is_index, atoms)):
        raise ValueError(f"wanted some atoms, counted from 0, such as [0, 3], got {shown(atoms)}")
    return tuple(atoms)


def _torsions(torsions: object) -> object:
    wanted = "wanted a list of torsions, such as [phi, psi] or [[4, 6, 8, 14]]"
    if not isinstance(torsions, list | tuple) or not torsions:
        raise ValueError(f"{wanted}, got {shown(torsions)}")
    for one in torsions:
        four = isinstance(one, list | tuple) and len(one) == 4 and all(map(_is_index, one))
        if not four and not (isinstance(one, str) and one):
            raise ValueError(f"{wanted}; each is a name, a SMARTS or four atoms, got {shown(one)}")
    return tuple(one if isinstance(one, str) else tuple(one) for one in torsions)


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_positive = Field(gt=0, allow_inf_nan=False)

Energy = Annotated[float, _positive, Quantity("energy", "eV")]
Force = Annotated[float, _positive, Quantity("force", "eV/Å")]
Length = Annotated[float, _positive, Quantity("length", "Å")]
LengthOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False), Quantity("length", "Å")]
Temperature = Annotated[float, _positive, Quantity("temperature", "K")]
Time = Annotated[float, _positive, Quantity("time", "fs")]
TimeOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False), Quantity("time", "fs")]
Rate = Annotated[float, _positive, Quantity("rate", "1/fs")]
Angle = Annotated[float, _positive, Quantity("angle", "rad")]
AngleOrZero = Annotated[float, Field(ge=0, allow_inf_nan=False), Quantity("angle", "rad")]
EnergyUnit = Annotated[str, UnitOf("energy")]
ForceUnit = Annotated[str, UnitOf("force")]
Memory = Annotated[float, _positive, Quantity("memory", "B")]
Count = Annotated[int, Field(gt=0), BeforeValidator(_number)]
Integer = Annotated[int, BeforeValidator(_number)]
Number = Annotated[float, _positive, BeforeValidator(_number)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False), BeforeValidator(_number)]
TemperatureRange = Annotated[tuple[Temperature, Temperature], AfterValidator(_in_order)]
Fractions = Annotated[tuple[Number, Number, Number], AfterValidator(_whole)]
Atoms = Annotated[tuple[int, ...], BeforeValidator(_atoms)]
Torsions = Annotated[tuple[Any, ...], BeforeValidator(_torsions)]
Norm = Annotated[float, BeforeValidator(_number), AfterValidator(_norm)]
Names = Annotated[tuple[str, ...], BeforeValidator(_list), Field(min_length=1)]
Device = Annotated[str, BeforeValidator(_device)]
