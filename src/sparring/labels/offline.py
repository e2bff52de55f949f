"""Labels that somebody computes elsewhere: structures go out as a file, energies and forces come back as files.

The files themselves are those of :mod:`sparring.exchange`.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from ase import Atoms

from sparring.labels.base import Label, LabelError
from sparring.labels.store import LabelStore
from sparring.labels.worker_process import Outcome

__all__ = ["AnswerError", "LabelFiles", "LabelsMissing", "Offline"]


class LabelsMissing(RuntimeError):
    """Labels are awaited: the run cannot go on before somebody has computed them.

    Attributes:
        file: Structures to be labelled.
        n_missing: Number of labels that are awaited.
        n_read: Number of labels that have been read.
    """

    def __init__(self, message: str, *, file: Path, n_missing: int, n_read: int) -> None:
        super().__init__(message)
        self.file, self.n_missing, self.n_read = file, n_missing, n_read


class AnswerError(RuntimeError):
    """Labels in files that cannot be those of the structures that were asked for."""


@dataclass(frozen=True)
class Offline:
    """Labels that come from files. It computes nothing, and gives keys to labels that were computed elsewhere.

    With the method and the version of another labeller, labels have the keys of that labeller.

    Attributes:
        method: Everything that changes the result: level of theory, basis, grids, thresholds.
        version: Name and version of the code that computes.
        depends_on: Names in info or arrays of a structure that labels depend on, besides the standard ones.
    """

    method: str = "offline"
    version: str = "offline"
    depends_on: tuple[str, ...] = ()

    def __call__(self, atoms: Atoms) -> Label:
        """Refuse to compute a label.

        Raises:
            LabelError: In any case.
        """
        raise LabelError(
            "not_configured",
            f"labels by {self.method} come from files (labels.labeller.kind: offline), and cannot be had for one "
            f"structure after the other, as here for {atoms.get_chemical_formula()}; name a labeller that computes",
        )


@runtime_checkable
class LabelFiles(Protocol):
    """Exchange of structures and labels with somebody who computes labels."""

    def outcomes(self, tasks: Mapping[str, Atoms], store: LabelStore | None) -> Iterator[tuple[str, Outcome]]:
        """Labels of structures, by their keys.

        Raises:
            LabelsMissing: If some are missing; a file then has the structures.
            AnswerError: If labels do not belong to the structures.
        """
        ...

    @property
    def n_missing(self) -> int:
        """Number of missing labels that have been collected."""
        ...

    def together(self) -> AbstractContextManager[None]:
        """Collect missing labels of a block of code, and ask for all of them at its end.

        In the block they count as failed. Its other errors are dropped if labels are missing.
        """
        ...
