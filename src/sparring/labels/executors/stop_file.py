"""A file that tells jobs to end, in whichever process and on whichever machine of the same file system they run."""

import contextlib
import tempfile
import uuid
from pathlib import Path
from typing import Any

__all__ = ["StopFile"]

NO_MORE, NOW = "no more\n", "now\n"


class StopFile:
    """Tells the jobs of one call to begin no more labels, or to end at once; as long as it is not written, they run.

    Args:
        folder: Folder for the file, which is hidden; the one for temporary files if None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        # Python may not yet have found out where temporary files belong when a signal comes.
        self._path = (folder or Path(tempfile.gettempdir())).resolve() / f".stop-{uuid.uuid4().hex}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _copied, (self._path,)

    def __str__(self) -> str:
        return str(self._path)

    @property
    def folder(self) -> Path:
        """Folder of the file."""
        return self._path.parent

    @property
    def begin_no_more(self) -> bool:
        """True if no further label shall be begun."""
        return self._path.exists()

    @property
    def end_now(self) -> bool:
        """True if labels that are being computed shall end."""
        try:
            return self._path.read_text(encoding="utf-8") == NOW
        except OSError:
            return False

    def write(self, text: str) -> None:
        """Write :data:`NO_MORE` or :data:`NOW`."""
        # On a full disk there is nothing to be done; executors that are shut down end their jobs, too.
        with contextlib.suppress(OSError):
            self._path.write_text(text, encoding="utf-8")

    def remove(self) -> None:
        """Remove the file, once no job is left that could read it."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)


def _copied(path: Path) -> StopFile:
    found = StopFile.__new__(StopFile)
    found._path = path
    return found
