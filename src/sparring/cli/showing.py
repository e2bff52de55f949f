"""Lines for a terminal, without characters of data and messages that it would obey."""

import logging

import typer

from sparring.support.printable import printable

__all__ = ["PrintableFormatter", "echo"]


def echo(text: object, *, err: bool = False) -> None:
    """Print a line.

    Args:
        text: The line, or several.
        err: If True, to standard error.
    """
    typer.echo(printable(str(text)), err=err)


class PrintableFormatter(logging.Formatter):
    """Messages of warnings, which quote what is in files."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of a record."""
        return printable(super().format(record))
