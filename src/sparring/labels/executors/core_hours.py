"""Core hours of labels: what has been used, and the budget that ends a run."""

import json
import time
from pathlib import Path

from sparring.support.digest import digest
from sparring.support.files import write_text

__all__ = ["BudgetUsedUp", "CoreHours", "read_core_hours"]

HOUR = 3600.0
INTERVAL = 1.0
"""Seconds between two writes of the file: cheap labels come faster than a disk can flush."""


class BudgetUsedUp(RuntimeError):
    """The core hours that labels may take are used up: the run stops, and goes on with a larger budget."""


class CoreHours:
    """Account of the core hours of labels: wall time of each computed or failed label times its threads.

    Args:
        file: File that keeps the sum; None keeps none.
        budget: Core hours at which no further label is begun; None for no bound.

    Raises:
        ValueError: If the file is damaged.
    """

    def __init__(self, file: Path | None = None, budget: float | None = None) -> None:
        self._file = file
        self.budget = budget
        self._before, self._n_before = (0.0, 0) if file is None else _read(file)
        self._seconds, self._n = 0.0, 0
        self._written = time.monotonic() - INTERVAL

    @property
    def used(self) -> float:
        """Core hours used so far, by this and by earlier processes."""
        return (self._before + self._seconds) / HOUR

    @property
    def used_up(self) -> bool:
        """True if no further label may begin."""
        return self.budget is not None and self.used >= self.budget

    def add(self, seconds: float, threads: int) -> None:
        """Count a label."""
        self._seconds += seconds * threads
        self._n += 1
        if time.monotonic() - self._written >= INTERVAL:
            self.write()

    def write(self) -> None:
        """Write the sum, if there is something new."""
        if self._file is None or not self._n:
            return
        # Other commands may have labelled for the same run meanwhile.
        self._before, self._n_before = _read(self._file)
        self._before, self._n_before = self._before + self._seconds, self._n_before + self._n
        self._seconds, self._n = 0.0, 0
        content = {"core_seconds": round(self._before, 3), "n_labels": self._n_before}
        self._file.parent.mkdir(parents=True, exist_ok=True)
        write_text(self._file, json.dumps({**content, "sha256": digest(content)}, indent=1) + "\n")
        self._written = time.monotonic()

    def require(self) -> None:
        """Raise if no further label may begin.

        Raises:
            BudgetUsedUp: If the budget is used up.
        """
        if self.used_up:
            kept = f" ({self._file})" if self._file is not None else ""
            raise BudgetUsedUp(
                f"labels have used {self.used:.4g} core hours{kept}, and the budget is {self.budget:g}. Finished "
                "labels are kept. Raise `budget` in the resources file, then run the same command again"
            )


def read_core_hours(file: Path) -> tuple[float, int]:
    """Core hours that labels have used, and the number of these labels; zeros if there is no file.

    Raises:
        ValueError: If the file is damaged.
    """
    seconds, n_labels = _read(file)
    return seconds / HOUR, n_labels


def _read(file: Path) -> tuple[float, int]:
    remedy = "delete it, and core hours are counted from zero"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        content = {"core_seconds": float(record["core_seconds"]), "n_labels": int(record["n_labels"])}
        sound = record["sha256"] == digest(content)
    except FileNotFoundError:
        return 0.0, 0
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} cannot be read; {remedy}") from error
    if not sound:
        raise ValueError(f"{file} does not agree with its own checksum; {remedy}")
    return float(content["core_seconds"]), int(content["n_labels"])
