"""The process that owns a lock, as a line of text in a file whose time is that of its last sign of life."""

import os
import platform
import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["Owner", "file_age", "owner_in", "this_process"]

LINE = re.compile(r"process (\d+) on ([^,]*)(?:, since (.*?)(?: \(machine (\S*), start (\d+)\))?)?\n?")


class Owner(NamedTuple):
    """A process.

    Attributes:
        pid: Number of the process.
        host: Name of its machine.
        since: Time at which it took the lock.
        machine: Identity of the machine since it was started, and of the container; empty if it is not known.
        start: Start of the process in clock ticks since that of the machine; 0 if it is not known.
    """

    pid: int
    host: str
    since: str
    machine: str = ""
    start: int = 0

    def __str__(self) -> str:
        """Process, machine and time, for messages."""
        return f"process {self.pid} on {self.host}" + (f", since {self.since}" if self.since else "")

    @property
    def line(self) -> str:
        """The line in the file."""
        return f"{self} (machine {self.machine}, start {self.start})\n"

    @property
    def is_here(self) -> bool:
        """True if it ran on this machine, not started anew since, and in this container."""
        return self.machine == _machine() and self.host == platform.node()

    @property
    def is_alive(self) -> bool:
        """True unless a process of this machine has ended; its number may be that of another one since."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            pass
        start = _start(self.pid)
        if start < 0:
            return False
        return not self.start or not start or start == self.start


def this_process() -> Owner:
    """The process that calls."""
    pid = os.getpid()
    return Owner(pid, platform.node(), time.strftime("%Y-%m-%d %H:%M:%S"), _machine(), _start(pid))


def owner_in(file: Path) -> Owner | None:
    """The owner that a file names; None if it names none that can be understood."""
    try:
        match = LINE.fullmatch(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if match is None:
        return None
    return Owner(int(match[1]), match[2], match[3] or "", match[4] or "", int(match[5] or 0))


def file_age(file: Path) -> float:
    """Seconds since a file was touched, by the clock of its file system: those of two machines may differ.

    Raises:
        OSError: If there is no such file.
    """
    touched = file.stat().st_mtime
    try:
        with tempfile.TemporaryFile(dir=file.parent) as new:
            return max(0.0, os.fstat(new.fileno()).st_mtime - touched)
    except OSError:
        return max(0.0, time.time() - touched)


def _machine() -> str:
    """Identity of the machine since its start and of the container; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""


def _start(pid: int) -> int:
    """Start of a process in clock ticks; 0 where the system does not tell, -1 if it has ended but is still listed."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return -1 if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return 0
