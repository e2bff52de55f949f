"""Reservations: several runs on one store do not compute the same label at the same time.

A reservation is a file beside the record of a label, which only one process can create, also on file systems without
locks. It names the process that computes, and its time is that of the last sign of life. A reservation whose process
has ended on this machine, or gives no sign of life on another, is taken over. If two processes compute the same label
in spite of all, nothing is wrong: the first record stays.
"""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from sparring.support.owner import owner_in, this_process

__all__ = ["HEARTBEAT", "SILENCE", "SUFFIX", "Reservation", "Watch", "end", "remove_abandoned"]

SUFFIX = ".reserved"
HEARTBEAT, SILENCE = 10.0, 120.0
"""Seconds between two signs of life, and without any after which a process on another machine counts as gone."""
OLD = 86400.0
"""Seconds after which files that a process has left behind are removed."""


class Reservation:
    """A label that this process computes; it ends with the block.

    Args:
        file: File of the reservation.
        heartbeat: Seconds between two signs of life.

    Raises:
        FileExistsError: If another process, which has not ended, computes the label.
    """

    def __init__(self, file: Path, *, heartbeat: float = HEARTBEAT) -> None:
        self.file = file
        self._pid, self._heartbeat = os.getpid(), heartbeat
        self._done = threading.Event()
        self._line = this_process().line
        try:
            descriptor = _created(file)
        except FileExistsError:
            if not end(file):
                raise
            descriptor = _created(file)
        try:
            os.write(descriptor, self._line.encode())
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)

    def __enter__(self) -> "Reservation":
        """Begin to give signs of life."""
        threading.Thread(target=self._live, name="sparring-reservation", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End the reservation, unless it has been taken over, or this is a fork of the process that has it."""
        self._done.set()
        if os.getpid() == self._pid and _line(self.file) == self._line:
            self.file.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._done.wait(self._heartbeat):
            with contextlib.suppress(OSError):
                os.utime(self.file)


class Watch:
    """Reservations of other processes, as this one sees them.

    Signs of life are counted by the clock of the process that watches, since those of two machines may differ.

    Args:
        patience: Seconds after which a reservation is taken over although its process seems to be alive; None to wait
            as long as it is.
        silence: Seconds without a sign of life after which a process on another machine counts as gone.
    """

    def __init__(self, patience: float | None = None, *, silence: float = SILENCE) -> None:
        self._patience, self._silence = patience, silence
        self._seen: dict[Path, tuple[tuple[str, int], float, float]] = {}

    def is_free(self, file: Path) -> bool:
        """True if no living process has the reservation; one that has been abandoned is removed."""
        now = time.monotonic()
        try:
            sign = (_line(file), file.stat().st_mtime_ns)
        except OSError:
            self._seen.pop(file, None)
            return True
        before, heard, first = self._seen.get(file, (sign, now, now))
        if sign != before:
            # Another process has its own time.
            heard, first = now, first if sign[0] == before[0] else now
        self._seen[file] = (sign, heard, first)
        if not (
            _has_ended(file)
            or (now - heard > self._silence and not _is_here(file))
            or (self._patience is not None and now - first > self._patience)
        ):
            return False
        _take_away(file, sign[0])
        del self._seen[file]
        return not file.exists()


def end(file: Path) -> bool:
    """Remove a reservation if its process has ended; True if it has."""
    line = _line(file)
    if not _has_ended(file):
        return False
    _take_away(file, line)
    return True


def remove_abandoned(folder: Path) -> Sequence[str]:
    """Remove what processes have left behind in a store, and return the names.

    These are reservations and temporary files that are a day old, and those of processes of this machine that have
    ended.
    """
    removed = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_reservation = entry.name.endswith(SUFFIX)
            if not is_reservation and not (entry.name.startswith(".") and entry.name.endswith(".tmp")):
                continue
            with contextlib.suppress(OSError):
                file = folder / entry.name
                if time.time() - entry.stat().st_mtime > OLD or (is_reservation and _has_ended(file)):
                    file.unlink()
                    removed.append(entry.name)
    return removed


def _created(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)


def _has_ended(file: Path) -> bool:
    """True if the reservation is that of a process of this machine that has ended."""
    owner = owner_in(file)
    return owner is not None and owner.is_here and not owner.is_alive


def _is_here(file: Path) -> bool:
    owner = owner_in(file)
    return owner is not None and owner.is_here


def _line(file: Path) -> str:
    """Text of a reservation; empty if it has just been created, or is not there."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _take_away(file: Path, line: str) -> None:
    """Remove a reservation that was found abandoned, but not one that another process has made in its place since."""
    aside = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    with contextlib.suppress(OSError):
        file.rename(aside)
        if _line(aside) != line:
            with contextlib.suppress(OSError):
                os.link(aside, file)
        aside.unlink()
