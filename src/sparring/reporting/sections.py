"""What a section of the page about one kind of validation is, and how it comes to be in spite of damaged files."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from sparring.reporting.data import Run
from sparring.reporting.paper import remarks
from sparring.reporting.results import Results
from sparring.reporting.sheets import Sheet
from sparring.reporting.tables import Table

__all__ = ["Section", "natural", "quoted", "section_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the page shows of one kind of validation.

    Attributes:
        name: For addresses within the page.
        title: For people.
        sheets: Figures.
        table: Numbers.
        notes: Lines below.
        missing: Commands that would complete it.
        problems: Why a file was not used.
    """

    name: str
    title: str
    sheets: tuple[Sheet, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def section_of(files: Results, name: str, title: str, show: Callable[[], Section] | None) -> Section:
    """The section as far as it can be shown, with all that is to be said about its files."""
    section = Section(name=name, title=title)
    if show is not None:
        try:
            section = show()
        # A file can be wrong in more ways than can be foreseen, and the rest of the page is worth having.
        except Exception as error:
            logger.warning("the report has no section on %s", title, exc_info=error)
            files.problems.append(f"What is there cannot be shown ({type(error).__name__}: {error}); make it again.")
    return Section(
        name=name,
        title=title,
        sheets=section.sheets,
        table=section.table,
        notes=section.notes,
        missing=tuple(files.missing),
        problems=tuple(files.problems),
    )


def quoted(run: Run, quantity: str) -> tuple[str, ...]:
    """What the paper says of a quantity."""
    return tuple(f"The paper ({one.where}): {one.words}" for one in remarks(run.system, quantity))


def natural(name: str) -> tuple[str, int]:
    """Generation 2 before generation 10."""
    words, _, number = name.rpartition(" ")
    return (words, int(number)) if number.isdecimal() else (name, 0)
