"""A lock on a run folder, also on file systems without locks."""

import errno
import fcntl
import logging
import os
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from sparring.support.owner import Owner, file_age, owner_in, this_process

__all__ = ["HEARTBEAT", "SILENCE", "Lock", "LockLostError"]

logger = logging.getLogger(__name__)

HEARTBEAT, SILENCE = 20.0, 180.0
"""Seconds between two signs of life of an owner, and without any after which one on another machine counts as gone."""
IN_USE = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
"""Errors that mean that another process has the lock; any other means that the file system has none to give."""
NAME, STAND_IN = "lock", "lock.owner"


class LockLostError(RuntimeError):
    """A lock that this process had and that is not its own any more."""


class Lock:
    """A lock on a folder, from its creation until it is closed or the process ends.

    The lock is ``flock`` on the folder itself and on the file ``lock``, which names the owner and whose time is that of
    its last sign of life. To delete the file does not open the folder to a second process. Some network file systems
    (Lustre without ``-o flock``, some NFS) have no locks. There a file ``lock.owner``, which only one process can
    create, stands in for it; it stays behind when a process is killed, and is taken over if that process is gone: on
    this machine by its number and start, on another one by its silence. On some file systems locks do not reach other
    machines; a free lock whose owner on another machine may be alive is therefore watched until that one is silent.

    Args:
        folder: Existing folder to lock.
        heartbeat: Seconds between two signs of life.
        silence: Seconds without a sign of life after which an owner on another machine counts as gone.

    Raises:
        BlockingIOError: If another process has the lock; the message names it.
    """

    def __init__(self, folder: Path, *, heartbeat: float = HEARTBEAT, silence: float = SILENCE) -> None:
        self._path, self._owner, self._silence = folder, this_process(), silence
        self._stand_in: Path | None = None
        self._folder: int | None = None
        self._guard, self._closed = threading.Lock(), threading.Event()
        self._file: TextIO = (folder / NAME).open("a+", encoding="utf-8")
        try:
            self._take()
        except BaseException:
            self._release()
            raise
        self._sign()
        self._thread = threading.Thread(target=self._beat, args=(heartbeat,), name="sparring-lock", daemon=True)
        self._thread.start()

    def require(self) -> None:
        """Make sure that this process still has the lock; a deleted file is written again where the folder is locked.

        Raises:
            LockLostError: If it has not.
        """
        with self._guard:
            self._require()

    def close(self) -> None:
        """Release the lock."""
        self._closed.set()
        self._thread.join()
        with suppress(OSError), self._guard:
            if self._is_ours():
                self._file.truncate(0)  # no owner: the next one need not wait for signs of life
        self._release()

    def _require(self) -> None:
        moved = self._folder is not None and not _same(self._path, self._folder)
        stolen = self._stand_in is not None and owner_in(self._stand_in) != self._owner
        if not moved and not stolen and not self._is_ours() and self._folder is not None:
            self._reopen()
        if moved or stolen or not self._is_ours():
            file = self._stand_in if stolen else self._path if moved else self._path / NAME
            raise LockLostError(
                f"{file} was deleted or replaced while this process had it, and another run may be writing to "
                f"{self._path}: this one stops before it writes more, and all that was finished is kept. Make sure "
                "that no other run is at work there, then give the same command again"
            )

    def _is_ours(self) -> bool:
        return _same(self._path / NAME, self._file.fileno())

    def _reopen(self) -> None:
        """Write the file again that somebody has deleted."""
        with suppress(OSError):
            file = (self._path / NAME).open("a+", encoding="utf-8")
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.close()
            self._file = file
            self._sign()

    def _sign(self) -> None:
        self._file.truncate(0)
        self._file.write(self._owner.line)
        self._file.flush()

    def _beat(self, heartbeat: float) -> None:
        while not self._closed.wait(heartbeat):
            with self._guard, suppress(OSError, LockLostError):
                self._require()
                os.utime(self._file.fileno())
                if self._stand_in is not None:
                    os.utime(self._stand_in)

    def _release(self) -> None:
        if self._stand_in is not None:
            if owner_in(self._stand_in) == self._owner:
                self._stand_in.unlink(missing_ok=True)
            self._stand_in = None
        if self._folder is not None:
            os.close(self._folder)
            self._folder = None
        self._file.close()

    def _take(self) -> None:
        file = self._path / NAME
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in IN_USE:
                raise self._in_use(file) from error
            self._stand_in = self._create_stand_in()
            logger.warning(
                "%s: this file system has no locks (flock: %s), so that %s stands in for one; as long as it is there, "
                "and its time is of the last minutes, the same run is not started on another machine",
                self._path,
                error.strerror,
                self._stand_in.name,
            )
            return
        self._lock_folder()
        before = owner_in(file)
        if before is not None and not before.is_here:
            self._watch(file, before)

    def _lock_folder(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            # NFS locks no folders: there the file alone is the lock, and to delete it ends the run at its next stage.
            if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN):
                raise self._in_use(self._path / NAME) from error
        else:
            self._folder = descriptor

    def _watch(self, file: Path, before: Owner) -> None:
        """Wait until an owner on another machine is silent for long enough; refuse as soon as it gives a sign."""
        seen, told = file.stat().st_mtime_ns, False
        while file_age(file) < self._silence:
            if not told:
                rest = self._silence - file_age(file)
                logger.warning("%s: %s may be alive; waiting for at most %.0f s", self._path, before, rest)
                told = True
            time.sleep(min(1.0, self._silence / 10))
            if file.stat().st_mtime_ns != seen or owner_in(file) != before:
                raise self._in_use(file)

    def _create_stand_in(self) -> Path:
        """Create the file that names the owner; that of a process that is gone is replaced."""
        file = self._path / STAND_IN
        if not self._obtain(file):
            raise self._in_use(file, f", or delete {file.name} if you know that this process is gone")
        return file

    def _obtain(self, file: Path) -> bool:
        """Create a file with this owner, or replace that of a process that is gone; of many processes one succeeds.

        Who replaces a file holds a second one, ``.claim``, meanwhile and looks again. That of a process that was killed
        with it in its hands is obtained in the same way.
        """
        with suppress(FileExistsError), file.open("x", encoding="utf-8") as new:
            new.write(self._owner.line)
            return True
        claim = file.with_name(f"{file.name}.claim")
        if not self._is_gone(file) or not self._obtain(claim):
            return False
        try:
            if not self._is_gone(file):  # a faster process has replaced it
                return False
            own = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
            own.write_text(self._owner.line, encoding="utf-8")
            own.replace(file)
        finally:
            claim.unlink(missing_ok=True)
        return True

    def _is_gone(self, file: Path) -> bool:
        """True if the process that a file names has ended, or gives no sign of life."""
        owner = owner_in(file)
        if owner is not None and owner.is_here and (owner.start or not owner.is_alive):
            return not owner.is_alive
        with suppress(FileNotFoundError):
            return file_age(file) >= self._silence
        return False

    def _in_use(self, file: Path, more: str = "") -> BlockingIOError:
        owner = owner_in(file)
        with suppress(OSError):
            age = file_age(file)
            more = f"{more}. Its last sign of life came {age:.0f} s ago" if owner is not None else more
        return BlockingIOError(
            f"{self._path} is in use by {owner or 'another process'}; wait until it has finished, or give another "
            f"--folder{more}"
        )


def _same(path: Path, descriptor: int) -> bool:
    """True if a path still leads to an open file or folder."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except OSError:
        return False
