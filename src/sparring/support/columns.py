"""Columns of text for a terminal, as wide as what stands in them and always two blanks apart."""

from collections.abc import Collection, Iterable, Sequence

__all__ = ["GAP", "Columns", "aligned"]

GAP = "  "


def aligned(rows: Sequence[Sequence[str]], *, left: Collection[int] = (0,)) -> list[str]:
    """Rows of a table that is known as a whole, one line each.

    Args:
        rows: Cells, the same number in each row; a heading is a row like any other.
        left: Places of the columns that begin at the same place; the others end there, as numbers do.
    """
    table = Columns([max(map(len, column)) for column in zip(*rows, strict=True)], left=left)
    return [table.line(row) for row in rows]


class Columns:
    """Columns of a table whose rows are printed one by one, before the next ones are known.

    A cell that is wider than its column widens it for the rows that follow; it never touches its neighbour.

    Args:
        widths: Width of each column to begin with.
        left: Places of the columns that begin at the same place.
    """

    def __init__(self, widths: Sequence[int], *, left: Collection[int] = ()) -> None:
        self._widths, self._left = list(widths), frozenset(left)

    def line(self, cells: Iterable[str]) -> str:
        """A row as a line."""
        row = list(cells)
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, row, strict=True)]
        padded = (
            cell.ljust(width) if place in self._left else cell.rjust(width)
            for place, (width, cell) in enumerate(zip(self._widths, row, strict=True))
        )
        return GAP.join(padded).rstrip()
