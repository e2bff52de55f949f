"""Worker processes that compute labels: one may exit, hang or be ended without harm to the run and to other labels."""

import logging
import weakref
from collections import deque
from collections.abc import Iterator, Mapping
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from ase import Atoms

from sparring.labels import scratch
from sparring.labels.base import Label, LabelError, Labeller
from sparring.labels.in_process import is_own_code, outcomes_here
from sparring.labels.launch import Died, Worker, recipe
from sparring.labels.limits import Limits
from sparring.labels.processes import Processes
from sparring.labels.sharing import shared_outcomes
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Outcome, Refused

__all__ = ["Workers"]

logger = logging.getLogger(__name__)

MOST_STARTS = 3
"""Processes in a row that may die before they are ready."""
PAUSE = 1.0
"""Seconds between two checks that the workers run."""
MEMORY_PAUSE = 0.25
"""Seconds between two checks of the memory."""


class Workers:
    """Processes with one thread each that compute the labels of one labeller.

    They are started when they are needed. One stays for the next label, so that optimisers do not wait for a start at
    each step. All of them end with this object or with the process, also if that is killed, and so do the
    programs that they have started. Each label is computed in a scratch folder of its own, which is removed afterwards.

    Formulas of this package are computed in this process. So are labels of an object that cannot be sent to another
    process, if one worker is wanted; this is logged.

    Args:
        labeller: Labeller that computes the labels.
        n_workers: Number of processes.
        limits: Time and memory of a label; `Limits()` if left out.
        failed: Folder in which the scratch folders of failed labels are kept, under the key of the label; None keeps
            none.

    Raises:
        ValueError: If there is more than one process, and the labeller cannot be pickled.
    """

    def __init__(
        self, labeller: Labeller, n_workers: int = 1, *, limits: Limits | None = None, failed: Path | None = None
    ) -> None:
        self.labeller = labeller
        self.n_workers = max(1, n_workers)
        self.limits = limits or Limits()
        self.failed = failed
        self._processes: Processes | None = None
        self._why_here = ""
        if is_own_code(labeller):
            return
        try:
            self._processes = Processes(recipe(labeller))
        except ValueError as error:
            if n_workers > 1:
                raise ValueError(
                    f"{labeller.method} cannot be sent to a worker process ({error}); take n_workers=1, or give the "
                    "calculator by name to ASECalculator"
                ) from error
            self._why_here = str(error)
        else:
            weakref.finalize(self, Processes.close, self._processes)

    @property
    def method(self) -> str:
        """The labeller's method: this object is itself a labeller."""
        return self.labeller.method

    @property
    def version(self) -> str:
        """The labeller's version."""
        return self.labeller.version

    def __call__(self, atoms: Atoms) -> Label:
        """One label that is not kept.

        Raises:
            LabelError: If the structure has no label.
        """
        (outcome,) = (outcome for _, outcome in self.outcomes({"label": atoms}, None))
        if isinstance(outcome.label, LabelError):
            raise outcome.label
        return outcome.label

    def __enter__(self) -> "Workers":
        """Close at the end of a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes. Another label starts new ones."""
        if self._processes is not None:
            self._processes.close()

    def obtain(self, atoms: Atoms, store: LabelStore) -> Label:
        """One label, from the store or computed and kept there.

        Raises:
            LabelError: If the structure has no label.
        """
        key = store.key(atoms, self.labeller)
        found = store.get(key)
        if found is not None:
            return found
        ((_, outcome),) = shared_outcomes(self.outcomes, {key: atoms}, store, self.limits.time)
        if isinstance(outcome.label, LabelError):
            raise outcome.label
        return outcome.label

    def outcomes(self, tasks: Mapping[str, Atoms], store: LabelStore | None) -> Iterator[tuple[str, Outcome]]:
        """Compute labels, in the order in which they finish; `Reserved` stands for one that another run is computing.

        A structure that ends its process is computed once more, alone, before it counts as failed.

        Args:
            tasks: Structures by the keys of their labels.
            store: Store that keeps each label as soon as it is computed, even if this process is killed then.

        Raises:
            ValueError: If the labeller cannot be made in a worker.
            RuntimeError: If workers die before they are ready.
        """
        if self._why_here and tasks:
            logger.warning(
                "%s computes in the main process, without limits of time and memory, because it cannot be sent to "
                "another (%s)",
                self.labeller.method,
                self._why_here,
            )
            self._why_here = ""
        if self._processes is None:
            yield from outcomes_here(tasks, self.labeller, store)
            return
        if store is not None:
            store = LabelStore(store.folder.resolve())
        tasks = {key: _sendable(atoms) for key, atoms in tasks.items()}
        died: dict[str, Atoms] = {}
        for key, outcome in self._answers(tasks, store, self.n_workers):
            if isinstance(outcome, Died):
                died[key] = tasks[key]
            else:
                yield key, outcome
        # Alone, a structure has all the memory there is.
        for key, outcome in self._answers(died, store, 1):
            if isinstance(outcome, Died):
                outcome = self._crashed(key, died[key], outcome)
            yield key, outcome
        self._processes.keep_one()

    def _answers(
        self, tasks: Mapping[str, Atoms], store: LabelStore | None, n_workers: int
    ) -> Iterator[tuple[str, Outcome | Died]]:
        """Share tasks out among processes, one at a time to each, so that a death has one victim."""
        assert self._processes is not None
        queue, busy, n_starts = deque(tasks), dict[Any, Worker](), 0
        try:
            while queue or busy:
                while queue and len(busy) < n_workers:
                    worker = self._processes.take()
                    busy[worker.connection] = worker
                    key = queue.popleft()
                    worker.give(key, tasks[key], store)
                for worker, message in self._messages(busy):
                    if message is None:
                        n_starts = 0
                        continue
                    del busy[worker.connection]
                    key, ready = str(worker.key), worker.ready
                    answer = self._taken_back(worker, tasks[key], message)
                    if ready:
                        yield key, answer
                        continue
                    n_starts += 1
                    if n_starts == MOST_STARTS:
                        raise RuntimeError(_not_started(self.labeller, message))
                    queue.appendleft(key)
        finally:
            for worker in busy.values():
                self._processes.end(worker)

    def _messages(self, busy: Mapping[Any, Worker]) -> Iterator[tuple[Worker, Any]]:
        """Next messages: answers, ended processes, and failures of those that have passed a limit."""
        method, limits = self.labeller.method, self.limits
        waits = [one for worker in busy.values() if (one := worker.remaining(limits)) is not None]
        waits.append(PAUSE if limits.memory is None else MEMORY_PAUSE)
        answered = wait(list(busy), max(0.0, min(waits)))
        for worker in [busy[connection] for connection in answered]:
            yield worker, worker.receive()
        for worker in list(busy.values()):
            if worker.connection in answered:
                continue
            remaining = worker.remaining(limits)
            if not worker.is_alive and not worker.connection.poll():
                # A process that it has forked holds the pipe open.
                yield worker, worker.died()
            elif remaining is not None and remaining <= 0:
                yield worker, limits.too_slow(method) if worker.ready else worker.died()
            elif limits.memory is not None and (held := worker.memory()) > limits.memory:
                yield worker, limits.too_large(method, held)

    def _taken_back(self, worker: Worker, atoms: Atoms, message: Any) -> Any:  # noqa: ANN401 - a pipe has no types
        """Release the process and the folder of a label that is done or has failed."""
        assert self._processes is not None
        if isinstance(message, Outcome):
            message = self._filed(worker.task_folder, str(worker.key), atoms, message)
            self._processes.give_back(worker)
            return message
        if isinstance(message, LabelError):
            # Ended before its files are moved, for it may still write.
            self._processes.end(worker, keep_folder=True)
            message = LabelError(message.reason, message.message + scratch.output_of(worker.task_folder))
            message = self._filed(worker.task_folder, str(worker.key), atoms, Outcome(message, computed=True))
        elif isinstance(message, Died) and worker.ready and self.failed is not None:
            error = LabelError("crashed", f"{self.labeller.method} ended its process ({message})")
            scratch.keep(worker.task_folder, self.failed, str(worker.key), atoms, error)
        self._processes.end(worker)
        if isinstance(message, Refused):
            raise ValueError(f"{self.labeller.method} cannot be made in a worker process ({message.message})")
        if isinstance(message, Exception):
            raise message
        return message

    def _filed(self, folder: Path, key: str, atoms: Atoms, outcome: Outcome) -> Outcome:
        """Keep the folder of a failure, and remove all others."""
        result = outcome.result
        error = result if isinstance(result, LabelError) else None
        if isinstance(result, Label) and not result.converged and outcome.computed:
            error = LabelError("not_converged", f"{result.method} did not converge")
        files = None
        if error is not None and self.failed is not None:
            files = scratch.keep(folder, self.failed, key, atoms, error)
        scratch.remove(folder)
        if isinstance(result, LabelError) and files is not None:
            outcome = outcome._replace(result=LabelError(result.reason, result.message, files))
        return outcome._replace(files=files)

    def _crashed(self, key: str, atoms: Atoms, died: Died) -> Outcome:
        message = (
            f"{self.labeller.method} ended its process twice ({died}), the second time alone{died.output}; "
            "`sparring run --retry-failed` computes it again"
        )
        files = self.failed / key if self.failed is not None and (self.failed / key).is_dir() else None
        return Outcome(LabelError("crashed", message, files), computed=True, files=files)


def _sendable(atoms: Atoms) -> Atoms:
    """A copy without a calculator, which may not be picklable."""
    copy: Atoms = atoms.copy()
    copy.calc = None
    return copy


def _not_started(labeller: Labeller, died: Died) -> str:
    printed = f"; it printed: {died.output}" if died.output else ""
    return (
        f"{MOST_STARTS} worker processes for {labeller.method} ended before they were ready ({died}){printed}. Look "
        "whether the labeller's package can be imported by itself, and whether there is memory and room in the folder "
        "for temporary files (TMPDIR)"
    )
