"""The section of a system of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from sparring.schema.base import Section
from sparring.schema.values import (
    Count,
    EnergyOrZero,
    EnergyUnit,
    File,
    ForceUnit,
    Integer,
    Length,
    LengthOrZero,
    Number,
    PressureUnit,
    TemperatureRange,
    Torsions,
    shown,
)
from sparring.systems.section import Langevin, SystemSection

if TYPE_CHECKING:
    from sparring.systems.base import System

__all__ = ["Bonds", "ClosestDistance", "Displacements", "Distance", "GridFile", "LowestEnergy", "NormalModes", "Own"]


def _pair(value: object) -> object:
    pair = list(value) if isinstance(value, list | tuple) else []
    elements = all(isinstance(one, str) for one in pair)
    atoms = all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in pair)
    if len(pair) != 2 or not (elements or atoms):
        raise ValueError(
            f"wanted two elements such as [H, H], or two atoms counted from 0 such as [0, 4], got {shown(value)}"
        )
    return value


Index = Annotated[int, Field(ge=0, le=1_000_000)]
Pair = Annotated[tuple[str, str] | tuple[Index, Index], BeforeValidator(_pair)]


class Distance(Section):
    """All pairs of two elements, or one pair of atoms, keep a distance inside a window."""

    kind: Literal["distance"]
    between: Pair
    low: LengthOrZero = 0.0
    high: Length | None = None

    @model_validator(mode="after")
    def _window(self) -> "Distance":
        from sparring.systems.own.criteria import window

        window(self)  # raises for an empty window, and for elements that there are not
        return self


class Bonds(Section):
    """Bonds of the starting structure keep their length within two factors."""

    kind: Literal["bonds"]
    low: Annotated[Number, Field(lt=1)] = 0.6
    high: Annotated[Number, Field(gt=1)] = 1.6


class ClosestDistance(Section):
    """No two atoms come closer than this."""

    kind: Literal["closest_distance"]
    distance: Length = 0.5


class LowestEnergy(Section):
    """The predicted energy does not fall below that of the committee's own minimum, by more than a margin."""

    kind: Literal["energy_below"]
    margin: EnergyOrZero = 1e-3


Unphysical: TypeAlias = Annotated[Distance | Bonds | ClosestDistance | LowestEnergy, Field(discriminator="kind")]
"""A criterion that ends a trajectory."""


class NormalModes(Section):
    """More starting structures by thermal displacements along normal modes."""

    kind: Literal["normal_modes"]
    n_structures: Count = 60
    temperatures: TemperatureRange = (250.0, 750.0)


class Displacements(Section):
    """More starting structures by uniform displacements of every atom."""

    kind: Literal["displacements"]
    n_structures: Count = 60
    amplitude: Length = 0.1


class GridFile(Section):
    """Structures on a grid of one or two variables, which their comment lines name."""

    file: File
    x: str | None = None
    y: str | None = None
    x_unit: str = ""
    y_unit: str = ""


def _two(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) != 2 or not all(isinstance(one, str | Path) for one in value):
        raise ValueError(f"wanted two files, such as [start.xyz, end.xyz], got {shown(value)}")
    return tuple(value)


def _file(value: object) -> object:
    return {"file": value} if isinstance(value, str | Path) else value


class Own(SystemSection):
    """Structures from a file, labelled or not."""

    example: ClassVar[tuple[str, ...]] = (
        "own_molecule.yaml",
        "own_molecule.xyz",
        "own_molecule_anti.xyz",
        "own_molecule_gauche.xyz",
    )
    paths: ClassVar[tuple[str, ...]] = ("file", "endpoints", "grid")

    kind: Literal["own"]
    file: File
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    stress_key: str | None = "REF_stress"
    relabel: bool = False
    energy_unit: EnergyUnit = "eV"
    forces_unit: ForceUnit = "eV/Å"
    stress_unit: PressureUnit | None = None
    stress_sign: Literal["tension", "compression"] = "tension"
    check_labels: bool = True
    skip_bad: bool = False
    charge: Integer = 0
    multiplicity: Count | None = None
    enlarge: Annotated[NormalModes | Displacements | Langevin, Field(discriminator="kind")] | None = None
    torsions: Torsions | None = None
    endpoints: Annotated[tuple[File, File], BeforeValidator(_two)] | None = None
    grid: Annotated[GridFile, BeforeValidator(_file)] | None = None
    unphysical: Annotated[tuple[Unphysical, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _one_landscape(self) -> "Own":
        if self.torsions is not None and self.grid is not None:
            raise ValueError("`torsions` and `grid` are both grids of the landscape; leave one of them out")
        return self

    def build(self) -> "System":
        """The structures of the file, with the properties that the keys give them."""
        from sparring.systems.own.system import system

        return system(self)

    def dynamics(self) -> tuple[str, Langevin] | None:
        """The dynamics that the file is enlarged by."""
        return ("enlarge", self.enlarge) if isinstance(self.enlarge, Langevin) else None

    def steps(self) -> tuple[str, ...]:
        """Normal modes, which begin with a relaxation, and the barrier between endpoints."""
        found = []
        if isinstance(self.enlarge, NormalModes):
            found.append(
                "system.enlarge: normal_modes relaxes structures step by step; use {kind: displacements}, or "
                "structures of your own and `enlarge: null`"
            )
        if self.endpoints is not None:
            found.append("system.endpoints needs a path that is relaxed step by step; leave it out")
        return tuple(found)

    def files(self) -> tuple[Path, ...]:
        """The structures, and what is compared over a path or a grid."""
        return (self.file, *(self.endpoints or ()), *((self.grid.file,) if self.grid else ()))
