"""Long computations as jobs: each runs once, in whichever process starts it first, and finished jobs are recognised."""

import fcntl
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

__all__ = ["Busy", "Job", "Outcome", "run_all", "run_jobs"]


class Busy(RuntimeError):
    """A file that a job needs is in use by another process; the job is tried again later."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of a study that is computed by itself.

    Attributes:
        name: Name in messages and of the lock file.
        done: Function that tells if nothing is left to do.
        ready: Function that tells if all inputs exist.
        do: Computation; the file that `done` looks for is written last, at once and complete.
    """

    name: str
    done: Callable[[], bool]
    ready: Callable[[], bool]
    do: Callable[[], None]


class Outcome(NamedTuple):
    """Names of the jobs that were done here, names of those that wait, and errors of those that failed."""

    done: tuple[str, ...]
    waiting: tuple[str, ...]
    failed: dict[str, str]


def run_jobs(
    jobs: Sequence[Job],
    locks: Path,
    *,
    log: Callable[[str], None] = print,
    patience: float = 0.0,
    pause: float = 10.0,
) -> Outcome:
    """Run all jobs that are not done, the first one that is ready first; several processes may run side by side.

    A process that runs a job locks a file of that job. The operating system releases the lock when the process ends, so
    that a killed process leaves no lock behind. A job that fails does not stop the others.

    Args:
        jobs: Jobs by decreasing importance.
        locks: Folder of the lock files.
        log: Function that prints a line of progress.
        patience: Seconds to wait for jobs that are not ready or that other processes run.
        pause: Seconds between two attempts.
    """
    locks.mkdir(parents=True, exist_ok=True)
    done: list[str] = []
    failed: dict[str, str] = {}
    last = time.monotonic()
    while left := [job for job in jobs if job.name not in failed and not job.done()]:
        if _run_first(left, locks, log, done, failed):
            last = time.monotonic()
        elif time.monotonic() - last >= patience:
            break
        else:
            time.sleep(pause)
    return Outcome(tuple(done), tuple(job.name for job in left), failed)


def run_all(jobs: Sequence[Job], locks: Path, *, wait: float = 0.0, only_list: bool = False) -> int:
    """Run what is left and print a summary, or only print what is left; gives the number of jobs that failed.

    Args:
        jobs: Jobs by decreasing importance.
        locks: Folder of the lock files.
        wait: Minutes to wait for jobs of other processes.
        only_list: Switch that prints the list and runs nothing.
    """
    if only_list:
        left = [job for job in jobs if not job.done()]
        print(*(f"{job.name}{'' if job.ready() else ' (not ready)'}" for job in left), sep="\n")
        print(f"{len(left)} of {len(jobs)} jobs left")
        return 0
    outcome = run_jobs(jobs, locks, log=partial(print, flush=True), patience=60 * wait)
    print(f"{len(outcome.done)} done here, {len(outcome.waiting)} waiting, {len(outcome.failed)} failed", flush=True)
    return len(outcome.failed)


def _run_first(
    left: Sequence[Job], locks: Path, log: Callable[[str], None], done: list[str], failed: dict[str, str]
) -> bool:
    """Run the first job that can be run; False if there is none."""
    for job in left:
        if not job.ready():
            continue
        with _locked(locks / f"{job.name.replace('/', ' ')}.lock") as mine:
            if not mine:
                continue
            if job.done():
                return True
            began = time.perf_counter()
            try:
                job.do()
            except Busy:
                continue
            except Exception as error:
                # A study of a hundred jobs must not end because one of them fails.
                failed[job.name] = f"{type(error).__name__}: {error}"
                log(f"{job.name}: failed\n{traceback.format_exc()}")
                return True
            done.append(job.name)
            log(f"{job.name}: done in {time.perf_counter() - began:.0f} s")
            return True
    return False


@contextmanager
def _locked(file: Path) -> Iterator[bool]:
    with file.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
