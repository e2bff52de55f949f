"""Progress of long work: a bar on a terminal, a line every 30 seconds elsewhere."""

import atexit
import sys
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

__all__ = ["ProgressBars", "ProgressCallback", "no_progress_bars", "progress_bars_on"]

ProgressCallback = Callable[[int, int], None]
"""Function that is called with the number of steps done and the total number."""

SECONDS_BETWEEN_LINES = 30.0


@runtime_checkable
class ProgressBars(Protocol):
    """Starts a progress bar for each task."""

    def __call__(self, title: str) -> ProgressCallback | None:
        """The callback of a task, or None for no output.

        Args:
            title: Title of the task.
        """


def no_progress_bars(title: str) -> ProgressCallback | None:
    """No progress output."""
    return None


def progress_bars_on(console: Console | None = None) -> ProgressBars:
    """Progress bars on a terminal; lines in a log file.

    Args:
        console: Console for the output; standard error by default.
    """
    console = console or Console(file=sys.stderr)
    return _bars(console) if console.is_terminal else _lines(console)


def _bars(console: Console) -> ProgressBars:
    def progress_bars(title: str) -> ProgressCallback:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        bar = Progress(*columns, console=console, transient=True)
        task: list[TaskID] = []

        def tick(done: int, total: int) -> None:
            if not task:
                # The cursor of the terminal is restored also if the work is interrupted.
                atexit.register(bar.stop)
                bar.start()
                task.append(bar.add_task(title, total=total))
            bar.update(task[0], completed=done, total=total)
            if done >= total:
                bar.stop()
                atexit.unregister(bar.stop)

        return tick

    return progress_bars


def _lines(console: Console) -> ProgressBars:
    def progress_bars(title: str) -> ProgressCallback:
        last = [time.monotonic()]

        def tick(done: int, total: int) -> None:
            now = time.monotonic()
            if done < total and now - last[0] >= SECONDS_BETWEEN_LINES:
                last[0] = now
                console.print(f"{title}: {done} of {total}", highlight=False, markup=False, emoji=False)

        return tick

    return progress_bars
