"""Running worker processes, and how they begin and end."""

import os

from sparring.labels.launch import Guard, Recipe, Worker

__all__ = ["Processes"]


class Processes:
    """Running worker processes of one labeller, and the guard that ends them with this process."""

    def __init__(self, ingredients: Recipe) -> None:
        self._recipe = ingredients
        self._owner = os.getpid()
        self._guard: Guard | None = None
        self._all: list[Worker] = []
        self._idle: list[Worker] = []

    def take(self) -> Worker:
        """An idle worker, or a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            self.end(worker)
        if self._guard is None:
            self._guard = Guard()
        worker = Worker(self._recipe)
        self._all.append(worker)
        self._guard.add(worker)
        return worker

    def give_back(self, worker: Worker) -> None:
        """Mark a worker as idle."""
        worker.key = None
        self._idle.append(worker)

    def keep_one(self) -> None:
        """End all idle workers but one."""
        while len(self._idle) > 1:
            self.end(self._idle.pop(), patience=2.0)

    def end(self, worker: Worker, *, patience: float = 0.0, keep_folder: bool = False) -> None:
        """End a worker, after `patience` seconds; `keep_folder` leaves its scratch folder."""
        worker.end(patience=patience, keep_folder=keep_folder)
        if worker in self._all:
            self._all.remove(worker)
            assert self._guard is not None
            self._guard.remove(worker)

    def close(self) -> None:
        """End all workers and the guard."""
        # A fork of this process has a copy of this object, but the workers are not its own.
        if os.getpid() != self._owner:
            return
        self._idle.clear()
        for worker in list(self._all):
            self.end(worker, patience=2.0 if worker.key is None else 0.0)
        if self._guard is not None:
            self._guard.close()
            self._guard = None
