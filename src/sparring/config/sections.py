"""The sections of a configuration, as frozen pydantic models. They hold values, in eV, Å, fs and K, and no logic."""

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sparring.config.committees import AnyCommittee
from sparring.config.labellers import Labels
from sparring.config.problems import KeyPath
from sparring.config.proposers import AnyPart, AnyProposer, require_barostat
from sparring.config.training import Command, FineTune, NoTraining, Training
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import (
    Count,
    Device,
    Energy,
    File,
    Force,
    Integer,
    Length,
    Number,
    PressureOrZero,
    Temperatures,
    Time,
    Weight,
)
from sparring.systems.sections import AnySystem
from sparring.units import quantity

MOST_PARTS = 50
"""Largest number of proposers of a portfolio, and of steps of a selection."""


class UncertaintyAbove(Section):
    """Keep what is more uncertain than a percentile of the training set (Eq. 8), or is expected to err by more."""

    kind: Literal["uncertainty_above"]
    percentile: Annotated[Weight, Field(le=100)] = 80.0
    force_error: Force | None = None

    @model_validator(mode="after")
    def _one_threshold(self) -> "UncertaintyAbove":
        if self.force_error is not None and "percentile" in self.model_fields_set and self.percentile != 80.0:
            raise ValueError("percentile and force_error are both thresholds; leave one of them out")
        return self


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


class MaxDet(Section):
    """Keep at most n that are uncertain and unlike each other: the greedy maximum determinant of their features."""

    kind: Literal["max_det"]
    n: Count
    scaled: bool = True


class LCMD(Section):
    """Keep at most n that stand for those around them: the largest cluster maximum distance of their features."""

    kind: Literal["lcmd"]
    n: Count
    with_data: bool = True


class SelectorPlugin(Section):
    """A selector that an installed package registers under the entry-point group ``sparring.selectors``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "SelectorPlugin":
        refuse_programs("", self.parameters)
        return self


class SurvivalTest(Section):
    """Dynamics of copies with committees of a run: most keys are options of ``sparring validate survival``."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {
        "copies": (1, 100_000, ""),
        "timestep": (1e-3, 100, "fs"),
    }

    temperature: Temperatures = (300.0,)
    copies: Count = 20
    time: Time = quantity("30 ps", "time")
    timestep: Time = 0.5
    ensemble: Literal["nose_hoover", "langevin", "nve", "npt", "npt_cell"] = "nose_hoover"
    pressure: PressureOrZero | None = None  # 1 bar where cells move
    labels: Annotated[Integer, Field(ge=0)] = 10
    start: File | None = None  # None for the lowest energy of the data, which must be of one composition
    committees: Literal["last", "first_and_last"] = "last"

    @model_validator(mode="after")
    def _makes_sense(self) -> "SurvivalTest":
        if self.timestep > self.time:
            raise ValueError(f"time is {self.time:g} fs, less than a timestep of {self.timestep:g} fs")
        require_barostat(self.ensemble, self.pressure)
        return self


class _CrystalTest(Section):
    """A property of the crystals that a run began with, by its first and its last committee, beside that of labels."""

    labels: Annotated[Integer, Field(ge=0)] = 100


class EquationOfStateTest(_CrystalTest):
    """Energy against volume: keys are options of ``sparring validate equation-of-state``."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {
        "volume_range": (1e-3, 0.49, ""),
        "points": (5, 1000, ""),
    }

    volume_range: Number = 0.1
    points: Count = 11


class ElasticTest(_CrystalTest):
    """Elastic constants: keys are options of ``sparring validate elastic``."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"strain": (1e-5, 0.09, "")}

    strain: Number = 0.005


class SupercellTest(_CrystalTest):
    """Phonons or vacancies: keys are options of ``sparring validate phonons`` and ``vacancy``."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"length": (1, 100, "Å")}

    length: Length = 10.0


class Evaluation(Section):
    """Structures on which the report compares all committees of a run, and tests of the first and the last one."""

    file: File | None = None
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    stress_key: str = "REF_stress"
    near: Energy = quantity("2.5 kcal/mol", "energy")
    survival: SurvivalTest | None = None
    equation_of_state: EquationOfStateTest | None = None
    elastic: ElasticTest | None = None
    phonons: SupercellTest | None = None
    vacancy: SupercellTest | None = None


class Stop(Section):
    """Errors at which the run ends before its last generation."""

    force_error: Force
    confidence: Annotated[float, Field(ge=0.5, le=0.99)] = 0.9


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
    attack: Annotated[AnyProposer, Field(discriminator="kind")] | None = None
    propose: (
        Annotated[
            tuple[Annotated[AnyPart, Field(discriminator="kind")], ...], Field(min_length=1, max_length=MOST_PARTS)
        ]
        | None
    ) = None
    selection: Annotated[
        tuple[
            Annotated[
                UncertaintyAbove | EnergyWindow | Distinct | MaxDet | LCMD | Budget | SelectorPlugin,
                Field(discriminator="kind"),
            ],
            ...,
        ],
        Field(max_length=MOST_PARTS),
    ] = ()
    stop: Stop | None = None
    evaluation: Evaluation = Evaluation()

    @property
    def proposers(self) -> tuple[AnyProposer | AnyPart, ...]:
        """The section ``attack``, or the parts of the section ``propose``."""
        return self.propose or ((self.attack,) if self.attack is not None else ())

    def located_proposers(self) -> Iterator[tuple[KeyPath, AnyProposer | AnyPart]]:
        """The same with the paths of their keys."""
        for index, one in enumerate(self.proposers):
            yield (("attack",) if self.propose is None else ("propose", index)), one
