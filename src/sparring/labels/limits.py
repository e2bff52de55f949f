"""Limits of time and memory of a label."""

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from sparring.labels.base import LabelError
from sparring.labels.guard import descendants

__all__ = ["DEFAULT_TIME_LIMIT", "THREADS", "Limits", "threads_of_label"]

DEFAULT_TIME_LIMIT = 3600.0
"""An hour, in seconds."""
THREADS = "SPARRING_LABEL_THREADS"
"""Environment variable of a worker with the number of threads of a label."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of one label; None for no limit.

    Memory is the resident set size of a worker and all programs that it has started. It is checked a few times in a
    second, so it may be exceeded for a moment. (A limit of the address space would refuse codes that
    reserve much more than they use, as OpenMP, CUDA and Go do.)

    Attributes:
        time: Wall-clock time in seconds.
        memory: Memory in bytes.
    """

    time: float | None = DEFAULT_TIME_LIMIT
    memory: float | None = None

    def __post_init__(self) -> None:
        for name in ("time", "memory"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"the {name} limit of a label must be positive, got {value}; None switches it off")
        if self.memory is not None and not sys.platform.startswith("linux"):
            raise ValueError("the memory limit of a label needs Linux's /proc; leave it out here")

    def too_slow(self, method: str) -> LabelError:
        """The failure of a label that took too long."""
        assert self.time is not None
        return LabelError(
            "timed_out",
            f"{method} took longer than the time limit of {duration(self.time)} and was ended; raise labels.time_limit "
            "to allow it",
        )

    def too_large(self, method: str, n_bytes: float) -> LabelError:
        """The failure of a label that took too much memory."""
        assert self.memory is not None
        return LabelError(
            "out_of_memory",
            f"{method} took {n_bytes / 1e9:.3g} GB, more than the memory limit of {self.memory / 1e9:.3g} GB, and was "
            "ended; raise labels.memory_limit, or take fewer workers",
        )


def threads_of_label() -> int:
    """Number of threads that a label may use in this process: one, unless a worker was started with more."""
    given = os.environ.get(THREADS, "")
    return max(1, int(given)) if given.isascii() and given.isdigit() else 1


def memory_of(marker: str) -> float:
    """Resident memory in bytes of all processes with the marker of a worker."""
    pages = 0
    for pid in descendants(marker):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages += int((Path("/proc") / str(pid) / "statm").read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE"))


def duration(seconds: float) -> str:
    """A duration in a convenient unit."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
