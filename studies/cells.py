"""Cells of tables: what is shown of one number that several seeds have given."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

__all__ = ["Asked", "of_labels", "summary"]


class Asked(Protocol):
    """A committee for which labels were asked for, some of which were refused."""

    @property
    def n_asked(self) -> int:
        """Labels asked for."""

    @property
    def n_failed(self) -> int:
        """Those of them that were refused."""


def of_labels(rows: Sequence[Asked]) -> str:
    """Labels that were asked for in the mean over seeds, and how many of them were refused: "15.4 (1.6)"."""
    return f"{np.mean([row.n_asked for row in rows]):.3g} ({np.mean([row.n_failed for row in rows]):.3g})"


def summary(values: Iterable[float | None], *, unit: float = 1.0, decimals: int = 2) -> str:
    """Mean and standard deviation over seeds, and how many there are: "0.12 ± 0.03 (3)"."""
    known = np.array([value for value in values if value is not None and np.isfinite(value)]) / unit
    if not len(known):
        return "–"
    spread = f" ± {known.std(ddof=1):.{decimals}f}" if len(known) > 1 else ""
    mean = known.mean() + 0.0 if abs(known.mean()) > 0.5 * 10.0**-decimals else 0.0  # no minus before a zero
    return f"{mean:.{decimals}f}{spread} ({len(known)})".replace("-", "−")
