"""Results that are computed once, written to a file, and read back from then on."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

__all__ = ["cached"]

T = TypeVar("T")


def cached(
    file: Path | None, compute: Callable[[], T], *, read: Callable[[Path], T], write: Callable[[Path, T], object]
) -> T:
    """The result in a file; it is computed and written first if there is no such file.

    A new result is read back, too, so that it is the same as that of every later call. ``write`` must create the file
    atomically, as :func:`sparring.support.files.write_bytes` does: a file that exists counts as complete.

    Args:
        file: Path of the result; its folder is created if necessary. With None nothing is written.
        compute: Function that computes the result.
        read: Function that reads the result from the file.
        write: Function that writes the result to the file.
    """
    if file is None:
        return compute()
    if not file.exists():
        result = compute()
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, result)
    return read(file)
