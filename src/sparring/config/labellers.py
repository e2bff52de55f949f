"""The sections about labels: labellers, store, limits and bounds."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from sparring.config.adapters import ModelName
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import Count, Energy, File, Force, Integer, Length, Memory, Names, Number, Weight, shown

__all__ = [
    "ASE",
    "Bounds",
    "GroundTruth",
    "Hessian",
    "Labels",
    "NoLabeller",
    "Offline",
    "OpenMM",
    "Plugin",
    "Potential",
    "PySCF",
]


_SECONDS = {
    "s": 1.0,
    "second": 1.0,
    "seconds": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "hours": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "days": 86400.0,
}


def in_units(value: object, units: Mapping[str, float], wanted: str) -> float:
    """A number with one of some units as a multiple of their base, such as seconds.

    Args:
        value: Text such as "1.5 h".
        units: Sizes of the units by their names.
        wanted: Description of what is allowed, for the message.

    Raises:
        ValueError: If it is no number with a unit.
    """
    pattern = r"\s*([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?)\s*([a-z][a-z -]*?)\s*"
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"wanted {wanted}, got {shown(value)}")
    return float(match[1]) * units[match[2]]


def _duration(value: object) -> float:
    """Seconds. A bare number is refused: its unit would be ambiguous, because times of dynamics are in fs."""
    return in_units(value, _SECONDS, "a duration such as '90 s', '30 min' or '1 h'")


Duration = Annotated[
    float,
    Field(gt=0, le=1e8, allow_inf_nan=False),
    BeforeValidator(_duration),
    PlainSerializer(lambda seconds: f"{seconds!r} s", when_used="json"),
]


class GroundTruth(Section):
    """The formula of a toy well labels its own points."""

    kind: Literal["ground_truth"]


class PySCF(Section):
    """Quantum chemistry by PySCF."""

    kind: Literal["pyscf"]
    method: str = "BP86-D3BJ/def2-SVP"
    auxiliary_basis: str | None = "def2-universal-jkfit"
    grid_level: Annotated[Integer, Field(ge=0, le=9)] = 3
    max_cycles: Count = 50


class ASE(Section):
    """Any calculator that ASE knows by name."""

    kind: Literal["ase"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "ASE":
        refuse_programs(self.name, self.parameters)
        return self


class Plugin(Section):
    """A labeller that an installed package registers under the entry-point group ``sparring.labellers``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "Plugin":
        refuse_programs("", self.parameters)
        return self


class OpenMM(Section):
    """A force field, or any system that OpenMM has serialised."""

    kind: Literal["openmm"]
    forcefield: Names | None = None
    topology: File | None = None
    system: File | None = None
    combination: Literal["geometric", "lorentz_berthelot"] | None = None
    platform: str = "Reference"
    properties: Mapping[str, str] = {}


class Potential(Section):
    """A potential: a model of another package, or (adapter sparring) the mean of a saved committee."""

    kind: Literal["potential"]
    adapter: ModelName
    model: str = "default"
    head: str | None = None


class Offline(Section):
    """Labels that are computed elsewhere: structures go out as a file, and energies and forces come back as files."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"tolerance": (1e-8, 0.1, "Å")}

    kind: Literal["offline"]
    method: Annotated[str, Field(min_length=1)] = "offline"
    version: Annotated[str, Field(min_length=1)] = "offline"
    depends_on: tuple[str, ...] = ()
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    stress_key: str | None = "REF_stress"
    tolerance: Length = 1e-3
    align: bool = False


class NoLabeller(Section):
    """No labels: the run ends with the structures that should be labelled."""

    kind: Literal["none"]


class Bounds(Section):
    """Bounds outside which a label counts as failed; null switches a bound off."""

    min_distance: Length | None = 0.5
    max_force: Force | None = 100.0
    energy_window: Energy | None = None


class Hessian(Section):
    """Products of the Hessian with a random direction, by a second gradient for each label."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"step": (1e-3, 1.0, "Å")}
    step: Length = 0.05


class Labels(Section):
    """Labeller, store, limits and bounds of labels."""

    labeller: Annotated[
        GroundTruth | PySCF | OpenMM | ASE | Potential | Plugin | Offline | NoLabeller, Field(discriminator="kind")
    ]
    store: File | None = None
    n_workers: Count | None = None
    time_limit: Duration | None = 3600.0
    memory_limit: Memory | None = None
    max_failed: Annotated[Number, Field(le=1)] = 1.0
    min_succeeded: Annotated[Weight, Field(le=1)] = 0.0
    bounds: Bounds = Bounds()
    hessian: Hessian | None = None
