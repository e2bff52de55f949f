"""The sections of the page about validations: what verbs below `sparring validate` have written into a run folder.

A section stands where a result is. If there is none, the page shows the command that computes it; if a file cannot be
used, the page shows the reason, and everything else as usual.
"""

import logging
from dataclasses import dataclass
from typing import Any

from sparring.atoms.primitive import is_crystal
from sparring.reporting.data import Run
from sparring.reporting.paper import published, remarks
from sparring.support.tables import Table
from sparring.validation import registry
from sparring.validation.base import Embedded, ReportedRun, ReportFigure, Validation
from sparring.validation.results import Results

__all__ = ["Section", "Validations", "validations"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Section:
    """The results of one validation, as the page shows them.

    Attributes:
        name: Address within the page.
        title: Heading.
        figures: Figures.
        table: Numbers.
        notes: Lines below the table.
        more_tables: Further tables with their headings.
        missing: Commands that compute what is missing.
        problems: Reasons why a file was not used.
    """

    name: str
    title: str
    figures: tuple[ReportFigure, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    more_tables: tuple[tuple[str, Table], ...] = ()
    missing: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Validations:
    """All sections, and the embedded structures for the explorer, if there are any."""

    sections: tuple[Section, ...]
    embedded: Embedded | None


def validations(run: Run) -> Validations:
    """All results of validations of a run."""
    reported = _reported(run)
    sections: list[Section] = []
    embedded: Embedded | None = None
    for name in registry.names() if reported.generations else ():
        try:
            validation = registry.find(name)
        except ValueError as error:
            logger.warning("the report has no section on %s: %s", name, error)
            continue
        if not validation.applies(reported):
            continue
        files = Results(run=reported)
        results = validation.read(files)
        if validation.embedded is not None and results is not None:
            embedded = validation.embedded(results, files) or embedded
        sections.append(_section(validation, results, files))
    return Validations(sections=tuple(sections), embedded=embedded)


def _reported(run: Run) -> ReportedRun:
    """Facts about a run for the sections."""

    def number_of(quantity: str, name: str, /) -> str | None:
        # The committees of the publication were trained on attacks; the first one is the same for any strategy.
        kind, _, number = name.rpartition(" ")
        if kind != "generation" or (run.strategy != "adversarial" and number != "1"):
            return None
        found = published(run.system, quantity, int(number))
        return None if found is None else found.words

    def statements(quantity: str) -> tuple[str, ...]:
        return tuple(f"The paper ({one.where}): {one.words}" for one in remarks(run.system, quantity))

    return ReportedRun(
        folder=run.folder,
        unit=run.unit,
        generations=tuple(one.number for one in run.generations if one.metric("n_members") is not None),
        has_molecules=run.system.is_molecular,
        has_crystals=any(is_crystal(atoms) for origin in run.origins for atoms in origin.frames),
        has_labels=run.labels,
        has_endpoints=run.system.endpoints is not None,
        has_grid=run.system.torsions is not None or run.system.grid is not None,
        has_torsions=run.system.torsions is not None,
        published=number_of,
        remarks=statements,
    )


def _section(validation: Validation, results: Any, files: Results) -> Section:  # noqa: ANN401
    """The section as far as it can be shown, with the problems of its files."""
    figures: tuple[ReportFigure, ...] = ()
    table: Table | None = None
    notes: tuple[str, ...] = ()
    more_tables: tuple[tuple[str, Table], ...] = ()
    if results is not None:
        try:
            figures = tuple(validation.figures(results, files.run.unit))
            table = validation.table(results, files.run.unit, published=files.run.published)
            table = table if table is None or table.rows else None  # a header alone says nothing
            notes = tuple(validation.notes(results, files.run))
            more_tables = tuple(validation.more_tables(results, files.run.unit))
        # A file can be wrong in ways that cannot be foreseen; the rest of the page is shown.
        except Exception as error:
            logger.warning("the report has no section on %s", validation.title, exc_info=error)
            reason = f"{type(error).__name__}: {error}"
            files.problems.append(f"The results cannot be shown ({reason}); compute them again.")
            figures, table, notes, more_tables = (), None, (), ()
    return Section(
        name=validation.key,
        title=validation.title,
        figures=figures,
        table=table,
        notes=notes,
        more_tables=more_tables,
        missing=tuple(files.missing),
        problems=tuple(files.problems),
    )
