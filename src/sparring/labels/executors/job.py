"""One label as a job of an executor: it may run in any thread or process that sees the same files."""

from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, NamedTuple

from ase import Atoms

from sparring.labels import scratch
from sparring.labels.base import Label, LabelError
from sparring.labels.executors.stop_file import StopFile
from sparring.labels.launch import Died, Worker
from sparring.labels.limits import Limits
from sparring.labels.processes import Processes
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Began, Outcome, Refused

__all__ = ["Answer", "Ended", "Job", "NotStarted", "compute_label"]

MOST_STARTS = 3
"""Processes in a row that may die before they are ready."""
PAUSE = 0.25
"""Seconds between two checks of the worker, its memory and the stop file."""


class Ended(NamedTuple):
    """The label was not begun, or not finished, because the call was stopped."""


class NotStarted(NamedTuple):
    """Workers died before they were ready."""

    died: Died


class Job(NamedTuple):
    """A structure to label, and all that is needed for it.

    Attributes:
        key: Key of the label.
        atoms: Structure to label.
        method: Method of the labeller, for messages.
        processes: Workers of the labeller.
        store: Store that keeps the label as soon as it is computed; None for none.
        limits: Time and memory of the label.
        failed: Folder for the files of failed labels; None keeps none.
        stop: File that ends the job.
    """

    key: str
    atoms: Atoms
    method: str
    processes: Processes
    store: LabelStore | None
    limits: Limits
    failed: Path | None
    stop: StopFile


class Answer(NamedTuple):
    """Result of a job.

    Attributes:
        result: Label or failure; or the end of the worker, which deserves a second try; or an error that is not the
            structure's and ends the call.
        seconds: Time that the label took, whatever came of it.
    """

    result: Outcome | Died | NotStarted | Refused | Ended | Exception
    seconds: float = 0.0


def compute_label(job: Job) -> Answer:
    """Compute a label in a worker, which is started if none is idle, and ended if it passes a limit.

    Args:
        job: Structure to label, and all that is needed for it.
    """
    died = None
    for _ in range(MOST_STARTS):
        if job.stop.begin_no_more:
            return Answer(Ended())
        worker = job.processes.take()
        try:
            worker.give(job.key, job.atoms, job.store)
            message = _message(worker, job)
        except BaseException:
            _ended(worker, job)
            raise
        seconds = worker.seconds
        if worker.ready or not isinstance(message, Died):
            return Answer(_released(worker, job, message), seconds)
        died = message
        job.processes.end(worker)
    assert died is not None
    return Answer(NotStarted(died))


def _message(worker: Worker, job: Job) -> Any:  # noqa: ANN401 - a pipe has no types
    """The answer of a worker, or its end, or the failure of one that has passed a limit."""
    while True:
        remaining = worker.remaining(job.limits)
        pause = PAUSE if remaining is None else max(0.0, min(PAUSE, remaining))
        if wait([worker.connection], pause):
            message = worker.receive()
            if message is not None and not isinstance(message, Began):
                return message
        # A process that it has forked may hold the pipe open.
        elif not worker.is_alive and not worker.connection.poll():
            return worker.died()
        if job.stop.end_now:
            return Ended()
        remaining = worker.remaining(job.limits)
        if remaining is not None and remaining <= 0 and not worker.connection.poll():
            return job.limits.too_slow(job.method) if worker.ready else worker.died()
        if job.limits.memory is not None and (held := worker.memory()) > job.limits.memory:
            return job.limits.too_large(job.method, held)


def _released(worker: Worker, job: Job, message: Any) -> Any:  # noqa: ANN401 - a pipe has no types
    """Release the worker and the folder of a label that is done or has failed."""
    if isinstance(message, Outcome):
        message = _filed(worker.task_folder, job, message)
        job.processes.give_back(worker)
        return message
    if isinstance(message, LabelError):
        # Ended before its files are moved, for it may still write.
        _ended(worker, job, keep_folder=True)
        message = LabelError(message.reason, message.message + scratch.output_of(worker.task_folder))
        message = _filed(worker.task_folder, job, Outcome(message, computed=True))
        scratch.remove(worker.folder)
        return message
    if isinstance(message, Died) and job.failed is not None:
        error = LabelError("crashed", f"{job.method} ended its process ({message})")
        scratch.keep(worker.task_folder, job.failed, job.key, job.atoms, error)
    _ended(worker, job)
    if not isinstance(message, Died | Refused | Ended | Exception):
        # A labeller has written into the pipe.
        return Died(None, f"; it sent {message!r:.80}")
    return message


def _ended(worker: Worker, job: Job, *, keep_folder: bool = False) -> None:
    """End a worker, and the reservation of its label: only on its own machine is it known that it has ended."""
    job.processes.end(worker, keep_folder=keep_folder)
    if job.store is not None:
        job.store.release(job.key)


def _filed(folder: Path, job: Job, outcome: Outcome) -> Outcome:
    """Keep the folder of a failure, and remove all others."""
    result = outcome.result
    error = result if isinstance(result, LabelError) else None
    if isinstance(result, Label) and not result.converged and outcome.computed:
        error = LabelError("not_converged", f"{result.method} did not converge")
    files = None
    if error is not None and job.failed is not None:
        files = scratch.keep(folder, job.failed, job.key, job.atoms, error)
    scratch.remove(folder)
    if isinstance(result, LabelError) and files is not None:
        outcome = outcome._replace(result=LabelError(result.reason, result.message, files))
    return outcome._replace(files=files)
