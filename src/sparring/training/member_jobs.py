"""Training of one member by a program, as a job of an executor: it may run in any process that sees the same files."""

import hashlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sparring.labels import guard
from sparring.labels.executors.stop_file import StopFile
from sparring.labels.launch import Guard
from sparring.labels.scratch import tail
from sparring.support.files import write_text
from sparring.support.stopping import SIGNALS, stops_postponed
from sparring.training.reports import TrainingError

__all__ = ["MemberJob", "train_member"]

LOG, DONE = "log.txt", "done.json"
PAUSE = 0.25
"""Seconds between two checks of the program and the stop file."""
GRACE = 1.0
"""Seconds in which this process gets a signal that has ended the program."""


@dataclass(frozen=True, kw_only=True)
class MemberJob:
    """Training of one member.

    Attributes:
        trainer: Name of the program in messages.
        member: Number of the member.
        folder: Folder of the member.
        command: Words of the command.
        model: Path of the model.
        files: Texts of the data files, by name.
        environment: Environment variables beside those of the process.
        time_limit: Longest time in seconds; None for no limit.
        stop: File that ends the training.
        owner: Number of the process that has made the job.
    """

    trainer: str
    member: int
    folder: Path
    command: tuple[str, ...]
    model: Path
    files: Mapping[str, str]
    environment: Mapping[str, str]
    time_limit: float | None
    stop: StopFile
    owner: int = field(default_factory=os.getpid)

    def __str__(self) -> str:
        """Name in messages."""
        return f"trainer {self.trainer!r}, member {self.member + 1}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the command and of the data."""
        return hashlib.sha256(json.dumps([self.command, str(self.model), dict(self.files)]).encode()).hexdigest()

    def is_done(self) -> bool:
        """True if the member has been trained by this command on these data, and its model is as it was."""
        try:
            done = json.loads((self.folder / DONE).read_text(encoding="utf-8"))
            return bool(done == self.record())
        except (OSError, ValueError):
            return False

    def record(self) -> dict[str, str]:
        """Content of the file that records the end of the training."""
        return {"fingerprint": self.fingerprint, "model": _content(self.model)}


def train_member(job: MemberJob) -> TrainingError | None:
    """Train a member, and record that it is done.

    Args:
        job: Training of the member.

    Returns:
        The failure, if it has failed.
    """
    try:
        if job.stop.begin_no_more:
            return TrainingError(f"{job}: stopped before it began")
        if not job.is_done():
            _train(job)
            write_text(job.folder / DONE, json.dumps(job.record(), indent=1) + "\n")
    except TrainingError as error:
        return error
    return None


def _content(file: Path) -> str:
    """SHA-256 of a file, or of all files of a folder."""
    seen = hashlib.sha256()
    for one in sorted(file.rglob("*")) if file.is_dir() else [file]:
        if one.is_file() or one == file:
            seen.update(one.name.encode() + one.read_bytes())
    return seen.hexdigest()


def _train(job: MemberJob) -> None:
    if job.folder.exists():  # of a training that was killed
        shutil.rmtree(job.folder)
    job.folder.mkdir(parents=True)
    for name, text in job.files.items():
        write_text(job.folder / name, text)
    code, log = _run(job), job.folder / LOG
    output = f"; its last lines: {tail(log, 1000)} (all of them: {log})"
    if code:
        raise TrainingError(f"{job}: the program ended with exit code {code}{output}")
    if not job.model.exists():
        raise TrainingError(
            f"{job}: the program ended well but wrote no {job.model}; correct `model` of this trainer{output}"
        )


@dataclass(frozen=True)
class _Guarded:
    """A program as the guard of workers knows them; it has no folder to remove.

    Attributes:
        pid: Process number.
        marker: Value of an environment variable that its descendants inherit.
    """

    pid: int
    marker: str
    folder: str = ""


def _run(job: MemberJob) -> int:
    """Exit code of the program, which ends with this process, however that ends."""
    marker, guarding = uuid.uuid4().hex, Guard(None if job.owner == os.getpid() else os.getppid())
    try:
        with stops_postponed(), (job.folder / LOG).open("wb") as log:
            process = subprocess.Popen(
                job.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=job.folder,
                env={**os.environ, **job.environment, guard.MARKER: marker},
                start_new_session=True,
            )
            guarded = _Guarded(process.pid, marker)
            guarding.add(guarded)
    except OSError as error:
        guarding.close()
        raise TrainingError(
            f"{job}: {job.command[0]!r} cannot be started: {error.strerror}; correct `command` of this trainer"
        ) from error
    try:
        return _exit_code(process, job)
    finally:
        if process.poll() is None:
            guard.end_processes(process.pid, marker)
            process.wait()
        guarding.remove(guarded)
        guarding.close()


def _exit_code(process: "subprocess.Popen[bytes]", job: MemberJob) -> int:
    """Exit code of a program that ends in time."""
    began = time.monotonic()
    while True:
        try:
            code = process.wait(PAUSE)
        except subprocess.TimeoutExpired as error:
            if job.time_limit is not None and time.monotonic() - began > job.time_limit:
                raise TrainingError(
                    f"{job}: the program took longer than {job.time_limit:g} s and was ended; raise "
                    f"training.time_limit, or train less; its last lines: {tail(job.folder / LOG, 1000)}"
                ) from error
            if job.stop.end_now:
                raise TrainingError(f"{job}: stopped") from error
        else:
            if -code in SIGNALS:
                time.sleep(GRACE)  # a batch system sends its signal to this process, too
            return code
