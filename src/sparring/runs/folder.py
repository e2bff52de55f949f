"""What a run leaves on disk: one folder a generation, one atomic commit a stage, and a lock on the whole.

A stage is committed when the generation's ``manifest.json`` names its files and their SHA-256. What was committed is
read back rather than computed again, also right after it was computed, so that a run that was killed and resumed sees
the very same numbers as one that was not.
"""

import hashlib
import json
import logging
import platform
import re
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sparring.config import Config, difference, dump, load, settled
from sparring.runs import stages
from sparring.support.files import write_text
from sparring.support.lock import Lock

__all__ = ["RunFolder", "RunFolderError", "read_metrics", "stages_done"]

logger = logging.getLogger(__name__)

T = TypeVar("T")
STAGE_OF_SECTION = {"attack": "attack", "selection": "select"}
"""Sections that one stage only looks at, which may change until it has committed."""
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


class RunFolderError(RuntimeError):
    """A run folder that cannot be used as it is: in use, of another configuration, or damaged."""


class RunFolder(AbstractContextManager["RunFolder"]):
    """A run on disk, locked as long as it is open.

    Args:
        path: The folder; made if it is not there.
        config: What the run is to do.
        announce: Called with a line for people whenever a stage is found or committed.

    Attributes:
        computed: Whether any stage had to be computed since the folder was opened.

    Raises:
        RunFolderError: If another process has the folder open, or it belongs to another configuration.
    """

    def __init__(self, path: Path, config: Config, announce: Callable[[str], None] | None = None) -> None:
        self.path = path
        self.config = settled(config, path)
        self.announce = announce or logger.info
        self.computed = False
        self._lock: Lock | None = None

    def __enter__(self) -> "RunFolder":
        """Lock the folder, then claim it for the configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            self._claim()
            # Left by a run that was killed while it wrote; nobody else writes here as long as the lock holds.
            for unfinished in self.path.glob("generation-*/.*.tmp"):
                unfinished.unlink()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock."""
        if self._lock is not None:
            self._lock.close()

    def _claim(self) -> None:
        file, versions = self.path / "config.yaml", self.path / "versions.json"
        if file.exists() and not versions.exists():
            raise RunFolderError(f"{file} was not written by a run, and would be overwritten; give another --folder")
        # As long as no stage is committed there is nothing that another configuration could spoil.
        done = len(list(self.path.glob("generation-*/manifest.json")))
        if file.exists() and done:
            changes = difference(load(file), self.config)
            # More generations than before only go on with what is there.
            changes = [line for line in changes if not (_is_generations(line) and self.config.generations >= done)]
            allowed = [line for line in changes if self._not_yet_used(line, done)]
            changes = [line for line in changes if line not in allowed] + self._changed_inputs()
            if changes:
                raise RunFolderError(
                    f"{self.path} was started with another configuration:\n  "
                    + "\n  ".join(changes)
                    + "\nGive another --folder, or go back to the configuration in its config.yaml."
                    + self._how_to_change(changes)
                )
            self._note_changes(allowed, done)
        if not versions.exists():
            self._note_versions()
        write_text(file, dump(self.config))
        if not done:
            write_text(self.path / "inputs.json", json.dumps(self._inputs(), indent=1) + "\n")

    def _not_yet_used(self, change: str, generation: int) -> bool:
        """Whether a changed key belongs to a stage that the generation has still to come to."""
        stage = STAGE_OF_SECTION.get(re.split(r"[.\[:]", change)[0])
        last = generation >= self.config.generations  # which attacks and selects nothing
        return stage is not None and not last and stage not in stages_done(self._generation(generation))

    def _how_to_change(self, changes: list[str]) -> str:
        """What to delete for a change of how seeds are attacked or candidates chosen."""
        stage_of = {STAGE_OF_SECTION.get(re.split(r"[.\[:]", line)[0]) for line in changes}
        if not changes or None in stage_of:
            return ""
        used = [path for path in sorted(self.path.glob("generation-*")) if stage_of & {*stages_done(path)}]
        if not used:
            return ""
        return (
            f"\nTo change it from the last attacks on, delete {used[-1]} and the generations after it; that generation "
            "is then computed again, but for labels."
        )

    def _note_changes(self, changes: list[str], generation: int) -> None:
        if changes:
            known = self.path / "changes.txt"
            before = known.read_text(encoding="utf-8") if known.exists() else ""
            lines = [f"from generation {generation} on, {line}" for line in changes]
            write_text(known, before + "".join(f"{line}\n" for line in lines))
            for line in lines:
                self.announce(line)

    def _generation(self, number: int) -> Path:
        return self.path / f"generation-{number:02d}"

    def _inputs(self) -> dict[str, str]:
        """SHA-256 of the files that the configuration names, by their path."""
        labeller = self.config.labels.labeller
        named = (*self.config.system.files(), getattr(labeller, "topology", None), getattr(labeller, "system", None))
        fields = getattr(labeller, "forcefield", None) or ()
        files = [Path(one) for one in (*named, *fields) if one is not None]
        # A force field may also be the name of one that comes with OpenMM or with us.
        return {str(file): _sha256(file) for file in files if file.is_file()}

    def _changed_inputs(self) -> list[str]:
        """What is no longer what the run was started with; a file that is gone is not needed any more."""
        known, now = self.path / "inputs.json", self._inputs()
        if not known.exists():
            return []
        before = _read_json(known, "delete it if the files are those that the run was started with")
        # Data do not depend on endpoints and grids, which may also have been named since.
        compared = {str(file) for file in self.config.system.files()[1:]}
        changed = [name for name in now if now[name] != before.get(name) and name not in compared]
        structures = str(getattr(self.config.system, "file", None))
        return [
            f"system.file: the structures in {name} are others"
            if name == structures
            else f"labels.labeller: the contents of {name} are others"
            for name in changed
        ]

    def _note_versions(self) -> None:
        write_text(self.path / "versions.json", json.dumps(_versions(), indent=1) + "\n")

    def once(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        """The result of a stage: read if it has been committed, else computed, committed and read."""
        folder = self._generation(generation)
        codec = stages.CODECS[stage]
        manifest = _manifest(folder)
        if stage in manifest:
            _verify(folder, manifest[stage]["files"])
            self.announce(f"generation {generation}: {stages.TITLES[stage]} done before")
            found: T = codec.read(folder)
            _add_metrics(folder, generation, codec.metrics(found))
            return found
        if not self.computed:
            self.computed = True
            self._note_versions()
        folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        value = compute()
        seconds = time.perf_counter() - began
        names = list(codec.write(folder, value))
        _add_metrics(folder, generation, codec.metrics(value), {stage: round(seconds, 3)})
        manifest[stage] = {"files": {name: _sha256(folder / name) for name in names}}
        write_text(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        self.announce(f"generation {generation}: {stages.TITLES[stage]} done in {_duration(seconds)}")
        result: T = codec.read(folder)
        return result

    def reopen_failed_labels(self) -> None:
        """Let the newest label stage ask again for what failed for reasons that are not the geometry's.

        Nothing may have been trained on what came after it. Labels that there are come from the store.

        Raises:
            RunFolderError: If a later committee has been trained without these labels.
        """
        for folder in sorted(self.path.glob("generation-*"), reverse=True):
            manifest = _manifest(folder)
            failures = [error for _, error in stages.label_failures(folder)] if "label" in manifest else []
            labelled = folder / "labelled.extxyz"
            at_fault = [error for error in failures if not error.is_geometry]
            if failures and (at_fault or not labelled.stat().st_size):
                break
        else:
            self._reopen_starting_labels()
            return
        number = int(folder.name.removeprefix("generation-"))
        following = self.path / f"generation-{number + 1:02d}"
        later = _manifest(following)
        if "fit" in later:
            raise RunFolderError(
                f"generation {number} has {len(at_fault)} failed labels, but generation {number + 1} has been trained "
                f"without them; delete {following} and what follows it, then give the same command again"
            )
        if "data" in later:
            del later["data"]
            write_text(following / "manifest.json", json.dumps(later, indent=1) + "\n")
        del manifest["label"]
        write_text(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        self.announce(f"generation {number}: failed labels are asked for again ({len(at_fault) or len(failures)})")

    def _reopen_starting_labels(self) -> None:
        folder = self.path / "generation-01"
        manifest = _manifest(folder)
        failures = stages.starting_failures(folder) if "data" in manifest else []
        at_fault = [error for error in failures if not error.is_geometry]
        if not at_fault:
            self.announce("no failed label to ask for again")
            return
        if "fit" in manifest:
            raise RunFolderError(
                f"generation 1 has {len(at_fault)} failed starting labels, but has been trained without them; delete "
                f"{folder} and what follows it, then give the same command again (labels that there are stay)"
            )
        del manifest["data"]
        write_text(folder / "manifest.json", json.dumps(manifest, indent=1) + "\n")
        self.announce(f"generation 1: failed starting labels are asked for again ({len(at_fault)})")


def stages_done(folder: Path) -> tuple[str, ...]:
    """Which stages of a generation have been committed."""
    return tuple(_manifest(folder))


def read_metrics(folder: Path) -> dict[str, Any]:
    """The numbers of a generation, as far as it has come."""
    return _read_json(folder / "metrics.json", "delete it, and the same `sparring run` makes it again")


def _add_metrics(
    folder: Path, generation: int, metrics: Mapping[str, object], seconds: Mapping[str, float] | None = None
) -> None:
    known = read_metrics(folder)
    timed = {"seconds": {**known.get("seconds", {}), **seconds}} if seconds else {}
    text = json.dumps({"generation": generation, **known, **metrics, **timed}, indent=1) + "\n"
    if json.loads(text) != known:
        write_text(folder / "metrics.json", text)


def _locked(folder: Path) -> Lock:
    try:
        return Lock(folder)
    except BlockingIOError as error:
        raise RunFolderError(str(error)) from error


def _manifest(folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    return _read_json(folder / "manifest.json", _again(folder))


def _read_json(file: Path, remedy: str) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunFolderError(f"{file} cannot be read ({error}); {remedy}") from error
    return content


def _again(folder: Path) -> str:
    return f"restore it, or delete {folder} and the generations after it to compute them again"


def _verify(folder: Path, files: Mapping[str, str]) -> None:
    for name, digest in files.items():
        file = folder / name
        if not file.exists() or _sha256(file) != digest:
            state = "has changed since it was written" if file.exists() else "is missing"
            raise RunFolderError(f"{file} {state}; {_again(folder)}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _is_generations(line: str) -> bool:
    return line.startswith("generations:")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes / 60:.1f} h"
