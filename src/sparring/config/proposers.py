"""Sections of proposers: alone as ``attack``, or several as ``propose``, each with a share of the labels."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sparring.config import spaces
from sparring.config.objectives import Formula
from sparring.config.spaces import AttackSpace, Axes, RandomSpace
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import (
    Count,
    Energy,
    Force,
    LengthOrZero,
    Memory,
    Number,
    PressureOrZero,
    Rate,
    Temperature,
    Time,
    as_atoms,
    shown,
)
from sparring.units import quantity

__all__ = [
    "BAROSTATS",
    "Adversarial",
    "AnyPart",
    "AnyProposer",
    "AttackPlugin",
    "BiasedDynamics",
    "Dynamics",
    "EarlyStop",
    "Random",
    "Scan",
    "require_barostat",
    "source_of",
]

DATA_SOURCES = ("file", "minimum", "uniform", "normal_mode", "langevin", "displacement", "grid")
"""Sources of starting data, which no proposer may have."""
BAROSTATS = ("npt", "npt_cell")
"""Ensembles whose cells move."""
Seeds = Literal["lowest_energy", "random"]


def _in_order(fractions: tuple[float, float]) -> tuple[float, float]:
    low, high = fractions
    if not low < high:
        raise ValueError(f"wanted the smaller fraction first, got [{low:g}, {high:g}]")
    return fractions


def _around_one(factors: tuple[float, float]) -> tuple[float, float]:
    low, high = factors
    if not low < 1 < high:
        raise ValueError(f"wanted multiples of a length, one below and one above 1, got [{low:g}, {high:g}]")
    return factors


def _source(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,39}", name) or name in DATA_SOURCES:
        taken = ", ".join(DATA_SOURCES)
        raise ValueError(f"wanted a name of small letters, digits, - and _, none of {taken}; got {shown(name)}")
    return name


class NormalModeStart(Section):
    """Seeds displaced along normal modes of the committee, at a temperature."""

    kind: Literal["normal_modes"]
    temperature: Temperature = 500.0


class DynamicsStart(Section):
    """Seeds after short dynamics of the committee, at a temperature."""

    kind: Literal["dynamics"]
    temperature: Temperature = 500.0
    duration: Time = quantity("200 fs", "time")
    timestep: Time = quantity("0.5 fs", "time")


class EarlyStop(Section):
    """Conditions that end the trajectory of a replica, and the time after which it offers a frame in any case."""

    force_sigma: Force | None = 0.5
    bonds: Annotated[tuple[Number, Number], AfterValidator(_around_one)] | None = (0.6, 1.6)
    energy_below: Energy | None = 0.2
    quiet: Time | None = None  # the duration


class HAL(Section):
    """A slope along the uncertainty of the energy, whose mean force is a share of the mean force."""

    kind: Literal["hal"]
    relative: Number = 0.25
    burn_in: Time = quantity("100 fs", "time")


class UDD(Section):
    """A hill where members agree."""

    kind: Literal["udd"]
    height: Energy = 0.2
    width: Energy = 0.02


def _centres(value: object) -> object:
    if value == "guest":
        return value
    if isinstance(value, str):
        raise ValueError(f"wanted guest, or some atoms, counted from 0, such as [0, 3], got {shown(value)}")
    return as_atoms(value)


def _region(value: object) -> object:
    if value == "guest":
        return {"centres": "guest", "radius": 0.0}
    if isinstance(value, str):
        raise ValueError(f"wanted guest, or keys such as {{most_uncertain: 1, radius: 4 Å}}, got {shown(value)}")
    return value


class Region(Section):
    """Atoms that an attack moves: those about a centre, a guest or the most uncertain atoms of a seed."""

    radius: LengthOrZero = 4.0
    centres: Annotated[Literal["guest"] | tuple[int, ...], BeforeValidator(_centres)] | None = None
    most_uncertain: Count = 1


class Adversarial(Section):
    """Gradient ascent on the committee's own uncertainty (Eq. 14)."""

    kind: Literal["adversarial"]
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    n_steps: Count = 60
    learning_rate: Number = 0.01
    update: Literal["adam", "gradient"] = "adam"
    space: AttackSpace = spaces.Cartesian(kind="cartesian")
    min_distance: LengthOrZero = 0.5
    max_memory: Memory | None = 4e9
    start: Annotated[NormalModeStart | DynamicsStart, Field(discriminator="kind")] | None = None
    region: Annotated[Region | None, BeforeValidator(_region)] = None
    objective: Annotated[Formula, Field(validate_default=True)] = "exp(boltzmann(20 kcal/mol)) * force_variance"


