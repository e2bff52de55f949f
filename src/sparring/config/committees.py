"""Sections of potentials and committees: networks that are trained, models of other packages, heads of a backbone."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from sparring.config.adapters import OWN, ModelName
from sparring.schema.base import Section
from sparring.schema.forbidden import refuse_programs
from sparring.schema.values import Count, Integer, Length, Number

__all__ = [
    "ACE",
    "MACE",
    "AnyCommittee",
    "AnyPotential",
    "Backbone",
    "Committee",
    "CoordinateMLP",
    "ForeignCommittee",
    "HeadsCommittee",
    "MixedCommittee",
    "PaiNN",
    "PotentialPlugin",
    "Prior",
    "SchNet",
]


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


class ACE(Section):
    """Message-passing atomic cluster expansion, for molecules and crystals."""

    kind: Literal["ace"]
    n_features: Count = 16
    n_interactions: Count = 2
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


class MACE(Section):
    """MACE, by mace-torch, trained from scratch."""

    kind: Literal["mace"]
    n_channels: Count = 32
    max_L: Annotated[Integer, Field(ge=0)] = 1
    n_interactions: Count = 2
    correlation: Count = 3
    cutoff: Length = 5.0
    n_radial: Count = 8
    max_ell: Count = 3
    n_readout: Count = 16


class PotentialPlugin(Section):
    """A network that an installed package registers under the entry-point group ``sparring.potentials``."""

    kind: Literal["plugin"]
    name: str
    parameters: Mapping[str, object] = {}

    @model_validator(mode="after")
    def _no_programs(self) -> "PotentialPlugin":
        refuse_programs("", self.parameters)
        return self


AnyPotential = SchNet | PaiNN | ACE | MACE | CoordinateMLP | PotentialPlugin


class Prior(Section):
    """A frozen random network that is added to each member (:mod:`sparring.potentials.prior`)."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"scale": (1e-3, 1e3, "")}
    scale: Number = 1.0


class Committee(Section):
    """Number and architecture of the networks that are trained."""

    kind: Literal["trained"] = "trained"
    n_members: Annotated[Integer, Field(ge=2)] = 5
    potential: Annotated[AnyPotential, Field(discriminator="kind")]
    prior: Prior | None = None

    @property
    def potentials(self) -> tuple[AnyPotential, ...]:
        """Sections of the architectures of the members."""
        return (self.potential,)


class MixedCommittee(Section):
    """Number and architectures of the networks that are trained, which are of several kinds or sizes."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {"n_members": (2, 100, "")}
    kind: Literal["mixed"]
    n_members: Annotated[Integer, Field(ge=2)] = 6
    potentials: Annotated[
        tuple[Annotated[AnyPotential, Field(discriminator="kind")], ...], Field(min_length=2, max_length=10)
    ]
    prior: Prior | None = None

    @property
    def potential(self) -> AnyPotential:
        """Section of the first architecture."""
        return self.potentials[0]


class ForeignCommittee(Section):
    """Models of another package (:mod:`sparring.potentials.foreign`): as they are, tuned, or trained by a script."""

    kind: Literal["foreign"]
    adapter: ModelName
    models: Annotated[tuple[str, ...], Field(max_length=100)] = ()
    n_members: Annotated[Integer, Field(ge=1)] = 4  # or as many as models, if there are several
    head: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_member_for_each_model(cls, data: object) -> object:
        """Several models are as many members, unless there is another number."""
        models = data.get("models") if isinstance(data, Mapping) else None
        if not isinstance(data, Mapping) or "n_members" in data or not isinstance(models, list | tuple):
            return data
        return {**data, "n_members": len(models)} if 2 <= len(models) <= 100 else data

    @property
    def potential(self) -> "ForeignCommittee":
        """The section of the potential, which is this one."""
        return self


class Backbone(Section):
    """A trained potential with features of atoms: a model of another package, or a member of a saved committee."""

    adapter: ModelName
    model: str = "default"
    member: Annotated[Integer, Field(ge=0)] = 0
    head: str | None = None

    @model_validator(mode="after")
    def _keys_of_its_adapter(self) -> "Backbone":
        if self.adapter != OWN and self.member:
            raise ValueError(f"member is of saved committees (adapter {OWN}); leave it out with {self.adapter}")
        if self.adapter == OWN and self.head is not None:
            raise ValueError("head is of models of other packages; give `member`, the member of the saved committee")
        if self.adapter == OWN and self.model == "default":
            raise ValueError(f"adapter {OWN} needs `model`, the folder of a saved committee")
        return self


class HeadsCommittee(Section):
    """Readouts of the features of one backbone (:mod:`sparring.potentials.heads`)."""

    kind: Literal["heads"]
    backbone: Backbone
    n_members: Annotated[Integer, Field(ge=2)] = 8
    uncertainty: Literal["heads", "llpr"] = "heads"

    @property
    def potential(self) -> "HeadsCommittee":
        """The section of the potential, which is this one."""
        return self


AnyCommittee = Committee | MixedCommittee | ForeignCommittee | HeadsCommittee
