"""The run that a committee belongs to: its system and the structures that it began with."""

from pathlib import Path

from ase import Atoms

from sparring.atoms.composition import composition
from sparring.atoms.dataset import ENERGY
from sparring.atoms.inheritance import bare_copy
from sparring.config.reading import read
from sparring.inputs.extxyz import read_labelled
from sparring.inputs.reading import read_atoms
from sparring.runs.generation import DATASET as DATA
from sparring.runs.saved_run import SavedRun, run_of
from sparring.systems.base import System
from sparring.systems.registry import read_system

__all__ = ["start_of", "starting_structures", "system_of"]


def system_of(folder: Path) -> System | None:
    """The system of the run that a folder is, or that a generation is in; None for a committee outside of a run.

    A system that cannot be built here has a name and nothing else, see
    :func:`sparring.systems.registry.read_system`.
    """
    run = run_of(folder)
    if run is None:
        return None
    return read_system(read(run.config_file, run.config_text()).data.get("system"))


def starting_structures(run: SavedRun | None) -> list[Atoms]:
    """The labelled structures that a run began with; none outside of a run, or before it has any."""
    return [] if run is None else run.generation(1).frames()


def start_of(folder: Path, file: Path | None) -> Atoms:
    """The structure of a file, or the one of lowest energy in the training data of a committee.

    Raises:
        ValueError: If there is none, or the file has several, or the data are of several compositions.
    """
    if file is not None:
        structures = read_atoms(file, labels="ignored", allow_dummy=True)
        if len(structures) > 1:
            raise ValueError(f"{file} has {len(structures)} structures, expected one: the start")
        return structures[0]
    data = folder / DATA
    if not data.exists():
        raise ValueError(
            f"{folder} is not a generation of a run: it has no {DATA}; give START.xyz, a file with one structure"
        )
    labelled = read_labelled(data, allow_dummy=True)
    compositions = sorted({composition(atoms) for atoms in labelled})
    if len(compositions) > 1:
        raise ValueError(f"{data} has structures of {', '.join(compositions)}; give START.xyz, a file with one of them")
    return bare_copy(min(labelled, key=lambda atoms: float(atoms.info[ENERGY])))
