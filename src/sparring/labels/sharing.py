"""Labels of a store that several runs share: what another run computes is left to it, and read once it is there."""

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TypeAlias

from ase import Atoms

from sparring.labels.base import LabelError
from sparring.labels.reservations import Watch
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Outcome, Reserved
from sparring.support.owner import owner_in

__all__ = ["Compute", "shared_outcomes"]

logger = logging.getLogger(__name__)

Compute: TypeAlias = Callable[[Mapping[str, Atoms], LabelStore | None], Generator[tuple[str, Outcome], None, None]]
"""Computes structures by the keys of their labels, in the order in which they finish."""
SHORTEST, LONGEST = 0.05, 1.0
"""Seconds between two looks at labels that other runs compute: the first, and later ones."""
SILENT = 10.0
"""Seconds of waiting before a line in the log says so."""


def shared_outcomes(
    compute: Compute, tasks: Mapping[str, Atoms], store: LabelStore | None, patience: float | None
) -> Generator[tuple[str, Outcome], None, None]:
    """Outcomes of all tasks; those that other runs are computing come last, and are computed here if these give up.

    Args:
        compute: Function that computes labels, and says so where another process is computing one.
        tasks: Structures by the keys of their labels.
        store: Store that keeps the labels; None for none, which nobody shares.
        patience: Seconds to wait for one label of a process that is alive; None to wait as long as it is.
    """
    watch = Watch(patience)
    while tasks:
        elsewhere: dict[str, Atoms] = {}
        with contextlib.closing(compute(tasks, store)) as outcomes:
            for key, outcome in outcomes:
                if isinstance(outcome.result, Reserved):
                    elsewhere[key] = tasks[key]
                    continue
                if store is not None and isinstance(outcome.result, LabelError):
                    store.release(key)  # which a process that was ended could not do
                yield key, outcome
        if not elsewhere:
            return
        assert store is not None
        yield from _awaited(elsewhere, store, watch)
        tasks = elsewhere


def _awaited(elsewhere: dict[str, Atoms], store: LabelStore, watch: Watch) -> Iterator[tuple[str, Outcome]]:
    """Labels as other runs finish them, until one has to be computed here; those that are found are taken out."""
    pause, began, logged = SHORTEST, time.monotonic(), False
    while elsewhere:
        free = False
        for key in list(elsewhere):
            # In this order: a record is there before its reservation goes.
            is_free = watch.is_free(store.reservation(key))
            if (label := store.get(key)) is not None:
                del elsewhere[key]
                pause = SHORTEST
                yield key, Outcome(label, computed=False)
            else:
                free = free or is_free
        if free:
            return
        if elsewhere:
            if not logged and time.monotonic() - began > SILENT:
                logged = True
                _log_waiting(elsewhere, store)
            time.sleep(pause)
            pause = min(LONGEST, 1.5 * pause)


def _log_waiting(elsewhere: Mapping[str, Atoms], store: LabelStore) -> None:
    file = store.reservation(next(iter(elsewhere)))
    logger.warning(
        "waiting for %d labels that other runs compute, the first by %s; if that process is gone, delete %s",
        len(elsewhere),
        owner_in(file) or "a process without a name",
        file,
    )
