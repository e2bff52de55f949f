"""The sections of a configuration, as frozen pydantic models. They hold values, in eV, Å, fs and K, and no logic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sparring.config import spaces
from sparring.config.committees import AnyCommittee
from sparring.config.labellers import Labels
from sparring.config.objectives import Formula
from sparring.config.spaces import AttackSpace, Axes, RandomSpace
from sparring.config.training import Command, FineTune, NoTraining, Training
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import (
    Count,
    Device,
    Energy,
    Integer,
    Length,
    LengthOrZero,
    Memory,
    Number,
    Rate,
    Temperature,
    Time,
    Weight,
)
from sparring.systems.sections import AnySystem
from sparring.units import quantity

Seeds = Literal["lowest_energy", "random"]


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
    objective: Annotated[Formula, Field(validate_default=True)] = "exp(boltzmann(20 kcal/mol)) * force_variance"


class Random(Section):
    """Uniform random displacements, the baseline."""

    kind: Literal["random"]
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    space: RandomSpace = spaces.RandomCartesian(kind="cartesian")


class Dynamics(Section):
    """Snapshots of molecular dynamics under the committee's own mean forces, the baseline that people use."""

    kind: Literal["dynamics"]
    n_seeds: Count | None = 30
    seeds: Seeds = "lowest_energy"
    temperature: Temperature = 500.0
    duration: Time = quantity("5 ps", "time")
    timestep: Time = quantity("0.5 fs", "time")
    every: Count = 100
    ensemble: Literal["langevin", "nose_hoover"] = "nose_hoover"
    friction: Rate = quantity("10 1/ps", "rate")
    time_constant: Time = quantity("50 fs", "time")
    axes: Axes = "xyz"
    min_distance: LengthOrZero = 0.5
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


class UncertaintyAbove(Section):
    """Keep what is more uncertain than this percentile of the training set (Eq. 8)."""

    kind: Literal["uncertainty_above"]
    percentile: Annotated[Weight, Field(le=100)] = 80.0


class EnergyWindow(Section):
    """Keep what the committee expects to lie at most this far above the lowest energy known."""

    kind: Literal["energy_window"]
    window: Energy


class Distinct(Section):
    """Keep one of every cluster of geometries that are alike."""

    kind: Literal["distinct"]
    rmsd: Length
    align: bool = True
    permute: bool = False
    linkage: Literal["average", "complete", "single"] = "average"


class Budget(Section):
    """Keep at most n."""

    kind: Literal["budget"]
    n: Count
    order: Literal["score", "random"] = "score"


class SelectorPlugin(Section):
    """A selector that an installed package registers under the entry-point group ``sparring.selectors``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "SelectorPlugin":
        refuse_programs("", self.parameters)
        return self


class Evaluation(Section):
    """Structures on which the report compares all committees of a run, and where the far ones begin."""

    file: Path | None = None
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    near: Energy = quantity("2.5 kcal/mol", "energy")


class Config(Section):
    """All of a run."""

    seed: Annotated[Integer, Field(ge=0)] = 0
    generations: Count = 3
    device: Device = "cpu"
    threads: Count | None = None
    dtype: Literal["float32", "float64"] = "float32"
    system: AnySystem
    labels: Labels
    committee: Annotated[AnyCommittee, Field(discriminator="kind")]
    training: Annotated[Training | FineTune | Command | NoTraining, Field(discriminator="kind")] = Training()
    attack: Annotated[Adversarial | Random | Dynamics | AttackPlugin, Field(discriminator="kind")]
    selection: tuple[
        Annotated[UncertaintyAbove | EnergyWindow | Distinct | Budget | SelectorPlugin, Field(discriminator="kind")],
        ...,
    ] = ()
    evaluation: Evaluation = Evaluation()
