"""A small process that outlives the one it guards, for a moment: it ends the workers whose run was killed.

A run that gets SIGKILL, or SIGTERM while it waits for a label, can end nothing by itself any more, and the programs
that workers have started (mpirun, a quantum-chemistry code) would compute on. The guard reads the names of workers from
a pipe. Once the pipe closes, for any reason, it ends them with all their children and removes their scratch
folders. In a process of an executor it also ends that process once the run that has started it is gone: such a process
would wait for its next job for ever.
This file runs by itself, with nothing but the standard library.
"""

import contextlib
import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

MARKER = "SPARRING_WORKER"
"""Environment variable that all descendants of a worker inherit, also those that leave its session."""


def end_processes(pid: int, marker: str, patience: float = 1.0, *, ignores_signals: bool = False) -> None:
    """End a worker and all of its descendants: politely first, if there is patience, then for good.

    Args:
        pid: The worker, which leads a session and a process group.
        marker: The value of `MARKER` in its environment.
        patience: Seconds between SIGTERM and SIGKILL; 0 for SIGKILL at once.
        ignores_signals: True for a worker of ours, which ignores SIGTERM because batch systems send it to all processes
            of a job; only its descendants are waited for.
    """
    if patience:
        _signal_all(pid, marker, signal.SIGTERM)
        end = time.monotonic() + patience
        left_out = {pid} if ignores_signals else set()
        while time.monotonic() < end and set(descendants(marker)) - left_out:
            time.sleep(0.05)
    # Those that were just born have to be looked for again.
    for _ in range(5):
        _signal_all(pid, marker, signal.SIGKILL)
        if not descendants(marker):
            return
        time.sleep(0.02)


def end_descendants(marker: str) -> None:
    """Kill all processes with a marker, whatever has become of the process that they were started by."""
    for _ in range(5):
        left = descendants(marker)
        for one in left:
            with contextlib.suppress(OSError):
                os.kill(one, signal.SIGKILL)
        if not left:
            return
        time.sleep(0.02)


def descendants(marker: str) -> list[int]:
    """Processes whose environment has the marker, without those that have ended; none where there is no /proc."""
    wanted = f"{MARKER}={marker}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and _state(folder) not in "ZX":
                found.append(int(folder.name))
    return found


def _state(folder: Path) -> str:
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def _parent_of(pid: int) -> int | None:
    """Number of the parent of a process; None where it is not known."""
    try:
        stat = (Path("/proc") / str(pid) / "stat").read_text(errors="replace")
        return int(stat.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _signal_all(pid: int, marker: str, number: signal.Signals) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, number)
    for one in descendants(marker):
        with contextlib.suppress(OSError):
            os.kill(one, number)


def main() -> None:
    """Read `add PID MARKER FOLDER` and `end PID` from standard input until it closes, then end who is left.

    With the number of the parent of the guarded process as argument, an end of that parent is the end of all.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(ignored, signal.SIG_IGN)
    guarded, parent, text = sys.stdin.fileno(), os.getppid(), b""
    grandparent = int(sys.argv[1]) if len(sys.argv) > 1 else None
    workers: dict[int, tuple[str, str]] = {}
    # A process forked by the guarded one may hold the pipe open; the number of the parent is reliable.
    while os.getppid() == parent:
        if grandparent is not None and _parent_of(parent) not in (grandparent, None):
            with contextlib.suppress(OSError):
                os.kill(parent, signal.SIGKILL)
            break
        if not select.select([guarded], [], [], 0.5)[0]:
            continue
        read = os.read(guarded, 65536)
        if not read:
            break
        *lines, text = (text + read).split(b"\n")
        for line in lines:
            word, number, *rest = line.decode().split(" ", 3)
            if word == "add":
                workers[int(number)] = (rest[0], rest[1])
            else:
                workers.pop(int(number), None)
    for pid, (marker, _) in workers.items():
        _signal_all(pid, marker, signal.SIGTERM)
    for pid, (marker, folder) in workers.items():
        end_processes(pid, marker, ignores_signals=bool(folder))
        if folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
