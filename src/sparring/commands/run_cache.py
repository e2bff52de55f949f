"""The stages of a run on disk, for one command: what is kept beside them, and what is told when they are done."""

import shutil
from collections.abc import Callable
from typing import TypeVar

from sparring.labels import LabelError, LabellingError
from sparring.runs.failures import write_failures
from sparring.runs.folder import RunFolder
from sparring.runs.generation import CHECKPOINTS, OPEN_FAILURES
from sparring.runs.loop import Plan
from sparring.runs.results import Labelled, State
from sparring.runs.stages import TITLES
from sparring.runs.stopping import error_found
from sparring.support.stopping import raise_if_stopped, stopped_in

__all__ = ["RunCache"]

T = TypeVar("T")


class RunCache:
    """Cache of a run folder that keeps failed labels of an open stage, and reports each generation that is complete.

    Args:
        planned: Plan of the run.
        folder: Open run folder.
        finished_generation: Function that is called with the metrics of a generation once it is complete.

    Attributes:
        unlabelled: Failed labels of the last stage that has labelled no structure.
        ends: True if the run ends with the generation that is computed.
    """

    def __init__(
        self, planned: Plan, folder: RunFolder, finished_generation: Callable[[dict[str, object]], None] | None
    ) -> None:
        self.planned, self.folder = planned, folder
        self.finished_generation = finished_generation
        self.unlabelled: list[LabelError] = []
        self.ends = False

    def __call__(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        """The result of a stage; see :meth:`sparring.runs.folder.RunFolder.cached`."""
        saved = self.folder.saved.generation(generation)
        open_failures = saved.folder / OPEN_FAILURES
        try:
            with stopped_in(f"generation {generation}, {TITLES[stage]}"):
                raise_if_stopped()
                result = self.folder.cached(generation, stage, compute)
        except LabellingError as error:
            write_failures(open_failures, enumerate(error.failures))
            raise
        open_failures.unlink(missing_ok=True)
        if stage == "fit":
            shutil.rmtree(saved.folder / CHECKPOINTS, ignore_errors=True)
        if isinstance(result, Labelled) and not result.atoms:
            self.unlabelled = [failure for _, failure in result.failures]
        if isinstance(result, State):
            self.ends = self.planned.label is None or self.planned.ends_with(result)
            self._log_of_end(result)
        final = "evaluate" if self.planned.label is not None else "select"
        if self.finished_generation and ((self.ends and stage == final) or stage == "label"):
            self.finished_generation(saved.metrics())
        return result

    def _log_of_end(self, state: State) -> None:
        """One line where a run ends because of what its labels show."""
        stop = self.planned.stop
        if stop is not None and state.found is not None and stop.met(state.found):
            error = error_found(state.found, stop.confidence)
            self.folder.log(
                f"generation {state.generation - 1}: with a confidence of {stop.confidence:g} the next structure found "
                f"errs by less than {error:.3g} eV/Å, and {stop.force_error:g} eV/Å were asked for: the run ends with "
                f"generation {state.generation}, which is trained on these labels, too"
            )
