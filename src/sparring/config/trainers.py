"""Programs that train models of other packages, from a file of the user's own.

A configuration is data, and may be somebody else's: it names a trainer, never a command. The command is in a file on
the user's machine: the one that the environment variable SPARRING_TRAINERS names, or ~/.config/sparring/trainers.yaml.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from sparring.config.problems import ConfigError, dotted, explain, nearest
from sparring.config.reading import read
from sparring.schema.base import Section

__all__ = ["Trainer", "trainer_named", "trainers_file"]

VARIABLE = "SPARRING_TRAINERS"


class Trainer(Section):
    """A program that trains one member on extended XYZ files, and the file of the model that it writes."""

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    model: str
    energy_key: str = "REF_energy"
    forces_key: str = "REF_forces"
    stress_key: str = "REF_stress"
    environment: Mapping[str, str] = {}


def trainers_file() -> Path:
    """Path of the user's file of trainers, which may not exist."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else Path.home() / ".config" / "sparring" / "trainers.yaml"


def trainer_named(name: str) -> Trainer:
    """A trainer of the user's file.

    Raises:
        ConfigError: If there is no file, it cannot be read, or it does not have the trainer.
    """
    file = trainers_file()
    if not file.is_file():
        raise ConfigError(
            [
                f"training.trainer: {name!r} is not known on this machine: there is no file {file}; write it, or set "
                f"{VARIABLE} to another one (docs/foreign-potentials.md has an example)"
            ]
        )
    document = read(file)
    if name not in document.data:
        raise ConfigError([f"{file}: trainers: {name!r} is not among them; {nearest(name, document.data)}"])
    try:
        return Trainer.model_validate(document.data[name])
    except ValidationError as error:
        problems = [((name, *key), problem) for key, problem in explain(error, Trainer)]
        head = next((place for key, place in document.places.items() if key == (name,)), f"{file}: ")
        raise ConfigError([f"{head}{dotted(key)}: {problem}" for key, problem in problems]) from None
