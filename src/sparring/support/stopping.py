"""Stopping by signals: the first one ends the work in order, a second one ends the process at once.

Handlers are installed by the command line alone, for the time of one command. They raise :class:`Stopped` where the
main thread is. Work that must not be torn apart, such as writing files, postpones that (:func:`stops_postponed`).
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = [
    "SIGNALS",
    "Postponed",
    "Stopped",
    "raise_if_stopped",
    "stopped_in",
    "stopping_by_signals",
    "stops_postponed",
    "wait_for_a_stop",
]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)
"""Signals that stop: Ctrl-C, those of SLURM and of other batch systems, and that of a terminal that is closed."""
NAMES = {signal.SIGINT: "Ctrl-C"}
TOGETHER = 0.5
"""Seconds within which signals count as one: `timeout`, `srun` and `make` send theirs twice."""


class Stopped(BaseException):
    """A signal has asked to stop. It is no error: nothing that was finished is lost.

    Attributes:
        number: Signal that has come.
        where: Part of the work that was stopped, such as "generation 2, training"; empty if it is not known.
    """

    def __init__(self, number: signal.Signals, where: str = "") -> None:
        super().__init__(number, where)
        self.number = number
        self.where = where

    def __str__(self) -> str:
        """Name of the signal, and the work that it has stopped."""
        at = f" in {self.where}" if self.where else ""
        return f"stopped by {NAMES.get(self.number, self.number.name)}{at}"


class Postponed:
    """A part of the work that stops only where it asks for it.

    Attributes:
        requested: Signal that has come; None for none.
    """

    def __init__(self, handler: "_Handler | None") -> None:
        self._handler = handler

    @property
    def requested(self) -> signal.Signals | None:
        """The signal that has come; None for none."""
        return None if self._handler is None else self._handler.requested

    def raise_if_requested(self) -> None:
        """Stop now if a signal has come, unless this is the clean-up after it.

        Raises:
            Stopped: If one has.
        """
        if self.requested is not None and not isinstance(sys.exc_info()[1], Stopped):
            raise Stopped(self.requested)


class _Handler:
    """The handler of all signals, which holds all there is to know about them."""

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self.depth = 0
        self._since = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.requested is None:
            self.requested, self._since = signal.Signals(number), time.monotonic()
            if not self.depth:
                raise Stopped(self.requested)
        elif time.monotonic() - self._since > TOGETHER:
            # The guard ends the workers when it finds that this process is gone.
            os._exit(128 + number)


@contextmanager
def stopping_by_signals() -> Iterator[None]:
    """Raise :class:`Stopped` in this block at the first signal, and end the process at the second one.

    Signals that are ignored stay so, as SIGHUP under `nohup`. Handlers are as before at the end of the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler, before = _Handler(), {}
    try:
        for number in SIGNALS:
            # None is a handler that was not installed by Python, and could not be restored.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def stops_postponed() -> Iterator[Postponed]:
    """Let no signal stop this block; at its end it does. Without handlers (a library call) this does nothing."""
    handler = _installed()
    if handler is None:
        yield Postponed(None)
        return
    handler.depth += 1
    try:
        yield Postponed(handler)
    finally:
        handler.depth -= 1
    # A stop that foreign code has swallowed is raised here, too.
    if not handler.depth:
        Postponed(handler).raise_if_requested()


def raise_if_stopped() -> None:
    """Stop here if a signal has come, also if foreign code has swallowed its exception.

    Raises:
        Stopped: If one has.
    """
    handler = _installed()
    if handler is not None and not handler.depth:
        Postponed(handler).raise_if_requested()


def wait_for_a_stop() -> NoReturn:
    """Do nothing until a signal comes, also where stops are postponed.

    Raises:
        Stopped: Once one has come.
    """
    while True:
        time.sleep(0.1)
        Postponed(_installed()).raise_if_requested()


@contextmanager
def stopped_in(where: str) -> Iterator[None]:
    """Name the work of this block in a :class:`Stopped` that leaves it without a name."""
    try:
        yield
    except Stopped as stop:
        stop.where = stop.where or where
        raise


def _installed() -> _Handler | None:
    """The handler of this process in its main thread, the only one that gets signals."""
    if threading.current_thread() is not threading.main_thread():
        return None
    for number in SIGNALS:
        handler = signal.getsignal(number)
        if isinstance(handler, _Handler):
            return handler
    return None
