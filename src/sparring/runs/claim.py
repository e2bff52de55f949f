"""Claiming a run folder for a configuration: what may change after the run was started, and what may not."""

import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sparring.config import Config, difference, dump, unchangeable
from sparring.runs.checks import metrics_problem, metrics_text, require_results
from sparring.runs.generation import MANIFEST, METRICS, RunFolderError, read_json
from sparring.runs.manifests import (
    CHANGES,
    INPUTS,
    VERSIONS,
    RunManifest,
    heads_of,
    metrics_of,
    write_run_manifest,
)
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import file_problem
from sparring.support.digest import digest, file_digest
from sparring.support.files import write_text

__all__ = ["claim", "require_claimable", "require_own", "versions_now"]

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


def require_claimable(run: SavedRun, config: Config) -> None:
    """Refuse a folder that belongs to another configuration or not to a run; nothing is written.

    Args:
        run: The run, whose folder need not exist.
        config: Complete configuration.

    Raises:
        RunFolderError: If the folder belongs to another configuration or not to a run, if ``config.yaml`` or a manifest
            is damaged, or if an input file has changed.
    """
    require_own(run)
    if _n_done(run) and run.config_file.exists():
        _refuse(run, _changes(run, config)[0])


def require_own(run: SavedRun) -> None:
    """Refuse a folder that belongs not to a run, or to one whose configuration or links are damaged.

    Raises:
        RunFolderError: If it is one.
    """
    if run.config_file.exists() and not ((run.folder / VERSIONS).exists() or run.exists_by_manifest):
        raise RunFolderError(
            f"{run.config_file} was not written by a run, and would be overwritten; give another --folder"
        )
    run.require_linked()
    if _n_done(run) and run.config_file.exists():
        run.require_config()


def claim(run: SavedRun, config: Config, log: Callable[[str], None]) -> RunManifest:
    """Write the configuration into the run folder if it agrees with the one that the run was started with.

    Args:
        run: The run, whose folder exists and is locked.
        config: Complete configuration.
        log: Function that is called with one line for each change, and for each file that is written again.

    Returns:
        Manifest of the run.

    Raises:
        RunFolderError: If the folder belongs to another configuration or not to a run, if a file of a committed stage
            is damaged, or if an input file has changed.
    """
    require_claimable(run, config)
    require_results(run.generations())
    done, manifest = _n_done(run), run.manifest
    for name in () if manifest is None else manifest.texts():
        if problem := file_problem(run.folder / name):
            log(f"{run.folder / name} {problem}; it is written again")
    inputs, changes = _inputs(config), tuple[str, ...]()
    if manifest is not None and done:
        # Restored first: the configuration is compared with it.
        write_run_manifest(run.folder, manifest)
    if done and run.config_file.exists():
        refused, allowed = _changes(run, config)
        _refuse(run, refused)
        changes = tuple(f"from generation {done} on, {line}" for line in allowed)
        for line in changes:
            log(line)
    if manifest is None or not done:
        manifest = _first_manifest(run, config, inputs, done)
    else:
        _log_of_versions(manifest.versions, log)
        _log_of_gone_generations(run, manifest, log)
        heads = heads_of({one.folder.name: one.manifest for one in run.generations()}, manifest.identity)
        manifest = replace(manifest, config=dump(config), changes=(*manifest.changes, *changes), heads=heads)
    manifest = write_run_manifest(run.folder, manifest)
    _write_metrics(run, log)
    return manifest


def versions_now() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _n_done(run: SavedRun) -> int:
    """Number of the last generation with committed stages; before there is one, a change can spoil nothing."""
    found = run.generations()
    begun = any((one.folder / MANIFEST).exists() for one in found)
    return max((one.number for one in found if one.manifest), default=int(begun))


def _first_manifest(run: SavedRun, config: Config, inputs: Mapping[str, str], done: int) -> RunManifest:
    """The manifest of a run that begins, or that an older version has begun."""
    known = run.folder / INPUTS
    if done and known.exists():
        inputs = read_json(known, "restore it from a copy, or delete it if the files are those of the start")
    versions = read_json(run.folder / VERSIONS, "delete it") if done else {}
    changes = run.folder / CHANGES
    identity = digest([unchangeable(config, ("generations", *STAGE_OF_SECTION)), sorted(inputs.values())])
    return RunManifest(
        identity=identity,
        config=dump(config),
        inputs=inputs,
        versions=versions or versions_now(),
        changes=tuple(changes.read_text(encoding="utf-8").splitlines()) if done and changes.exists() else (),
        heads=heads_of({one.folder.name: one.manifest for one in run.generations()}, identity),
    )


def _write_metrics(run: SavedRun, log: Callable[[str], None]) -> None:
    """Write ``metrics.json`` again where it is not what the stages gave."""
    for one in run.generations():
        metrics, file = metrics_of(one.number, one.manifest), one.folder / METRICS
        if problem := metrics_problem(one):
            log(f"{file} {problem}; it is written again")
        if metrics is not None and (not file.exists() or file.read_bytes() != metrics_text(metrics).encode()):
            write_text(file, metrics_text(metrics))


def _log_of_versions(before: Mapping[str, str], log: Callable[[str], None]) -> None:
    now = versions_now()
    changed = [f"{name} {before[name]} -> {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    if changed:
        log(
            f"versions have changed since the last stage: {', '.join(changed)}; what is computed from now on may "
            "differ in its last digits"
        )


def _log_of_gone_generations(run: SavedRun, manifest: RunManifest, log: Callable[[str], None]) -> None:
    for name in manifest.heads:
        if not (run.folder / name).exists():
            log(f"{run.folder / name} is not there any more; it is computed again")


def _changes(run: SavedRun, config: Config) -> tuple[list[str], list[str]]:
    """Changes that results depend on, and those that only later stages depend on."""
    done = _n_done(run)
    changes = difference(run.config(), config)
    # More generations than before only continue the run.
    changes = [line for line in changes if not (line.startswith("generations:") and config.generations >= done)]
    allowed = [line for line in changes if _is_unused(run, config, line, done)]
    return [line for line in changes if line not in allowed] + _changed_inputs(run, config), allowed


def _refuse(run: SavedRun, changes: list[str]) -> None:
    if changes:
        raise RunFolderError(
            f"{run.folder} was started with another configuration:\n  "
            + "\n  ".join(changes)
            + "\nGive another --folder, or go back to the configuration in its config.yaml."
            + _how_to_change(run, changes)
        )


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
    known, now, manifest = run.folder / INPUTS, _inputs(config), run.manifest
    if manifest is None and not known.exists():
        return []
    remedy = "restore it from a copy, or delete it if the files are those that the run was started with"
    before = read_json(known, remedy) if manifest is None else manifest.inputs
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
