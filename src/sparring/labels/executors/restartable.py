"""An executor that can be made again after it broke, as a pool does when one of its processes is killed."""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

__all__ = ["ExecutorError", "RestartableExecutor", "WorkerLost"]


class ExecutorError(RuntimeError):
    """An executor cannot be started or used, for a reason that the user can mend."""


class WorkerLost(Exception):
    """A worker of an executor was lost with the job that it had; the executor itself goes on."""


class RestartableExecutor(Executor):
    """Makes its executor when the first job comes, and another one where that is broken.

    Args:
        make: Function that makes an executor.
    """

    def __init__(self, make: Callable[[], Executor]) -> None:
        self._make = make
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._executor: Executor | None = None
        self.n_made = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:  # noqa: ANN401 - as its base class
        """Hand a job to the executor, which is made if there is none."""
        with self._lock:
            if self._executor is None or self._owner != os.getpid():  # a fork has none of its threads
                self._owner = os.getpid()
                self._executor = self._make()
                self.n_made += 1
            return self._executor.submit(fn, *args, **kwargs)

    def restart(self, number: int) -> None:
        """Give up a broken executor, unless that has been done; the next job makes another one.

        Args:
            number: Value of `n_made` when the job was handed over that has found it broken.
        """
        with self._lock:
            if number == self.n_made:
                self.shutdown(wait=False, cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the executor; another job makes a new one."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None and self._owner == os.getpid():
            # A broken one may not even be able to end.
            with contextlib.suppress(Exception):
                executor.shutdown(wait=wait, cancel_futures=cancel_futures)
