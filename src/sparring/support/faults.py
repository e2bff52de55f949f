"""Faults on purpose: a run can be rehearsed with a process that dies, a file that is damaged, or a disk that is full.

``SPARRING_FAULT=point:fault`` or ``SPARRING_FAULT=point:fault:count``, such as ``commit:kill:3``, makes the fault
happen at the count-th passage of the point, in whichever process of the command that is. Without the variable nothing
happens. docs/faults.md has a table of all points and faults.
"""

import atexit
import contextlib
import errno
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from sparring.support.stopping import wait_for_a_stop
from sparring.support.suggestions import did_you_mean

__all__ = ["FAULTS", "POINTS", "VARIABLE", "Fault", "InjectedFault", "fault_point", "prepare", "requested_fault"]

VARIABLE = "SPARRING_FAULT"
PASSAGES = "SPARRING_FAULT_PASSAGES"
"""Environment variable with the file in which all processes of a command count their passages, one byte for each."""
POINTS = {
    "store": "a label is written to the store",
    "checkpoint": "a checkpoint of a training is written",
    "commit": "the manifest of a stage is written",
    "label": "a label is computed",
    "executor": "a label is handed to an executor",
}
"""Places at which faults happen: right before this."""
FAULTS = {
    "kill": "the process gets SIGKILL",
    "raise": "an exception",
    "hang": "the process waits until a signal comes",
    "corrupt": "a bit of the file is flipped once it is written",
    "full": "the disk is full",
}
WITHOUT_FILE = ("label", "executor")
"""Points that write no file which could be damaged."""


class InjectedFault(RuntimeError):
    """The exception of the fault ``raise``."""


class Fault(NamedTuple):
    """A fault that was asked for.

    Attributes:
        point: Name of the place.
        kind: Kind of the fault.
        passage: Number of the passage at which it happens, from 1.
    """

    point: str
    kind: str
    passage: int


def requested_fault() -> Fault | None:
    """The fault that the environment asks for; None for none.

    Raises:
        ValueError: If the environment variable is wrong.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return None
    point, kind, count, *rest = [*text.split(":"), "", ""][: max(3, text.count(":") + 1)]
    wanted = f"wanted point:fault or point:fault:count, such as commit:kill:3, with the points {', '.join(POINTS)}"
    wanted += f" and the faults {', '.join(FAULTS)}"
    for name, known in ((point, POINTS), (kind, FAULTS)):
        if name not in known:
            raise ValueError(f"{VARIABLE}={text}: {name!r} is not known{did_you_mean(name, known)}; {wanted}")
    if rest or not (count == "" or (count.isascii() and count.isdigit() and 0 < int(count) < 10**9)):
        raise ValueError(f"{VARIABLE}={text}: the count must be a number from 1 on, got {count!r}; {wanted}")
    if kind == "corrupt" and point in WITHOUT_FILE:
        others = ", ".join(one for one in POINTS if one not in WITHOUT_FILE)
        raise ValueError(f"{VARIABLE}={text}: {point} writes no file that could be damaged; take one of {others}")
    return Fault(point, kind, int(count or 1))


def prepare() -> None:
    """Check the environment variable, and begin to count passages before other processes are started.

    Raises:
        ValueError: If the environment variable is wrong.
    """
    if requested_fault() is not None:
        _counter()


def fault_point(point: str, path: Path | None = None) -> AbstractContextManager[None]:
    """Have the fault that was asked for at this point, if any; it does nothing else.

    Args:
        point: Name of the place, one of :data:`POINTS`.
        path: File that is about to be written; a block in which it is written gets it damaged at its end.

    Raises:
        InjectedFault: If the fault is ``raise``.
        OSError: If the fault is ``full``.
    """
    fault = requested_fault()
    if fault is None or fault.point != point or _passage() != fault.passage:
        return nullcontext()
    at = f"{VARIABLE}={os.environ[VARIABLE]}"
    if fault.kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.kind == "raise":
        raise InjectedFault(f"an exception before {POINTS[point]}, as {at} asks for")
    elif fault.kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path or tempfile.gettempdir()))
    elif fault.kind == "hang":
        wait_for_a_stop()
    return _damaging(path)


@contextlib.contextmanager
def _damaging(path: Path | None) -> Iterator[None]:
    yield
    assert path is not None
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _passage() -> int:
    """Number of this passage among those of all processes of the command."""
    descriptor = os.open(_counter(), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, b".")
        # Where the own byte is: each of several processes that write at the same time has another place.
        return os.lseek(descriptor, 0, os.SEEK_CUR)
    finally:
        os.close(descriptor)


def _counter() -> str:
    """Path of the file of passages, which processes that are started inherit."""
    if not os.environ.get(PASSAGES):
        descriptor, name = tempfile.mkstemp(prefix="sparring-passages-")
        os.close(descriptor)
        os.environ[PASSAGES] = name
        atexit.register(Path(name).unlink, missing_ok=True)
    return os.environ[PASSAGES]
