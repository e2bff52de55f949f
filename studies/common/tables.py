"""Tables of a study as Markdown, with the number of seeds in every cell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from sparring.support.tables import Column, Table
from studies.common.records import CommitteeRow, Results

__all__ = ["Columns", "label_counts", "numbers", "section", "summary", "table"]

Row = TypeVar("Row", bound=CommitteeRow)
Columns: TypeAlias = Mapping[str, Callable[[list[Row]], str]]
"""Text of a cell from the rows of all seeds, by the heading of the column."""


def table(title: str, results: Results[Row], columns: Columns[Row], name: Callable[[str], str]) -> str:
    """One line for each strategy and generation that has a committee.

    Args:
        title: Heading of the table.
        results: Results with the rows.
        columns: Columns after strategy, generation and labels.
        name: Function that gives the title of a strategy.
    """
    committees = {(strategy, generation): results.of(strategy, generation) for strategy, generation in results.keys}
    return section(
        title,
        Table(
            columns=numbers("strategy", "generation", "labels (refused)", *columns),
            rows=tuple(
                (name(strategy), generation, label_counts(rows), *(cell(rows) for cell in columns.values()))
                for (strategy, generation), rows in committees.items()
            ),
        ),
    )


def numbers(name: str, *titles: str) -> tuple[Column, ...]:
    """A column of names, and columns of numbers."""
    return (Column(title=name, left=True), *(Column(title=title) for title in titles))


def section(title: str, table: Table) -> str:
    """A table below its heading, as Markdown."""
    return f"## {title}\n\n{table.markdown()}"


def label_counts(rows: Sequence[CommitteeRow]) -> str:
    """Mean number of labels requested, and of those that were refused: "15.4 (1.6)"."""
    return f"{np.mean([row.n_requested for row in rows]):.3g} ({np.mean([row.n_failed for row in rows]):.3g})"


def summary(values: Iterable[float | None], *, unit: float = 1.0, decimals: int = 2) -> str:
    """Mean, standard deviation and number of seeds: "0.12 ± 0.03 (3)"; None and nan are left out."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)]) / unit
    if not len(known):
        return "–"
    spread = f" ± {known.std(ddof=1):.{decimals}f}" if len(known) > 1 else ""
    mean = known.mean() + 0.0 if abs(known.mean()) > 0.5 * 10.0**-decimals else 0.0  # no minus sign before a zero
    return f"{mean:.{decimals}f}{spread} ({len(known)})".replace("-", "−")
