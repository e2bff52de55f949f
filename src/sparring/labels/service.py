"""Labels for the rest of the program: one labeller with its store, bounds, processes and limits."""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

from ase import Atoms

from sparring.labels.base import Bounds, Label, LabelError, Labeller
from sparring.labels.executors.core_hours import CoreHours
from sparring.labels.limits import Limits
from sparring.labels.offline import LabelFiles
from sparring.labels.pool import LabelReport, label, labelled_atoms
from sparring.labels.store import LabelStore
from sparring.labels.stored import StoredCalculator
from sparring.labels.workers import MakeExecutor, Workers
from sparring.support.progress import ProgressBars, no_progress_bars

__all__ = ["Failed", "LabelService"]

logger = logging.getLogger(__name__)

Failed: TypeAlias = Callable[[Atoms, LabelError], None]
"""Called with each structure whose label failed, and why."""


@dataclass(frozen=True, kw_only=True)
class LabelService:
    """One labeller with its store, bounds, worker processes and limits.

    Attributes:
        labeller: Labeller that computes the labels.
        store: Folder of labels, in which they are looked up before they are computed.
        bounds: Limits outside which a label counts as failed.
        n_workers: Number of processes.
        progress_bars: Progress bars by title.
        limits: Time and memory that a label may take.
        failed: Folder in which inputs and outputs of failed labels are kept.
        max_failed: Share of the labels of one call that may fail for reasons that are not the geometry's.
        min_succeeded: Share of the labels of one call that must succeed.
        executor: Executor of the labels, or a function that makes one; None for this machine.
        threads: Number of threads of a label.
        core_hours: Account of the time that labels take, with their budget; None counts nothing.
        files: Files by which labels are asked for and come back, where they are computed elsewhere; None where the
            labeller computes them.
        workers: Processes shared by all requests for labels.
    """

    labeller: Labeller
    store: LabelStore
    bounds: Bounds
    n_workers: int
    progress_bars: ProgressBars = no_progress_bars
    limits: Limits = field(default_factory=Limits)
    failed: Path | None = None
    max_failed: float = 1.0
    min_succeeded: float = 0.0
    executor: Executor | MakeExecutor | None = None
    threads: int = 1
    core_hours: CoreHours | None = None
    files: LabelFiles | None = None
    workers: Workers = field(init=False)

    def __post_init__(self) -> None:
        workers = Workers(
            self.labeller,
            self.n_workers,
            limits=self.limits,
            failed=self.failed,
            executor=self.executor,
            threads=self.threads,
            core_hours=self.core_hours,
        )
        object.__setattr__(self, "workers", workers)

    @property
    def calculator(self) -> StoredCalculator:
        """An ASE calculator, for relaxations and other work that goes step by step."""
        return StoredCalculator(self.labeller, self.store, bounds=self.bounds, workers=self.workers)

    def label(self, structures: Sequence[Atoms], lowest_energies: Mapping[str, float] | None = None) -> LabelReport:
        """Labels of many structures, in parallel."""
        return label(
            structures,
            self.labeller,
            store=self.store,
            workers=self.files or self.workers,
            bounds=self.bounds,
            lowest_energies=lowest_energies,
            progress=self.progress_bars("labelling"),
        )

    def together(self) -> AbstractContextManager[None]:
        """Ask once for all labels of a block of code, where labels are computed elsewhere."""
        return nullcontext() if self.files is None else self.files.together()

    def label_many(self, structures: Sequence[Atoms], failed: Failed | None = None) -> list[Atoms]:
        """The structures with their labels; those that have none are left out, logged, and given to `failed`.

        Raises:
            LabellingError: If too many fail, unless `failed` keeps count.
        """
        if not structures:
            return []
        report = self.label(structures)
        if failed is None:
            report.require_labeller(self.max_failed, self.min_succeeded)
        labelled = []
        for atoms, result, key in zip(structures, report.labels, report.keys, strict=True):
            if isinstance(result, Label):
                labelled.append(labelled_atoms(atoms, result, key))
            else:
                awaited = self.files is not None and self.files.n_missing
                logger.log(logging.DEBUG if awaited else logging.WARNING, "left out: %s", result)
                if failed is not None:
                    failed(atoms, result)
        return labelled

    def without_bounds(self) -> "LabelService":
        """The same without bounds: where atoms run into each other is a part of the picture."""
        return replace(self, bounds=Bounds(min_distance=None, max_force=None, energy_window=None))
