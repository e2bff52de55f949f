"""Tables of numbers: one value that is shown as text, HTML or Markdown, so that a number is formatted in one place."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from sparring.support.printable import printable

__all__ = ["UNKNOWN", "Cell", "Column", "Table", "TextRows"]

Cell = None | str | int | float | tuple[float, ...]
"""Value of a cell: None if it is not known, text as it stands, or numbers for the format of the column."""

GAP = "  "
UNKNOWN = "-"
TAG = re.compile(r"<(?=[A-Za-z/!?])")
MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table.

    A line break in the title or the format breaks the line in HTML, and is a blank in text and in Markdown.

    Attributes:
        title: Heading.
        unit: Unit of the numbers, shown behind the heading.
        format: Format of a cell, with one field for each of its numbers: "{:.2f}", or "{:.2f} [{:.2f}, {:.2f}]".
        size: Divisor of the numbers before they are formatted: the size of the unit, for values in eV.
        group: Heading above several columns that stand side by side.
        left: True for text that starts at the left edge of the column; numbers end at the right edge.
    """

    title: str
    unit: str = ""
    format: str = "{}"
    size: float = 1.0
    group: str = ""
    left: bool = False

    def text(self, cell: Cell) -> str:
        """A cell as text."""
        if cell is None:
            return UNKNOWN
        if isinstance(cell, str):
            return printable(cell)
        if isinstance(cell, int):
            return self.format.format(cell)
        values = [value / self.size for value in (cell if isinstance(cell, tuple) else (cell,))]
        return self.format.format(*values) if all(map(math.isfinite, values)) else "not finite"

    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title}\n({self.unit})" if self.unit else self.title


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of values, and the columns that say how to show them.

    Attributes:
        columns: Columns from left to right.
        rows: Cells, as many as there are columns.
        caption: Lines above the table in text: what it shows, in which units.
    """

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"a row has {len(row)} cells, the table has {len(self.columns)} columns: {row}")

    @property
    def headings(self) -> tuple[str, ...]:
        """Headings of the columns."""
        return tuple(column.heading() for column in self.columns)

    @property
    def groups(self) -> tuple[tuple[str, int], ...]:
        """Headings above columns, and over how many columns each extends; none if no column has one."""
        names = [column.group for column in self.columns]
        return tuple((name, len(list(same))) for name, same in groupby(names)) if any(names) else ()

    def cells(self) -> tuple[tuple[str, ...], ...]:
        """All cells as text."""
        return tuple(
            tuple(column.text(cell) for column, cell in zip(self.columns, row, strict=True)) for row in self.rows
        )

    def without_empty_columns(self) -> "Table":
        """The table without columns that have no known value."""
        kept = [place for place in range(len(self.columns)) if any(row[place] not in (None, "") for row in self.rows)]
        return replace(
            self,
            columns=tuple(self.columns[place] for place in kept),
            rows=tuple(tuple(row[place] for place in kept) for row in self.rows),
        )

    def text(self) -> str:
        """The caption, and columns as wide as their cells, two blanks apart."""
        rows = TextRows(self.columns)
        cells = self.cells()
        for row in cells:
            rows.line(row)
        above = [rows.groups(self.groups)] if self.groups else []
        return "\n".join([*self.caption, *above, rows.headings(), *map(rows.line, cells)])

    def stacked_text(self) -> str:
        """The caption, and the groups of columns below one another, where all of them have the same headings.

        The first column names the rows. A row is left out of a group in which it has no value.
        """
        (_, first), *groups = self.groups
        width, place, blocks = groups[0][1], first, []
        for title, span in groups:
            columns = slice(place, place + span)
            rows = [
                (*cells[:first], *cells[columns])
                for row, cells in zip(self.rows, self.cells(), strict=True)
                if any(value not in (None, "") for value in row[columns])
            ]
            if rows:
                blocks.append((title, rows))
            place += span
        lines = TextRows(self.columns[: first + width])
        for _, rows in blocks:
            for cells in rows:
                lines.line(cells)
        body = [line for title, rows in blocks for line in (title, *map(lines.line, rows))]
        return "\n".join([*self.caption, lines.headings(), *body])

    def html(self) -> str:
        """An HTML table, with a typographic minus and dash."""
        groups = "".join(f'<th scope="colgroup" colspan="{span}">{escape(name)}</th>' for name, span in self.groups)
        headings = "".join(f'<th scope="col">{escape(heading)}</th>' for heading in self.headings)
        rows = [
            "".join(f"<td>{escape(_typographic(value, cell))}</td>" for value, cell in zip(values, cells, strict=True))
            for values, cells in zip(self.rows, self.cells(), strict=True)
        ]
        head = "".join(f"<tr>{line}</tr>" for line in (groups, headings) if line)
        body = "".join(f"<tr>{row}</tr>\n" for row in rows)
        return f'<table class="numbers">\n<thead>{head}</thead>\n<tbody>\n{body}</tbody>\n</table>'

    def markdown(self) -> str:
        """A table in GitHub's Markdown; headings of groups are part of those of their columns."""
        titles = [_one_line(f"{one.group} {one.heading()}".strip()) for one in self.columns]
        lines = [titles, [":--" if column.left else "--:" for column in self.columns]]
        lines += [[_one_line(cell) for cell in row] for row in self.cells()]
        return "\n".join(f"| {' | '.join(map(_without_tags, line))} |" for line in lines)


class TextRows:
    """Lines of a table in text, one by one: also those of rows that come before the next ones are known.

    A cell that is wider than its column widens the column for the rows that follow; it never touches the next cell.

    Args:
        columns: Columns of the table, at first as wide as their headings.
        widths: Smallest widths of the columns.
    """

    def __init__(self, columns: Sequence[Column], widths: Sequence[int] = ()) -> None:
        self._columns = tuple(columns)
        self._widths = [len(_one_line(column.heading())) for column in columns]
        for place, width in enumerate(widths):
            self._widths[place] = max(self._widths[place], width)

    def headings(self) -> str:
        """The line of the headings."""
        return self.line(column.heading() for column in self._columns)

    def row(self, cells: Iterable[Cell]) -> str:
        """The line of a row of values."""
        return self.line(column.text(cell) for column, cell in zip(self._columns, cells, strict=True))

    def line(self, cells: Iterable[str]) -> str:
        """The line of cells that are text already."""
        row = [_one_line(cell) for cell in cells]
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        padded = (
            cell.ljust(width) if column.left else cell.rjust(width)
            for column, width, cell in zip(self._columns, self._widths, row, strict=True)
        )
        return GAP.join(padded).rstrip()

    def groups(self, groups: Iterable[tuple[str, int]]) -> str:
        """The line of headings above columns; the last column of a narrow group is widened."""
        place, parts = 0, []
        for name, span in groups:
            width = sum(self._widths[place : place + span]) + len(GAP) * (span - 1)
            self._widths[place + span - 1] += max(0, len(name) - width)
            parts.append(name.ljust(max(width, len(name))))
            place += span
        return GAP.join(parts).rstrip()


def _one_line(text: str) -> str:
    return text.replace("\n", " ")


def _without_tags(text: str) -> str:
    """A cell in Markdown, where a tag of HTML would be one; the stroke would begin the next cell."""
    return TAG.sub("&lt;", text).replace("|", "\\|")


def _typographic(value: Cell, cell: str) -> str:
    """A cell of a page: en dash for what is not known, minus sign before a number."""
    if value is None:
        return "–"
    return cell if isinstance(value, str) else MINUS.sub("−", cell)
