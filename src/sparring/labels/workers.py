"""Workers that compute labels: one may exit, hang or be ended without harm to the run and to other labels."""

import functools
import logging
import os
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from ase import Atoms

from sparring.labels.base import Label, LabelError, Labeller
from sparring.labels.executors.calls import MOST_LOST, Calls, Lost
from sparring.labels.executors.core_hours import CoreHours
from sparring.labels.executors.job import MOST_STARTS, Answer, Ended, Job, NotStarted, compute_label
from sparring.labels.executors.restartable import ExecutorError, RestartableExecutor
from sparring.labels.executors.stop_file import NO_MORE, NOW, StopFile
from sparring.labels.in_process import is_own_code, outcomes_here
from sparring.labels.launch import Died, recipe
from sparring.labels.limits import Limits
from sparring.labels.processes import Processes
from sparring.labels.sharing import shared_outcomes
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Outcome, Refused

__all__ = ["MakeExecutor", "Outcomes", "Workers"]

logger = logging.getLogger(__name__)

MakeExecutor = Callable[[], Executor]
"""Function that makes an executor, also another one if the first is broken."""


Outcomes = Generator[tuple[str, Outcome], None, None]
"""Labels and failures by their keys, as they come."""


class Workers:
    """Processes that compute the labels of one labeller, each in a scratch folder of its own.

    Jobs go through an executor: by default a thread for each worker of this machine. Wherever a job runs, its label is
    computed in another process, which is started when it is needed and stays for the next label, so that optimisers do
    not wait for a start at each step. All of them end with this object or with the process, also if that is killed, and
    so do the programs that they have started.

    Formulas of this package are computed in this process. So are labels of an object that cannot be sent to another
    process, if one worker is wanted; this is logged.

    Args:
        labeller: Labeller that computes the labels.
        n_workers: Number of labels at once, on this machine; an executor that is given has its own number.
        limits: Time and memory of a label; `Limits()` if left out.
        failed: Folder in which the scratch folders of failed labels are kept, under the key of the label; None keeps
            none.
        executor: Executor of the jobs, or a function that makes one, which is called again if that one breaks. One that
            is given stays open. None for this machine.
        threads: Number of threads of a label.
        core_hours: Account of the time that labels take, with their budget.

    Raises:
        ValueError: If there is more than one process, and the labeller cannot be pickled.
    """

    def __init__(
        self,
        labeller: Labeller,
        n_workers: int = 1,
        *,
        limits: Limits | None = None,
        failed: Path | None = None,
        executor: Executor | MakeExecutor | None = None,
        threads: int = 1,
        core_hours: CoreHours | None = None,
    ) -> None:
        self.labeller = labeller
        self.n_workers = max(1, n_workers)
        self.limits = limits or Limits()
        self.failed = None if failed is None else failed.absolute()
        self.threads = threads
        self.core_hours = core_hours or CoreHours()
        self.processes: Processes | None = None
        self._why_here = ""
        if is_own_code(labeller):
            return
        self._executor, self._is_own = _executor_of(executor, self.n_workers)
        try:
            self.processes = Processes(recipe(labeller, threads))
        except ValueError as error:
            if n_workers > 1 or executor is not None:
                raise ValueError(
                    f"{labeller.method} cannot be sent to a worker process ({error}); take n_workers=1 and no "
                    "executor, or give the calculator by name to ASECalculator"
                ) from error
            self._why_here = str(error)
        else:
            own = self._executor if self._is_own else None
            weakref.finalize(self, _close, self.processes, own, os.getpid())

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
        return self._one("label", atoms, None)

    def __enter__(self) -> "Workers":
        """Close at the end of a block."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End the processes."""
        self.close()

    def close(self) -> None:
        """End the processes, and the executor if it was not given. Another label starts new ones."""
        if self.processes is not None:
            _close(self.processes, self._executor if self._is_own else None, os.getpid())

    def obtain(self, atoms: Atoms, store: LabelStore) -> Label:
        """One label, from the store or computed and kept there.

        Raises:
            LabelError: If the structure has no label.
        """
        key = store.key(atoms, self.labeller)
        found = store.get(key)
        return found if found is not None else self._one(key, atoms, store)

    def _one(self, key: str, atoms: Atoms, store: LabelStore | None) -> Label:
        (outcome,) = (outcome for _, outcome in self.outcomes({key: atoms}, store))
        if isinstance(outcome.label, LabelError):
            raise outcome.label
        return outcome.label

    def outcomes(self, tasks: Mapping[str, Atoms], store: LabelStore | None) -> Outcomes:
        """Compute labels, in the order in which they finish; those that other runs on the store compute come last.

        A structure that ends its process is computed once more, alone, before it counts as failed. One whose worker is
        lost with the executor, or with its machine, is computed again up to three times.

        Args:
            tasks: Structures by the keys of their labels.
            store: Store that keeps each label as soon as it is computed, even if this process is killed then.

        Raises:
            ValueError: If the labeller cannot be made in a worker.
            ExecutorError: If workers die before they are ready, or the executor cannot be used.
            BudgetUsedUp: If the budget of core hours is used up.
        """
        if not tasks:
            return
        if self._why_here:
            logger.warning(
                "%s computes in the main process, without limits of time and memory, because it cannot be sent to "
                "another (%s)",
                self.labeller.method,
                self._why_here,
            )
            self._why_here = ""
        compute = functools.partial(self._computed, Counter[str]())
        yield from shared_outcomes(compute, tasks, store, self.limits.time)

    def _computed(self, n_lost: Counter[str], tasks: Mapping[str, Atoms], store: LabelStore | None) -> Outcomes:
        if self.processes is None:
            yield from outcomes_here(tasks, self.labeller, store)
            return
        self.core_hours.require()
        store = None if store is None else LabelStore(store.folder.resolve())
        stop = StopFile(None if store is None else store.folder)
        calls = Calls(self._executor, compute_label, n_lost)
        jobs = {key: self._job(key, atoms, self.processes, store, stop) for key, atoms in tasks.items()}
        try:
            yield from self._outcomes(jobs, calls, stop)
        finally:
            if calls.n_pending:
                stop.write(NOW)
                calls.end()
            if not calls.n_pending:
                stop.remove()
            self.core_hours.write()
        self.processes.keep_idle(1)

    def _job(self, key: str, atoms: Atoms, processes: Processes, store: LabelStore | None, stop: StopFile) -> Job:
        return Job(key, _sendable(atoms), self.labeller.method, processes, store, self.limits, self.failed, stop)

    def _outcomes(self, jobs: Mapping[str, Job], calls: "Calls[Answer]", stop: StopFile) -> Outcomes:
        died: dict[str, Job] = {}
        n_left_out = 0
        for key, answer in calls.answers(jobs):
            result = self._counted(answer, stop)
            if isinstance(result, Died):
                died[key] = jobs[key]
            elif isinstance(result, Ended):
                n_left_out += 1
            else:
                yield key, result
        # Alone, a structure has all the memory there is.
        for key, job in died.items():
            for _, answer in calls.answers({key: job}):
                result = self._counted(answer, stop)
                if isinstance(result, Ended):
                    n_left_out += 1
                else:
                    yield key, self._crashed(key, result) if isinstance(result, Died) else result
        if n_left_out:
            self.core_hours.require()
            raise ExecutorError(f"{n_left_out} labels were given up because {stop} appeared; run the command again")

    def _counted(self, answer: Answer | Lost, stop: StopFile) -> Outcome | Died | Ended:
        """The result of a job, once its time is counted; errors that no structure causes are raised."""
        if isinstance(answer, Lost):
            return Outcome(_lost(self.labeller, answer), computed=True)
        result = answer.result
        if not isinstance(result, Ended) and answer.seconds:
            self.core_hours.add(answer.seconds, self.threads)
            if self.core_hours.used_up:
                stop.write(NO_MORE)
        if isinstance(result, NotStarted):
            raise ExecutorError(_not_started(self.labeller, result.died))
        if isinstance(result, Refused):
            raise ValueError(f"{self.labeller.method} cannot be made in a worker process ({result.message})")
        if isinstance(result, Exception):
            raise result
        return result

    def _crashed(self, key: str, died: Died) -> Outcome:
        message = (
            f"{self.labeller.method} ended its process twice ({died}), the second time alone{died.output}; "
            "`sparring run --retry-failed` computes it again"
        )
        files = self.failed / key if self.failed is not None and (self.failed / key).is_dir() else None
        return Outcome(LabelError("crashed", message, files), computed=True, files=files)


