"""Sections about the training of a committee, as frozen pydantic models."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from sparring.config.labellers import Duration
from sparring.schema.base import Section
from sparring.schema.values import Count, Energy, File, Fractions, Length, Number, Weight

__all__ = ["Command", "FineTune", "NoTraining", "Replay", "SecondStage", "Splits", "Taylor", "Training"]


def _file(section: object) -> object:
    """The section of a file that is given by its name alone."""
    return {"file": section} if isinstance(section, str) else section


class Splits(Section):
    """Division of the data into training, validation and test set."""

    validation: Literal["per_member", "shared"] = "per_member"
    fractions: Fractions = (0.6, 0.2, 0.2)


class SecondStage(Section):
    """Second stage of training, with weights of its own in the loss."""

    n_epochs: Count = 100
    learning_rate: Number = 1e-3
    energy_weight: Weight = 1.0
    force_weight: Weight = 1.0
    stress_weight: Weight = 1.0


class Taylor(Section):
    """Energies of displaced structures, from forces, as further labels."""

    limits: ClassVar[Mapping[str, tuple[int | float, int | float, str]]] = {
        "length": (1e-4, 0.5, "Å"),
        "weight": (1e-6, 1e6, ""),
    }
    length: Length = 0.005
    weight: Number = 1.0


class Training(Section):
    """Training of the members (Eq. 2-3)."""

    kind: Literal["fit"] = "fit"
    n_epochs: Count = 500
    batch_size: Count = 30
    learning_rate: Number = 3e-4
    energy_weight: Weight = 0.1
    force_weight: Weight = 1.0
    stress_weight: Weight = 1.0
    energy_scale: Energy | None = None
    taylor: Taylor | None = None
    hessian_weight: Weight = 0.01
    patience: Count | None = 30
    factor: Annotated[Number, Field(lt=1)] = 0.5
    ema_decay: Annotated[Number, Field(lt=1)] | None = None
    amsgrad: bool = False
    second_stage: SecondStage | None = None
    bootstrap: bool = False
    checkpoint: Duration | None = 600.0
    splits: Splits = Splits()


class Replay(Section):
    """Structures of the training set of a model, mixed into those that it is tuned on."""

    file: File
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    stress_key: str = "REF_stress"
    weight: Weight = 1.0


class FineTune(Training):
    """Training of models of another package, which begins with their weights in every generation."""

    kind: Literal["fine_tune"]  # type: ignore[assignment]
    n_epochs: Count = 100
    batch_size: Count = 10
    learning_rate: Number = 1e-4
    ema_decay: Annotated[Number, Field(lt=1)] | None = 0.99
    bootstrap: bool = True
    replay: Annotated[Replay, BeforeValidator(_file)] | None = None


class Command(Section):
    """Training by a program that the user's own file of trainers names (:mod:`sparring.config.trainers`)."""

    kind: Literal["command"]
    trainer: str
    time_limit: Duration | None = None
    splits: Splits = Splits()


class NoTraining(Section):
    """No training: the members stay as they are."""

    kind: Literal["none"]
    splits: Splits = Splits()
