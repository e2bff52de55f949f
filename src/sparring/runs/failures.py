"""Failed labels as a table with structure, reason, message and folder of files."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparring.labels import LabelError
from sparring.support.files import write_text
from sparring.support.printable import as_cell, from_cell

__all__ = ["failure_of", "read_failures", "rows_of", "write_failures"]

COLUMNS = ("candidate", "reason", "message", "files")


def write_failures(file: Path, failures: Iterable[tuple[int | str, LabelError]], *, name: str = "candidate") -> None:
    """Write a table of labels that failed.

    Args:
        file: Path of the table.
        failures: Number or name of each structure, and its error.
        name: Title of the first column.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([name, *COLUMNS[1:]])
    for structure, error in failures:
        cells = (str(structure), error.reason, error.message, str(error.files or ""))
        table.writerow(map(as_cell, cells))
    write_text(file, text.getvalue())


def read_failures(file: Path) -> list[LabelError]:
    """The failed labels of a table; none if it is not there."""
    return [failure_of(row) for row in rows_of(file)]


def failure_of(row: Mapping[str, str]) -> LabelError:
    """The error of one row."""
    # Runs of older versions do not have this column.
    files = row.get("files")
    return LabelError(row["reason"], row["message"], Path(files) if files else None)  # type: ignore[arg-type]


def rows_of(file: Path) -> list[dict[str, str]]:
    """The rows of a table with their columns by name; none where there is no file."""
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as stream:
        return [{name: from_cell(cell) for name, cell in row.items()} for row in csv.DictReader(stream)]