def _executor_of(executor: Executor | MakeExecutor | None, n_workers: int) -> tuple[Executor, bool]:
    """The executor of jobs, and True if it is to be closed with the workers."""
    if isinstance(executor, Executor):
        return executor, False
    if executor is not None:
        return RestartableExecutor(executor), True
    return RestartableExecutor(lambda: ThreadPoolExecutor(n_workers, thread_name_prefix="sparring-label")), True


def _close(processes: Processes, executor: Executor | None, owner: int) -> None:
    if os.getpid() != owner:
        return
    if executor is not None:
        executor.shutdown(wait=True, cancel_futures=True)
    processes.close()


def _sendable(atoms: Atoms) -> Atoms:
    """A copy without a calculator, which may not be picklable."""
    copy: Atoms = atoms.copy()
    copy.calc = None
    return copy


def _lost(labeller: Labeller, lost: Lost) -> LabelError:
    remedy = (
        "the executor cannot be used any more; give a function that makes one, which is called again, in place of it"
        if lost.for_good
        else f"a label is computed again up to {MOST_LOST} times; look for processes or machines that were ended, by "
        "their memory or their time limit"
    )
    error = f"{type(lost.error).__name__}: {lost.error}".removesuffix(": ")
    return LabelError("worker_lost", f"{labeller.method} lost its worker ({error}); {remedy}")


def _not_started(labeller: Labeller, died: Died) -> str:
    printed = f"; it printed: {died.output}" if died.output else ""
    return (
        f"{MOST_STARTS} worker processes for {labeller.method} ended before they were ready ({died}){printed}. Look "
        "whether the labeller's package can be imported by itself, and whether there is memory and room in the folder "
        "for temporary files (TMPDIR)"
    )
