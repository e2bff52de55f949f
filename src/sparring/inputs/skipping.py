"""Frames that a file was read without, as a table beside the result."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sparring.support.files import write_text
from sparring.support.printable import as_cell

__all__ = ["Skipped", "counted", "write_skipped"]

SHOWN = 8
"""Largest number of frames that a message names."""


class Skipped(NamedTuple):
    """A frame that was left out.

    Attributes:
        file: File.
        frame: Number of the frame in the file, counting from 0.
        reason: Problem of the frame, and what to do.
    """

    file: str
    frame: int
    reason: str


def counted(skipped: Sequence[Skipped], n_frames: int) -> str:
    """The number of frames that are wrong, and which.

    >>> counted([Skipped("a.xyz", 3, "no cell")], 10)
    '1 of 10 frames is wrong (frame 3)'
    """
    numbers = ", ".join(str(one.frame) for one in skipped[:SHOWN])
    more = f" and {len(skipped) - SHOWN} more" if len(skipped) > SHOWN else ""
    several = len(skipped) > 1
    return (
        f"{len(skipped)} of {n_frames} frames {'are' if several else 'is'} wrong (frame{'s' * several} {numbers}{more})"
    )


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write the frames that were left out to a table with the columns file, frame and reason.

    Raises:
        OSError: If the file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(Skipped._fields)
    rows.writerows([as_cell(str(cell)) for cell in one] for one in skipped)
    write_text(path, text.getvalue())
