"""Parting of the text of an (extended) XYZ file into frames, also behind a frame that is damaged."""

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from sparring.inputs.texts import text_of

__all__ = ["Frame", "frames_of", "name_of_frame"]

_logger = logging.getLogger(__name__)
_COUNT = re.compile(r"\s*[0-9]{1,12}\s*")


class Frame(NamedTuple):
    """The lines of one frame, and for messages: where it stands, and what to do if its last line is incomplete."""

    where: str
    n_atoms: int
    header: str
    rows: list[str]
    cut_off: str | None

    def refuse(self, problem: str) -> NoReturn:
        """Raise for a problem of the frame."""
        raise ValueError(f"{self.where}: {problem}")


def name_of_frame(path: Path, index: int) -> str:
    """The name of a frame for messages."""
    return f"{path}, frame {index} (counting from 0)"


def frames_of(path: Path) -> Iterator[Frame | ValueError]:
    """The frames of a file in order; in the place of lines that are no frame, the error that says why.

    Behind such lines the next frame begins where a line holds nothing but a number: rows of atoms have four words.

    Raises:
        ValueError: If the file is no text.
        OSError: If it cannot be opened.
    """
    text = text_of(path)
    lines = text.split("\n")  # not splitlines(), which also parts lines at characters that a comment may hold
    finished = not lines[-1]
    if finished:
        lines.pop()
    else:
        _logger.warning("%s does not end with a line break: if it was cut off, its last number may be incomplete", path)
    start = index = n_complete = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
            continue
        where, n_atoms = name_of_frame(path, index), _number_of_atoms(lines[start])
        end = start + 2 + n_atoms
        salvage = f"complete frames before it: {n_complete}; to use those, delete the lines from {start + 1} on"
        rows = lines[start + 2 : end]
        other = next((i for i, row in enumerate(rows) if row.strip().isdecimal()), None) if n_atoms else None
        index += 1
        if n_atoms < 1:
            yield ValueError(
                f"{where}: line {start + 1} must hold the number of atoms of the next frame, got "
                f"{lines[start][:80]!r}; count the rows of the frame before it"
            )
            start = _next_count(lines, start + 1)
        elif other is not None:
            yield ValueError(
                f"{where}: {n_atoms} atoms announced, {other} rows found: line {start + 3 + other} is "
                f"{rows[other].strip()[:20]!r}, the number of atoms of another frame; correct line {start + 1}, or "
                "complete the rows"
            )
            start = start + 2 + other
        elif len(rows) < n_atoms:
            yield ValueError(
                f"{where}: the file is cut off here: {n_atoms} atoms announced, {len(rows)} rows found; {salvage}"
            )
            return
        else:
            n_complete += 1
            cut_off = salvage if end == len(lines) and not finished else None
            yield Frame(where, n_atoms, lines[start + 1], rows, cut_off)
            start = end


def _number_of_atoms(line: str) -> int:
    return int(line) if _COUNT.fullmatch(line) else 0


def _next_count(lines: Sequence[str], start: int) -> int:
    """The next line that may begin a frame."""
    return next((i for i in range(start, len(lines)) if _number_of_atoms(lines[i])), len(lines))
