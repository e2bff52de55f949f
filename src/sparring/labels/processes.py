"""Running worker processes, and how they begin and end."""

import os
import threading
from typing import Any

from sparring.labels.launch import Guard, Recipe, Worker

__all__ = ["Processes"]


class Processes:
    """Running worker processes of one labeller, and the guard that ends them with this process.

    Threads may share it. A copy that is sent to another process, as to one of an executor, starts its workers there.
    They serve all further copies for the same labeller in that process, and end with it.

    Args:
        ingredients: Everything that a worker needs to make the labeller.
        parent: Process number of the parent of this process, if this process shall end with it.
    """

    def __init__(self, ingredients: Recipe, parent: int | None = None) -> None:
        self._recipe = ingredients
        self._parent = parent
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._guard: Guard | None = None
        self._all: list[Worker] = []
        self._idle: list[Worker] = []
        self._retired = False

    def __reduce__(self) -> tuple[Any, ...]:
        return _copy, (self._recipe,)

    @property
    def running(self) -> tuple[Worker, ...]:
        """Workers that have been started and not ended."""
        return tuple(self._all)

    def take(self) -> Worker:
        """An idle worker, or a new one."""
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                return self._new()
            if worker.is_alive:
                return worker
            self.end(worker)

    def give_back(self, worker: Worker) -> None:
        """Mark a worker as idle."""
        worker.key = None
        if self._retired:
            self.end(worker, patience=2.0)
            return
        with self._lock:
            self._idle.append(worker)

    def keep_idle(self, most: int = 1) -> None:
        """End all idle workers but some."""
        while True:
            with self._lock:
                worker = self._idle.pop() if len(self._idle) > most else None
            if worker is None:
                return
            self.end(worker, patience=2.0)

    def retire(self) -> None:
        """End all idle workers now, and each of the others once it is done."""
        self._retired = True
        self.keep_idle(0)

    def end(self, worker: Worker, *, patience: float = 0.0, keep_folder: bool = False) -> None:
        """End a worker, after `patience` seconds; `keep_folder` leaves its scratch folder."""
        worker.end(patience=patience, keep_folder=keep_folder)
        with self._lock:
            if worker in self._all:
                self._all.remove(worker)
                if self._guard is not None:
                    self._guard.remove(worker)

    def close(self) -> None:
        """End all workers and the guard."""
        # A fork of this process has a copy of this object, but the workers are not its own.
        if os.getpid() != self._owner:
            return
        with self._lock:
            self._idle.clear()
            running = list(self._all)
        for worker in running:
            self.end(worker, patience=2.0 if worker.key is None else 0.0)
        with self._lock:
            ended, self._guard = self._guard, None
        if ended is not None:
            ended.close()

    def _new(self) -> Worker:
        with self._lock:
            if self._guard is None:
                self._guard = Guard(self._parent)
        worker = Worker(self._recipe)
        with self._lock:
            self._all.append(worker)
            self._guard.add(worker)
        return worker


class _Copies:
    """The workers of a process that belongs to an executor: those of one labeller, the last one that was asked for."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._known: Processes | None = None

    def of(self, ingredients: Recipe) -> Processes:
        if os.getpid() != self._owner:  # a fork has none of the workers of its parent
            self.__init__()  # type: ignore[misc]
        with self._lock:
            if self._known is not None and self._known._recipe == ingredients:
                return self._known
            before, self._known = self._known, Processes(ingredients, os.getppid())
            known = self._known
        if before is not None:
            before.retire()
        return known


_COPIES = _Copies()
"""One for each process of an executor, which would else start a worker for each label."""


def _copy(ingredients: Recipe) -> Processes:
    """Workers of this process, in which a job has arrived from another one."""
    return _COPIES.of(ingredients)
