"""Arguments of `sparring validate errors`: windows of energy, data, definition of unreliable structures."""

import re
from pathlib import Path
from typing import Any, get_args

from sparring.atoms.dataset import Dataset
from sparring.inputs.reading import read_atoms
from sparring.units import quantity
from sparring.validation.errors.reliability import Positive
from sparring.validation.errors.test_sets import EvaluationData, data_of_file, data_of_generation

__all__ = ["evaluation_data", "positive_of", "windows_of"]

NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?\s*")


def windows_of(text: str) -> list[float]:
    """Energies in eV; a number without a unit has that of the last, as in "5, 10 kcal/mol"."""
    numbers = text.split(",")
    unit = NUMBER.sub("", numbers[-1], count=1)
    return [quantity(one if NUMBER.sub("", one, count=1) else f"{one} {unit}", "energy") for one in numbers]


def evaluation_data(
    folder: Path, file: Path | None, *, later: bool, energy_key: str, forces_key: str, stress_key: str = "REF_stress"
) -> EvaluationData:
    """Labelled structures that the committee of a folder was not trained on: of a file, or of its run.

    Raises:
        ValueError: If there is none, or both are given.
    """
    if file is None:
        return data_of_generation(folder, later=later)
    if later:
        raise ValueError("--later adds labels of the run to its test split; leave out either --later or the file")
    keys: dict[str, Any] = {"energy_key": energy_key, "forces_key": forces_key, "stress_key": stress_key}
    frames = read_atoms(file, labels="required", **keys, allow_dummy=True)
    return data_of_file(folder, Dataset.from_atoms(frames), str(file))


def positive_of(given: str | None, training: Dataset | None) -> Positive:
    """Definition of unreliable structures; by default beyond_training, or worst if the training data is not known.

    Raises:
        ValueError: If there is no such definition.
    """
    if given is None:
        return "worst" if training is None else "beyond_training"
    choices: tuple[Positive, ...] = get_args(Positive)
    for choice in choices:
        if choice == given:
            return choice
    raise ValueError(f"--positive must be one of {', '.join(choices)}, got {given!r}")
