"""The run folder while a run writes it: one folder a generation, one atomic commit a stage, and a lock on the whole.

A stage is committed when the generation's ``manifest.json`` names its files and their SHA-256, and the link of the
stage before it; see :mod:`sparring.runs.manifests`. A committed result is read rather than computed again, also right
after it was computed, so that a run that was killed and resumed uses the same numbers as one that was not interrupted.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from sparring.config import Config, settled
from sparring.runs import stages
from sparring.runs.checks import metrics_text
from sparring.runs.claim import claim, require_claimable, versions_now
from sparring.runs.derived import derived_folders, mend_derived, report_is_older
from sparring.runs.disk import room_left
from sparring.runs.generation import MANIFEST, METRICS, Generation
from sparring.runs.manifests import (
    RunFolderError,
    RunManifest,
    links_of,
    metrics_of,
    write_run_manifest,
    write_stages,
)
from sparring.runs.reopening import reopen_failed_labels
from sparring.runs.saved_run import SavedRun
from sparring.support.digest import file_digest
from sparring.support.faults import fault_point
from sparring.support.files import sync_folder, write_text
from sparring.support.lock import Lock, LockLostError
from sparring.support.stopping import stops_postponed

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
        self._mended = False
        self._manifest: RunManifest

    @property
    def path(self) -> Path:
        """Path of the folder."""
        return self.saved.folder

    def __enter__(self) -> "RunFolder":
        """Lock the folder, then claim it for the configuration; a folder that is refused is left as it is."""
        require_claimable(self.saved, self.config)
        with room_left(self.path, "it began"):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.path)
            try:
                self._manifest = claim(self.saved, self.config, self.log)
                self._remove_unfinished()
                self._mended = mend_derived(self.saved, self.log)
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
        done = saved.manifest
        if stage in done:
            self.log(f"generation {generation}: {stages.TITLES[stage]} done before")
            result: T = codec.read(saved.folder)
            if metrics_of(generation, done) is None:  # of an older version
                self._write_metrics(saved, codec.metrics(result))
            return result
        self.computed = True
        with room_left(self.path, f"it committed generation {generation}: {stages.TITLES[stage]}"):
            if not saved.folder.exists():
                saved.folder.mkdir()
                sync_folder(self.path)
            began = time.perf_counter()
            value = compute()
            seconds = time.perf_counter() - began
            with stops_postponed():
                self._require_lock()
                names = list(codec.write(saved.folder, value))
                self._commit(saved, stage, names, codec.metrics(value), round(seconds, 3))
        self.log(f"generation {generation}: {stages.TITLES[stage]} done in {_duration(seconds)}")
        result = codec.read(saved.folder)
        return result

    @property
    def needs_report(self) -> bool:
        """True if there is no report, if it shows an older state of the run, or if one of its files was damaged."""
        return self._mended or not self.saved.report.exists() or report_is_older(self.path)

    def note_derived(self) -> None:
        """Note which folders have checksums of files that can be made again, so that these are missed."""
        places = derived_folders(self.path, self.saved.generations())
        names = tuple(str(place.relative_to(self.path)) for place in places)
        self._require_lock()
        self._manifest = write_run_manifest(self.path, replace(self._manifest, derived=names))

    def _commit(
        self, saved: Generation, stage: str, names: Sequence[str], metrics: Mapping[str, object], seconds: float
    ) -> None:
        """Commit a stage whose files are written: first in the manifest of the generation, then in that of the run."""
        done, versions = saved.manifest, versions_now()
        heads, identity = self._manifest.heads, self._manifest.identity
        after = heads.get(saved.folder.name) or heads.get(saved.before.folder.name) or identity
        entry = {
            "files": {name: file_digest(saved.folder / name) for name in names},
            "after": after,
            "metrics": dict(metrics),
            "seconds": seconds,
            "versions": versions,
        }
        self._require_lock()
        with fault_point("commit", saved.folder / MANIFEST):
            write_stages(saved.folder, {**done, stage: entry})
        self._manifest = replace(self.saved.manifest or self._manifest, versions=versions)
        self._manifest = self._manifest.with_head(saved.folder.name, links_of({stage: entry}, after)[-1])
        self._manifest = write_run_manifest(self.path, self._manifest)
        self._write_metrics(saved, metrics, {stage: seconds})

    def _write_metrics(
        self, saved: Generation, metrics: Mapping[str, object], seconds: Mapping[str, float] | None = None
    ) -> None:
        """Write the numbers of a generation where people and other programs find them."""
        known = metrics_of(saved.number, saved.manifest)
        if known is None:
            before = saved.metrics()
            timed = {"seconds": {**before.get("seconds", {}), **seconds}} if seconds else {}
            known = {"generation": saved.number, **before, **metrics, **timed}
        text, file = metrics_text(known), saved.folder / METRICS
        if not file.exists() or file.read_bytes() != text.encode():
            write_text(file, text)

    def _require_lock(self) -> None:
        assert self._lock is not None
        try:
            self._lock.require()
        except LockLostError as error:
            raise RunFolderError(str(error)) from error

    def _remove_unfinished(self) -> None:
        """Remove what a run that was killed has left; no other process writes here as long as the lock is held."""
        for folder in (self.path, *(one.folder for one in self.saved.generations())):
            for unfinished in folder.glob(".*.tmp"):
                if unfinished.is_file():
                    unfinished.unlink()

    def reopen_failed_labels(self) -> None:
        """Open the newest stage with failed labels again; see :func:`sparring.runs.reopening.reopen_failed_labels`."""
        reopen_failed_labels(self.saved, self.log)
        self._manifest = self.saved.manifest or self._manifest


def stages_done(folder: Path) -> tuple[str, ...]:
    """Names of the committed stages of a generation, by its folder."""
    return Generation(folder).stages_done


def read_metrics(folder: Path) -> dict[str, Any]:
    """Numbers of the stages of a generation so far, by its folder."""
    return Generation(folder).metrics()


def _locked(folder: Path) -> Lock:
    try:
        return Lock(folder)
    except BlockingIOError as error:
        raise RunFolderError(str(error)) from error


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 100 else f"{minutes / 60:.1f} h"
