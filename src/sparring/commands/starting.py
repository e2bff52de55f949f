"""``sparring init``, as a function."""

from pathlib import Path

from sparring.config import template_files
from sparring.support.files import write_text

__all__ = ["init"]


def init(kind: str, folder: Path | str = ".") -> list[Path]:
    """Write a commented example configuration, and the files that it reads.

    Args:
        kind: Kind of system: ``own``, or one of the paper's; an error lists all.
        folder: Folder for the files; it is created if necessary.

    Raises:
        ConfigError: If the kind is unknown.
        FileExistsError: If one of the files exists; nothing is written then.
    """
    files = {Path(folder) / name: text for name, text in template_files(kind).items()}
    for file in files:
        if file.exists():
            raise FileExistsError(f"{file} exists already; move it away, or choose another folder")
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        write_text(file, text)
    return list(files)
