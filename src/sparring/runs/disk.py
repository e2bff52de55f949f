"""Disks that are full or cannot be written, in words of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparring.runs.manifests import RunFolderError
from sparring.support.files import DISK_FULL

__all__ = ["room_left"]


@contextmanager
def room_left(folder: Path, what: str) -> Iterator[None]:
    """Tell what a disk that is full, or cannot be written, means for a run.

    Args:
        folder: Run folder.
        what: End of "the run stopped before", such as "it began".

    Raises:
        RunFolderError: If it is.
    """
    try:
        yield
    except OSError as error:
        problem = DISK_FULL.get(error.errno or 0)
        if problem is None:
            raise
        raise RunFolderError(
            f"{problem} {error.filename or folder} ({error.strerror}): the run stopped before {what}; nothing that was "
            "finished is lost. Make room or mend it, then give the same command again"
        ) from error
