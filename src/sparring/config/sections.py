"""The sections of a configuration, as frozen pydantic models. They hold values, in eV, Å, fs and K, and no logic."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from sparring.config import spaces
from sparring.config.adapters import AdapterName
from sparring.config.labellers import Labels
from sparring.config.objectives import Formula
from sparring.config.spaces import AttackSpace, Axes, RandomSpace
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import (
    Count,
    Device,
    Energy,
    Fractions,
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


class SchNet(Section):
    """SchNet, for molecules and crystals."""

    kind: Literal["schnet"]
    n_features: Count = 256
    n_filters: Count = 256
    n_interactions: Count = 4
    n_gaussians: Annotated[Count, Field(ge=2)] = 32
    cutoff: Length = 5.0
    envelope: bool = True
    reference_energies: bool = True


class PaiNN(Section):
    """PaiNN, an equivariant network for molecules and crystals."""

    kind: Literal["painn"]
    n_features: Count = 64
    n_interactions: Count = 3
    n_radial: Count = 8
    cutoff: Length = 5.0
    reference_energies: bool = True
    repulsion: bool = False


class CoordinateMLP(Section):
    """A network of coordinates, for toy wells."""

    kind: Literal["coordinate_mlp"]
    n_coordinates: Annotated[Count, Field(le=3)] = 2
    n_layers: Count = 4
    n_units: Count = 1024


class PotentialPlugin(Section):
    """A network that an installed package registers under the entry-point group ``sparring.potentials``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "PotentialPlugin":
        refuse_programs("", self.parameters)
        return self


AnyPotential = SchNet | PaiNN | CoordinateMLP | PotentialPlugin


class Committee(Section):
    """Number and architecture of the networks that are trained."""

    kind: Literal["trained"] = "trained"
    n_members: Annotated[Integer, Field(ge=2)] = 5
    potential: Annotated[AnyPotential, Field(discriminator="kind")]


class ForeignCommittee(Section):
    """Models that another package trained (:mod:`sparring.potentials.foreign`)."""

    kind: Literal["foreign"]
    adapter: AdapterName
    models: Annotated[tuple[str, ...], Field(min_length=2, max_length=100)]
    head: str | None = None

    @property
    def n_members(self) -> int:
        """Number of models."""
        return len(self.models)

    @property
    def potential(self) -> "ForeignCommittee":
        """The section of the potential, which is this one."""
        return self


class Splits(Section):
    """Division of the data into training, validation and test set."""

    validation: Literal["per_member", "shared"] = "per_member"
    fractions: Fractions = (0.6, 0.2, 0.2)


class Training(Section):
    """Training of the members (Eq. 2-3)."""

    kind: Literal["fit"] = "fit"
    n_epochs: Count = 500
    batch_size: Count = 30
    learning_rate: Number = 3e-4
    energy_weight: Weight = 0.1
    force_weight: Weight = 1.0
    energy_scale: Energy | None = None
    patience: Count | None = 30
    factor: Annotated[Number, Field(lt=1)] = 0.5
    ema_decay: Annotated[Number, Field(lt=1)] | None = None
    splits: Splits = Splits()


class NoTraining(Section):
    """No training: the members stay as they are."""

    kind: Literal["none"]
    splits: Splits = Splits()


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
    committee: Annotated[Committee | ForeignCommittee, Field(discriminator="kind")]
    training: Annotated[Training | NoTraining, Field(discriminator="kind")] = Training()
    attack: Annotated[Adversarial | Random | Dynamics | AttackPlugin, Field(discriminator="kind")]
    selection: tuple[
        Annotated[UncertaintyAbove | EnergyWindow | Distinct | Budget | SelectorPlugin, Field(discriminator="kind")],
        ...,
    ] = ()
    evaluation: Evaluation = Evaluation()
