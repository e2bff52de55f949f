"""Claiming a run folder for a configuration: what may change after the run was started, and what may not."""

import json
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sparring.config import Config, difference, dump
from sparring.runs.generation import MANIFEST, RunFolderError, read_json
from sparring.runs.saved_run import CHANGES, INPUTS, VERSIONS, SavedRun
from sparring.support.digest import file_digest
from sparring.support.files import write_text

__all__ = ["claim", "write_versions"]

STAGE_OF_SECTION = {"attack": "attack", "propose": "attack", "selection": "select"}
"""Sections of the configuration that only one stage uses: they may change until it has been committed."""
PACKAGES = (
    "sparring",
    "torch",
    "numpy",
    "scipy",
    "ase",
    "vesin",
    "pyscf",
    "pyscf-dispersion",
    "openmm",
    "tblite",
    "rdkit",
)


def claim(run: SavedRun, config: Config, log: Callable[[str], None]) -> None:
    """Write the configuration into the run folder if it agrees with the one that the run was started with.

    Args:
        run: The run, whose folder exists.
        config: Complete configuration.
        log: Function that is called with one line for each change.

    Raises:
        RunFolderError: If the folder belongs to another configuration or not to a run, or if an input file has changed.
    """
    versions = run.folder / VERSIONS
    if run.config_file.exists() and not versions.exists():
        raise RunFolderError(
            f"{run.config_file} was not written by a run, and would be overwritten; give another --folder"
        )
    # As long as no stage is committed there is nothing that another configuration could spoil.
    done = sum((generation.folder / MANIFEST).exists() for generation in run.generations())
    if run.config_file.exists() and done:
        _require_same(run, config, done, log)
    if not versions.exists():
        write_versions(run)
    write_text(run.config_file, dump(config))
    if not done:
        write_text(run.folder / INPUTS, json.dumps(_inputs(config), indent=1) + "\n")


def write_versions(run: SavedRun) -> None:
    """Write the versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    write_text(run.folder / VERSIONS, json.dumps(versions, indent=1) + "\n")


def _require_same(run: SavedRun, config: Config, done: int, log: Callable[[str], None]) -> None:
    """Refuse changes that results depend on; log and record those that only later stages depend on."""
    changes = difference(run.config(), config)
    # More generations than before only continue the run.
    changes = [line for line in changes if not (line.startswith("generations:") and config.generations >= done)]
    allowed = [line for line in changes if _is_unused(run, config, line, done)]
    changes = [line for line in changes if line not in allowed] + _changed_inputs(run, config)
    if changes:
        raise RunFolderError(
            f"{run.folder} was started with another configuration:\n  "
            + "\n  ".join(changes)
            + "\nGive another --folder, or go back to the configuration in its config.yaml."
            + _how_to_change(run, changes)
        )
    if allowed:
        lines = [f"from generation {done} on, {line}" for line in allowed]
        file = run.folder / CHANGES
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        write_text(file, before + "".join(f"{line}\n" for line in lines))
        for line in lines:
            log(line)


def _stage_of(change: str) -> str | None:
    """The stage that alone uses the section of a changed key; None if several stages use it."""
    return STAGE_OF_SECTION.get(re.split(r"[.\[:]", change)[0])


def _is_unused(run: SavedRun, config: Config, change: str, generation: int) -> bool:
    """True if a changed key is used only by a stage that the newest generation has not committed yet."""
    stage = _stage_of(change)
    last = generation >= config.generations  # without attack and selection
    return stage is not None and not last and stage not in run.generation(generation).stages_done


def _how_to_change(run: SavedRun, changes: list[str]) -> str:
    """The end of an error message: which generation to delete for a change of attack or selection."""
    stages = {_stage_of(line) for line in changes}
    if not changes or None in stages:
        return ""
    used = [generation for generation in run.generations() if stages & {*generation.stages_done}]
    if not used:
        return ""
    return (
        f"\nTo change it from the last attacks on, delete {used[-1].folder} and the generations after it; that "
        "generation is then computed again, but for labels."
    )


def _inputs(config: Config) -> dict[str, str]:
    """SHA-256 of the files that the configuration names, by their path."""
    labeller = config.labels.labeller
    named = (*config.system.files(), getattr(labeller, "topology", None), getattr(labeller, "system", None))
    fields = getattr(labeller, "forcefield", None) or ()
    files = [Path(one) for one in (*named, *fields) if one is not None]
    # A force field may also be the name of one that comes with OpenMM or with us.
    return {str(file): file_digest(file) for file in files if file.is_file()}


def _changed_inputs(run: SavedRun, config: Config) -> list[str]:
    """Input files whose content has changed since the run was started; a file that is gone is not needed any more."""
    known, now = run.folder / INPUTS, _inputs(config)
    if not known.exists():
        return []
    before = read_json(known, "delete it if the files are those that the run was started with")
    # Data do not depend on endpoints and grids, which may also have been named since.
    compared = {str(file) for file in config.system.files()[1:]}
    changed = [name for name in now if now[name] != before.get(name) and name not in compared]
    structures = str(getattr(config.system, "file", None))
    return [
        f"system.file: the structures in {name} are others"
        if name == structures
        else f"labels.labeller: the contents of {name} are others"
        for name in changed
    ]
