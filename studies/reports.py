"""A report of a study of strategies: its record, its figures and its page."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from layout import Layout

from sparring.support.files import write_text
from sparring.validation.records import read_record, write_record

__all__ = ["Found", "recorded", "write_report"]

T = TypeVar("T")


class Found(Protocol):
    """All that there is of a study."""

    @property
    def committees(self) -> tuple[object, ...]:
        """What is known of each committee."""

    @property
    def missing(self) -> tuple[str, ...]:
        """What has not been computed, in words."""


def recorded(file: Path, kind: type[T], *, keep: bool) -> T | None:
    """What an earlier report has left, if it is to be kept and there is any."""
    return read_record(file, kind) if keep and file.exists() else None


def write_report(
    name: str,
    study: Layout,
    results: Found,
    output: Path,
    *,
    figures: Callable[[], Mapping[str, str]],
    page: Callable[[Mapping[str, str]], str],
) -> str:
    """Write record, page and figures; gives what was written, and what is missing, in words.

    Args:
        name: Of the study, and of its files.
        study: Whose results they are.
        results: For the record.
        output: Folder of the files.
        figures: Draws and saves; gives captions by name.
        page: Of these captions, as Markdown.

    Raises:
        ValueError: If there is nothing yet.
    """
    if not results.committees:
        raise ValueError(f"{study.folder} has no committee yet; `python studies/{name}.py run` makes them")
    output.mkdir(parents=True, exist_ok=True)
    write_record(output / f"{name}.json", results)
    drawn = figures()
    write_text(output / f"{name}.md", page(drawn))
    written = [f"{name}.json", f"{name}.md", *(f"{one}.png and .svg" for one in drawn)]
    left = [f"missing: {one}" for one in results.missing] or ["nothing is missing"]
    return "\n".join([f"{output}: {', '.join(written)}", *left])
