"""Output for a terminal, without characters of data and messages that the terminal would obey."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOBase
from typing import TextIO

from sparring.support.printable import printable

__all__ = ["PrintableFormatter", "PrintableOutput", "printable_output"]


class PrintableFormatter(logging.Formatter):
    """Messages of warnings, which quote what is in files."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of a record."""
        return printable(super().format(record))


class PrintableOutput(TextIOBase):
    """A stream of text that writes out the characters that a terminal would obey.

    Args:
        stream: Stream that is written to.
    """

    def __init__(self, stream: TextIO | TextIOBase) -> None:
        self._stream = stream

    def write(self, text: str | bytes) -> int:
        """Write a text.

        Raises:
            TypeError: If it is no text; that is how Typer finds out what a stream takes.
        """
        if not isinstance(text, str):
            raise TypeError(f"wanted a text, got {type(text).__name__}")
        return self._stream.write(printable(text))

    def writelines(self, lines: Iterable[str]) -> None:  # type: ignore[override]
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Write out what is in buffers."""
        self._stream.flush()

    def isatty(self) -> bool:
        """True for a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Number of the file of the stream."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Encoding of the stream."""
        return self._stream.encoding


@contextmanager
def printable_output(stream: TextIO | TextIOBase) -> Iterator[None]:
    """Context in which standard output, which has no colours, goes to a stream through :class:`PrintableOutput`."""
    with redirect_stdout(PrintableOutput(stream)):
        yield
