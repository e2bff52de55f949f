"""The run folder while a run writes it: one folder a generation, one atomic commit a stage, and a lock on the whole.

A stage is committed when the generation's ``manifest.json`` names its files and their SHA-256. A committed result is
read rather than computed again, also right after it was computed, so that a run that was killed and resumed uses the
same numbers as one that was not interrupted.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sparring.config import Config, settled
from sparring.runs import stages
from sparring.runs.claim import claim, write_versions
from sparring.runs.generation import METRICS, Generation, RunFolderError
from sparring.runs.reopening import reopen_failed_labels, write_manifest
from sparring.runs.saved_run import SavedRun
from sparring.support.digest import file_digest
from sparring.support.files import write_text
from sparring.support.lock import Lock

__all__ = ["RunFolder", "RunFolderError", "read_metrics", "stages_done"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


class RunFolder(AbstractContextManager["RunFolder"]):
    """A run folder that is locked while it is open, and to which stages are committed.

    Args:
        path: Path of the folder; it is created if necessary.
        config: Configuration of the run.
        log: Function that is called with one line for each stage that is found or committed.

    Attributes:
        saved: Read-only view of the folder.
        computed: True if a stage has been computed since the folder was opened.

    Raises:
        RunFolderError: If another process has the folder open, or it belongs to another configuration.
    """

    def __init__(self, path: Path, config: Config, log: Callable[[str], None] | None = None) -> None:
        self.saved = SavedRun(path)
        self.config = settled(config, path)
        self.log = log or logger.info
        self.computed = False
        self._lock: Lock | None = None

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return self.saved.folder

    def __enter__(self) -> "RunFolder":
        """Lock the folder, then claim it for the configuration."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        try:
            claim(self.saved, self.config, self.log)
            # Left by a run that was killed while it wrote; no other process writes here as long as the lock is held.
            for unfinished in self.path.glob("generation-*/.*.tmp"):
                unfinished.unlink()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()

    def cached(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        """The result of a stage, which is computed and committed first if it has not been; as the loop calls it.

        Args:
            generation: Number of the generation, from 1.
            stage: Name of the stage.
            compute: Function that computes the result.

        Raises:
            RunFolderError: If a committed file is missing or has changed.
        """
        saved, codec = self.saved.generation(generation), stages.CODECS[stage]
        manifest = saved.manifest
        if stage in manifest:
            _verify(saved, manifest[stage]["files"])
            self.log(f"generation {generation}: {stages.TITLES[stage]} done before")
            result: T = codec.read(saved.folder)
            _add_metrics(saved, codec.metrics(result))
            return result
        if not self.computed:
            self.computed = True
            write_versions(self.saved)
        saved.folder.mkdir(exist_ok=True)
        began = time.perf_counter()
        value = compute()
        seconds = time.perf_counter() - began
        names = list(codec.write(saved.folder, value))
        _add_metrics(saved, codec.metrics(value), {stage: round(seconds, 3)})
        manifest[stage] = {"files": {name: file_digest(saved.folder / name) for name in names}}
        write_manifest(saved, manifest)
        self.log(f"generation {generation}: {stages.TITLES[stage]} done in {_duration(seconds)}")
        result = codec.read(saved.folder)
        return result

    def reopen_failed_labels(self) -> None:
        """Open the newest stage with failed labels again; see :func:`sparring.runs.reopening.reopen_failed_labels`."""
        reopen_failed_labels(self.saved, self.log)


def stages_done(folder: Path) -> tuple[str, ...]:
    """Names of the committed stages of a generation, by its folder."""
    return Generation(folder).stages_done


def read_metrics(folder: Path) -> dict[str, Any]:
    """Numbers of the stages of a generation so far, by its folder."""
    return Generation(folder).metrics()


def _add_metrics(
    generation: Generation, metrics: Mapping[str, object], seconds: Mapping[str, float] | None = None
) -> None:
    known = generation.metrics()
    timed = {"seconds": {**known.get("seconds", {}), **seconds}} if seconds else {}
    text = json.dumps({"generation": generation.number, **known, **metrics, **timed}, indent=1) + "\n"
    if json.loads(text) != known:
        write_text(generation.folder / METRICS, text)


def _locked(folder: Path) -> Lock:
    try:
        return Lock(folder)
    except BlockingIOError as error:
        raise RunFolderError(str(error)) from error


def _verify(generation: Generation, files: Mapping[str, str]) -> None:
    for name, expected in files.items():
        file = generation.folder / name
        if not file.exists() or file_digest(file) != expected:
            state = "has changed since it was written" if file.exists() else "is missing"
            raise RunFolderError(f"{file} {state}; {generation.remedy}")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes / 60:.1f} h"