class Random(Section):
    """Uniform random displacements, the baseline."""

    kind: Literal["random"]
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    space: RandomSpace = spaces.RandomCartesian(kind="cartesian")


def require_barostat(ensemble: str, pressure: float | None) -> None:
    """Refuse a pressure in an ensemble whose cells do not move.

    Raises:
        ValueError: If there is one.
    """
    if pressure is not None and ensemble not in BAROSTATS:
        raise ValueError(f"a pressure needs ensemble npt or npt_cell, got {ensemble}; leave the pressure out")


class _Moving(Section):
    """Keys of all kinds of dynamics."""

    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    temperature: Temperature = 500.0
    duration: Time = quantity("5 ps", "time")
    timestep: Time = quantity("0.5 fs", "time")
    every: Count = 100
    ensemble: Literal["langevin", "nose_hoover", "npt", "npt_cell"] = "nose_hoover"
    friction: Rate = quantity("10 1/ps", "rate")
    time_constant: Time = quantity("50 fs", "time")
    pressure: PressureOrZero | None = None  # 1 bar where cells move
    cell_time_constant: Time = quantity("500 fs", "time")
    axes: Axes = "xyz"
    min_distance: LengthOrZero = 0.5
    max_memory: Memory | None = 4e9

    @model_validator(mode="after")
    def _cells_can_move(self) -> "_Moving":
        require_barostat(self.ensemble, self.pressure)
        if self.ensemble in BAROSTATS and set(self.axes) != set("xyz"):
            raise ValueError(
                f"ensemble {self.ensemble} moves cells along xyz, got axes {self.axes}; use nose_hoover or langevin"
            )
        return self


class Dynamics(_Moving):
    """Molecular dynamics under the committee's own mean forces: snapshots, or frames around an early stop."""

    kind: Literal["dynamics"]
    stop: EarlyStop | None = None

    @model_validator(mode="before")
    @classmethod
    def _finer_with_a_stop(cls, data: object) -> object:
        """Frames around the end of a trajectory are chosen among more than snapshots."""
        stops = isinstance(data, Mapping) and data.get("stop") is not None and "every" not in data
        return {**data, "every": 10} if stops and isinstance(data, Mapping) else data


class BiasedDynamics(_Moving):
    """Dynamics that is biased towards disagreement of the members, with an early stop."""

    kind: Literal["biased_dynamics"]
    every: Count = 10
    bias: Annotated[HAL | UDD, Field(discriminator="kind")] = HAL(kind="hal")
    stop: EarlyStop = EarlyStop()


class Scan(Section):
    """Bonds and angles of the seeds at values between two multiples of their own."""

    kind: Literal["scan"]
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    fractions: Annotated[tuple[Number, Number], AfterValidator(_in_order)] = (0.75, 1.35)
    n_values: Annotated[Count, Field(le=1000)] = 6
    max_memory: Memory | None = 4e9


class AttackPlugin(Section):
    """A proposer that an installed package registers under the entry-point group ``sparring.proposers``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"

    @model_validator(mode="after")
    def _no_programs(self) -> "AttackPlugin":
        refuse_programs("", self.parameters)
        return self


class _Part(Section):
    """Keys of a proposer beside others: its share of the labels, and the source of its structures in the data."""

    share: Number = 1.0
    source: Annotated[str, AfterValidator(_source)] | None = None


class AdversarialPart(Adversarial, _Part):
    """Attacks, beside others."""


class RandomPart(Random, _Part):
    """Random displacements, beside others."""


class DynamicsPart(Dynamics, _Part):
    """Dynamics, beside others."""


class BiasedDynamicsPart(BiasedDynamics, _Part):
    """Biased dynamics, beside others."""


class ScanPart(Scan, _Part):
    """A scan, beside others."""


class PluginPart(AttackPlugin, _Part):
    """A package's proposer, beside others."""


AnyProposer: TypeAlias = Adversarial | Random | Dynamics | BiasedDynamics | Scan | AttackPlugin
"""A proposer alone."""
AnyPart: TypeAlias = AdversarialPart | RandomPart | DynamicsPart | BiasedDynamicsPart | ScanPart | PluginPart
"""A proposer beside others."""


def source_of(section: AnyProposer | AnyPart) -> str:
    """Source that structures of a proposer have in the data."""
    own = getattr(section, "source", None)
    if own is not None:
        return str(own)
    if isinstance(section, AttackPlugin):
        return section.name
    return "attack" if isinstance(section, Adversarial) else section.kind
