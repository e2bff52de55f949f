"""Folders that labels are computed in: a fresh one for each, kept with inputs and outputs if the label fails."""

import contextlib
import logging
import shutil
from pathlib import Path

from ase import Atoms

from sparring.atoms.electronic_state import electronic_state
from sparring.atoms.inheritance import geometry_of
from sparring.labels.base import LabelError
from sparring.labels.worker_process import OUTPUT

__all__ = ["keep", "remove", "tail"]

logger = logging.getLogger(__name__)

LARGEST_KEPT = 50_000_000
"""Files above this many bytes, such as wave functions, are not kept."""


def keep(folder: Path, failed: Path, key: str, atoms: Atoms, error: LabelError) -> Path | None:
    """Move the folder of a failed label to the folder of failures, and add the structure and the reason.

    Args:
        folder: Scratch folder of the label.
        failed: Folder for the folders of failed labels.
        key: Key of the label; an older folder of the same name is replaced.
        atoms: The structure.
        error: The failure.

    Returns:
        The folder, or None if it could not be kept, which is logged.
    """
    import ase.io  # Worker processes start faster without it.

    kept = failed / key
    try:
        failed.mkdir(parents=True, exist_ok=True)
        remove(kept)
        left_out = _without_large_files(folder)
        shutil.move(folder, kept)
        bare = geometry_of(atoms)
        bare.info = electronic_state(atoms)._asdict()
        ase.io.write(kept / "structure.xyz", bare, format="extxyz")
        lines = [f"{error.reason}: {error.message}", *(f"not kept, too large: {name}" for name in left_out)]
        (kept / "error.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    except OSError as problem:
        logger.warning("the files of a failed label could not be kept in %s: %s", kept, problem)
        return None
    return kept


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, as far as possible; one that is not there is fine."""
    shutil.rmtree(folder, ignore_errors=True)


def tail(file: Path, n_characters: int = 300) -> str:
    """The end of what was printed, on one line."""
    with contextlib.suppress(OSError), file.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, 2) - 4096))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines()]
        text = " | ".join([line for line in lines if line][-3:])
        return text if len(text) <= n_characters else f"...{text[-n_characters:]}"
    return ""


def output_of(folder: Path) -> str:
    """The end of the message about a failure: what the label's program printed last, if anything."""
    text = tail(folder / OUTPUT)
    return f"; last output: {text}" if text else ""


def _without_large_files(folder: Path) -> list[str]:
    names = []
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if file.is_file() and not file.is_symlink() and file.stat().st_size > LARGEST_KEPT:
                file.unlink()
                names.append(str(file.relative_to(folder)))
    return names
