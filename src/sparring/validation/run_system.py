"""The run that a committee belongs to: its system and the structures that it began with."""

from pathlib import Path

import yaml
from ase import Atoms

from sparring.runs.saved_run import SavedRun, run_of
from sparring.systems.base import System
from sparring.systems.registry import read_system

__all__ = ["starting_structures", "system_of"]


def system_of(folder: Path) -> System | None:
    """The system of the run that a folder is, or that a generation is in; None for a committee outside of a run.

    A system that cannot be built here has a name and nothing else, see
    :func:`sparring.systems.registry.read_system`.
    """
    run = run_of(folder)
    if run is None:
        return None
    config = yaml.safe_load(run.config_file.read_text(encoding="utf-8"))
    return read_system(config.get("system") if isinstance(config, dict) else None)


def starting_structures(run: SavedRun | None) -> list[Atoms]:
    """The labelled structures that a run began with; none outside of a run, or before it has any."""
    return [] if run is None else run.generation(1).frames()
