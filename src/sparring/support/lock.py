"""A lock on a run folder, also on file systems without locks."""

import errno
import fcntl
import logging
import os
import platform
import time
from pathlib import Path
from typing import TextIO

__all__ = ["Lock"]

logger = logging.getLogger(__name__)

IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""Errors that mean that another process has the lock; any other means that the file system has none to give."""


class Lock:
    """A lock on a folder, from its creation until it is closed or the process ends.

    The lock is ``flock`` on the file ``lock``. Some network file systems (Lustre without ``-o flock``, some NFS) have
    none. There a file ``lock.owner``, which only one process can create, stands in for it; it stays behind when a
    process is killed, and is taken over if that was a process of this machine.

    Args:
        folder: Existing folder to lock.

    Raises:
        BlockingIOError: If another process has the lock; the message names it.
    """

    def __init__(self, folder: Path) -> None:
        self._owner: Path | None = None
        self._file: TextIO = (folder / "lock").open("a+", encoding="utf-8")
        try:
            self._take(folder)
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {platform.node()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n")
        self._file.flush()

    def close(self) -> None:
        """Release the lock."""
        if self._owner is not None:
            self._owner.unlink(missing_ok=True)
            self._owner = None
        self._file.close()

    def _take(self, folder: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in IN_USE:
                self._file.seek(0)
                owner = self._file.read().strip() or "another process"
                raise BlockingIOError(
                    f"{folder} is in use by {owner}; wait until it has finished, or give another --folder"
                ) from error
            self._owner = _owned(folder)
            logger.warning(
                "%s: this file system has no locks (flock: %s), so that %s stands in for one; do not start the same "
                "run on another machine as long as it is there",
                folder,
                error.strerror,
                self._owner.name,
            )


def _owned(folder: Path) -> Path:
    """Create the file that names the owner; that of a process that has ended on this machine is replaced."""
    file = folder / "lock.owner"
    for _ in range(2):
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileExistsError:
            pid, host = _named(file)
            if host != platform.node() or _alive(pid):
                break
            file.unlink(missing_ok=True)
            continue
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(f"{os.getpid()} {platform.node()}\n")
        return file
    pid, host = _named(file)
    raise BlockingIOError(
        f"{folder} is in use by process {pid} on {host}, see {file}; wait until it has finished, give another "
        f"--folder, or delete {file.name} if you know that this process is gone"
    )


def _named(file: Path) -> tuple[int, str]:
    try:
        pid, host = file.read_text(encoding="utf-8").split()
        return int(pid), host
    except (OSError, ValueError):
        return 0, "an unknown machine"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
