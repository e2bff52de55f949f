"""Atomic writing of files: a file is complete, or it does not exist."""

import contextlib
import errno
import os
import uuid
from pathlib import Path

__all__ = ["DISK_FULL", "sync_folder", "write_bytes", "write_text"]

DISK_FULL = {
    errno.ENOSPC: "no room left on",
    errno.EDQUOT: "no room left within the quota on",
    errno.EROFS: "cannot write to",
}
"""Errors of a file system that has no room, or that can only be read any more, in words before a path."""


def write_bytes(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write to a temporary name in the same folder, flush to disk, rename, then flush the folder.

    Only within one file system is a rename all or nothing, hence the same folder; every writer has a name of its own,
    also on another machine.

    Args:
        path: Path of the file.
        content: Content of the file.
        replace: If True, an existing file is replaced. If False, the first of several writers wins.

    Raises:
        OSError: If it cannot be written, with the path of the file; an existing file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace or not _linked(temporary, path):
            temporary.replace(path)
    except OSError as error:
        # The system does not say which file it had no room for, and nobody knows the temporary name.
        if error.errno is not None and error.filename2 is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: Path, text: str, *, replace: bool = True) -> None:
    """Write text in UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode(), replace=replace)


def sync_folder(folder: Path) -> None:
    """Flush the names in a folder to disk, which a file's own content does not include; where that is possible."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        # Some network file systems do not know it, and need none.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _linked(temporary: Path, path: Path) -> bool:
    """Give the file its second name, unless another writer has taken it; False where there are no hard links."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EOPNOTSUPP):
            raise
        return path.exists()
    return True
