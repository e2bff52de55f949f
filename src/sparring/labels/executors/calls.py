"""Calls by an executor, in whatever order it finishes them: lost ones are done again, and all end together."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar

from sparring.labels.executors.restartable import ExecutorError, RestartableExecutor, WorkerLost
from sparring.support.faults import fault_point

__all__ = ["MOST_LOST", "Calls", "Lost"]

logger = logging.getLogger(__name__)

MOST_LOST = 3
"""Number of times that a job is done again after its worker was lost."""
PATIENCE = 10.0
"""Seconds in which jobs that were told to end have to end, before the executor is left alone with them."""
TICK = 1.0
"""Seconds between two looks at what has come while nothing comes."""

T = TypeVar("T")


class Lost(NamedTuple):
    """A job whose worker was lost each time.

    Attributes:
        error: The last reason.
        n_tries: Number of times that it was tried.
        for_good: True if the executor is broken and cannot be made again.
    """

    error: BaseException
    n_tries: int
    for_good: bool


class Calls(Generic[T]):
    """Calls of one function by an executor.

    Args:
        executor: Executor of the calls.
        function: Function that an executor can import.
        n_lost: Number of losses by the names of calls, if earlier calls count, too.
    """

    def __init__(self, executor: Executor, function: Callable[[Any], T], n_lost: Counter[str] | None = None) -> None:
        self._executor = executor
        self._function = function
        self._done: SimpleQueue[Future[T]] = SimpleQueue()
        self._pending: dict[Future[T], tuple[str, int]] = {}
        self._n_lost: Counter[str] = Counter() if n_lost is None else n_lost
        self._progress_of = 0

    @property
    def n_pending(self) -> int:
        """Number of calls that have not ended."""
        return len(self._pending)

    def answers(self, arguments: Mapping[str, Any]) -> Iterator[tuple[str, T | Lost]]:
        """Results by the names of the calls, in the order in which they come.

        Args:
            arguments: Arguments by the names of the calls.

        Raises:
            ExecutorError: If the executor cannot do the calls, as when it cannot import the function.
        """
        for key in arguments:
            self._submit(key, arguments[key])
        while self._pending:
            try:
                future = self._done.get(timeout=TICK)
            except Empty:
                continue
            key, number = self._pending.pop(future)
            error = _error_of(future)
            if error is None:
                self._progress_of = number
                yield key, future.result()
            elif not _is_loss(error):
                raise (
                    error
                    if isinstance(error, ExecutorError)
                    else ExecutorError(
                        f"the executor failed ({type(error).__name__}: {error}). Look whether its processes can import "
                        "sparring, and whether they see the same files"
                    )
                ) from error
            elif (lost := self._lost(key, number, error)) is not None:
                yield key, lost
            else:
                self._submit(key, arguments[key])

    def end(self) -> None:
        """Cancel what has not begun, and wait for a moment for what was told to end."""
        for future in list(self._pending):
            future.cancel()
        deadline = time.monotonic() + PATIENCE
        while self._pending and (left := deadline - time.monotonic()) > 0:
            try:
                self._pending.pop(self._done.get(timeout=left), None)
            except Empty:
                break

    def _submit(self, key: str, argument: Any) -> None:  # noqa: ANN401 - the function knows
        fault_point("executor")
        try:
            future = self._executor.submit(self._function, argument)
        except RuntimeError as error:
            if not isinstance(error, BrokenExecutor) and "after shutdown" not in str(error):
                raise
            # It broke, or was shut down, after the last job: this one has been lost before it was begun.
            future = Future()
            future.set_exception(BrokenExecutor(str(error)))
        self._pending[future] = (key, self._number)
        future.add_done_callback(self._done.put)

    @property
    def _number(self) -> int:
        return self._executor.n_made if isinstance(self._executor, RestartableExecutor) else 0

    def _lost(self, key: str, number: int, error: BaseException) -> Lost | None:
        """Make room for another try; the failure if there have been enough."""
        # All jobs of a pool are lost with one of its processes. Who is to blame shows when nothing else is left.
        if isinstance(error, WorkerLost) or self._progress_of != number:
            self._n_lost[key] += 1
        n_tries = self._n_lost[key]
        for_good = not isinstance(error, WorkerLost) and not isinstance(self._executor, RestartableExecutor)
        logger.info("a worker was lost (%s: %s) with %s", type(error).__name__, error, key)
        if for_good or n_tries > MOST_LOST:
            return Lost(error, max(1, n_tries), for_good)
        if not isinstance(error, WorkerLost) and isinstance(self._executor, RestartableExecutor):
            self._executor.restart(number)
        return None


def _error_of(future: Future[T]) -> BaseException | None:
    try:
        return future.exception()
    except CancelledError as error:
        return error


def _is_loss(error: BaseException) -> bool:
    """True if the job may succeed with another worker. CancelledError is no Exception in some versions of Python."""
    return isinstance(error, BrokenExecutor | WorkerLost | CancelledError) or not isinstance(error, Exception)
