"""The run that a committee belongs to: its folder, its system and the structures that it began with."""

from pathlib import Path

import yaml
from ase import Atoms

from sparring.inputs.extxyz import read_labelled
from sparring.systems.base import System
from sparring.systems.registry import read_system

__all__ = ["run_of", "starting_structures", "system_of"]


def run_of(folder: Path) -> Path | None:
    """The folder of the run that a folder is, or that a generation is in; None for a committee outside of a run."""
    places = (folder, folder.absolute().parent)
    return next((one for one in places if (one / "config.yaml").exists() and (one / "generation-01").exists()), None)


def system_of(folder: Path) -> System | None:
    """The system of the run that a folder is, or that a generation is in; None for a committee outside of a run.

    A system that cannot be built here has a name and nothing else, see
    :func:`sparring.systems.registry.read_system`.
    """
    file = next(
        (one / "config.yaml" for one in (folder, folder.resolve().parent) if (one / "config.yaml").exists()), None
    )
    if file is None:
        return None
    config = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read_system(config.get("system") if isinstance(config, dict) else None)


def starting_structures(run: Path | None) -> list[Atoms]:
    """The labelled structures that a run began with; none outside of a run, or before it has any."""
    file = None if run is None else run / "generation-01" / "dataset.extxyz"
    return read_labelled(file, allow_dummy=True, allow_empty=True) if file is not None and file.exists() else []
