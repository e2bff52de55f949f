"""Labels by the labeller of the run that a committee belongs to, for validations."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from sparring.assembly.labels import label_service_of
from sparring.labels.pool import LabelReport
from sparring.labels.service import LabelService
from sparring.runs.saved_run import run_of
from sparring.support.progress import ProgressBars, no_progress_bars

__all__ = ["LabelFrames", "label_service_of_run"]

LabelFrames = Callable[[Sequence[Atoms]], LabelReport]
"""Function that labels structures, such as :meth:`sparring.labels.service.LabelService.label`."""


def label_service_of_run(
    folder: Path, progress_bars: ProgressBars = no_progress_bars
) -> tuple[LabelService | None, str]:
    """The labels of the run that a committee belongs to; None, and the reason, where there are none.

    The bounds are those of the run without its energy window: failures have high energies.
    """
    run = run_of(folder)
    if run is None:
        return None, f"{folder} is not in a run"
    try:
        config = run.config()
        if config.labels.labeller.kind == "none":
            return None, "the run has no labeller"
        if config.labels.labeller.kind == "offline":
            return None, "the labels of the run are computed elsewhere (labels.labeller.kind: offline)"
        service = label_service_of(config, run.folder, progress_bars)
    except (ValueError, ImportError, OSError) as error:
        return None, f"the labeller of the run cannot be used: {error}"
    return replace(service, bounds=replace(service.bounds, energy_window=None)), ""
