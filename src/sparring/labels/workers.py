"""Processes that compute labels and may die without harm to the others."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import FrameType
from typing import Any, NamedTuple

from ase import Atoms

from sparring.labels.base import Label, LabelError, Labeller, compute
from sparring.labels.store import LabelStore

_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_NOT_STARTED = (
    "a worker process ended before it was ready (exit code {}); its own message is above. A script that labels in "
    "several processes must do so under: if __name__ == '__main__':"
)


class Outcome(NamedTuple):
    """A label or why there is none, and whether anything was computed for it."""

    result: Label | LabelError
    computed: bool


class _Died(NamedTuple):
    exit_code: int | None


def outcomes(
    tasks: Mapping[str, Atoms], labeller: Labeller, store: LabelStore | None, n_workers: int
) -> Iterator[tuple[str, Outcome]]:
    """Compute labels, in the order in which they finish.

    Args:
        tasks: Structures by the keys of their labels.
        labeller: Computes them; picklable if there is more than one worker.
        store: Keeps each as soon as it is computed, whatever happens to this process then.
        n_workers: Number of processes with one thread each. Up to 1, everything happens in this one.
    """
    if n_workers <= 1:
        yield from ((key, _outcome(atoms, labeller, store)) for key, atoms in tasks.items())
        return
    _require_picklable(labeller)
    died: dict[str, Atoms] = {}
    for key, outcome in _in_workers(tasks, labeller, store, n_workers):
        if isinstance(outcome, _Died):
            died[key] = tasks[key]
        else:
            yield key, outcome
    # Alone, a structure has all the memory there is.
    for key, outcome in _in_workers(died, labeller, store, 1):
        if isinstance(outcome, _Died):
            message = (
                f"{labeller.method} ended its process twice (exit code {outcome.exit_code}), the second time alone"
            )
            yield key, Outcome(LabelError("crashed", message), computed=True)
        else:
            yield key, outcome


def _outcome(atoms: Atoms, labeller: Labeller, store: LabelStore | None) -> Outcome:
    try:
        if store is None:
            return Outcome(compute(labeller, atoms), computed=True)
        # Another run with the same store may have been faster.
        return Outcome(*store.obtain(atoms, labeller))
    except LabelError as error:
        return Outcome(error, computed=True)


def _in_workers(
    tasks: Mapping[str, Atoms], labeller: Labeller, store: LabelStore | None, n_workers: int
) -> Iterator[tuple[str, Outcome | _Died]]:
    """Share tasks out among processes, one at a time to each, so that a death has one victim."""
    queue = deque(tasks)
    workers: dict[Any, _Worker] = {}
    try:
        while queue or workers:
            n_busy = sum(worker.key is not None for worker in workers.values())
            while len(workers) < min(n_workers, len(queue) + n_busy):
                worker = _Worker(labeller, store)
                workers[worker.connection] = worker
            for connection in wait(list(workers)):
                worker = workers[connection]
                message = worker.receive()
                if isinstance(message, Exception):
                    raise message
                if worker.key is not None:
                    yield worker.key, message
                elif isinstance(message, _Died):
                    raise RuntimeError(_NOT_STARTED.format(message.exit_code))
                if queue and not isinstance(message, _Died):
                    key = queue.popleft()
                    worker.give(key, tasks[key])
                else:
                    workers.pop(connection).stop()
    finally:
        for worker in workers.values():
            worker.stop(patience=0.0)


class _Worker:
    """A process that computes labels one after another, seen from this one; ``key`` is what it was given last."""

    def __init__(self, labeller: Labeller, store: LabelStore | None) -> None:
        # A fork would inherit this process's threads and locks, which neither torch nor OpenMP survive.
        context = multiprocessing.get_context("spawn")
        self.key: str | None = None
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, labeller, store), daemon=True)
        with _one_thread_for_children():
            self._process.start()
        theirs.close()

    def give(self, key: str, atoms: Atoms) -> None:
        self.key = key
        # If it has just died, that is found when its answer is read.
        with contextlib.suppress(OSError):
            self.connection.send(atoms)

    def receive(self) -> Any:  # noqa: ANN401 - a pipe has no types
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            return _Died(self._process.exitcode)

    def stop(self, patience: float = 5.0) -> None:
        """Let it end of its own accord, then ask it to tidy up and end, then end it."""
        self.connection.close()
        self._process.join(patience)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join(1.0)
            self._process.kill()
        self._process.join()


def _work(connection: Connection, labeller: Labeller, store: LabelStore | None) -> None:
    """What a worker process does until the other end of the pipe is closed."""
    # Ctrl-C reaches every process of a terminal; the parent answers it and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _exit)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send(None)
        while True:
            atoms = connection.recv()
            try:
                message: Outcome | Exception = _outcome(atoms, labeller, store)
            # Not the structure's fault, as a full disk is not: the parent raises it.
            except Exception as error:
                message = error
            connection.send(message)


def _exit(signal_number: int, frame: FrameType | None) -> None:
    sys.exit(128 + signal_number)


@contextlib.contextmanager
def _one_thread_for_children() -> Iterator[None]:
    """The processes share the cores already; libraries read these settings when they are loaded, so set them before."""
    before = {name: os.environ.get(name) for name in _THREAD_SETTINGS}
    os.environ.update(dict.fromkeys(_THREAD_SETTINGS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_picklable(labeller: Labeller) -> None:
    try:
        ForkingPickler.dumps(labeller)
    # What pickling raises depends on what is in the way.
    except Exception as error:
        raise ValueError(
            f"{labeller.method} cannot be sent to a worker process ({error}); take n_workers=1, or give the calculator "
            "by name to ASECalculator"
        ) from error
