"""``sparring status``, as a function."""

from dataclasses import dataclass, field
from pathlib import Path

from sparring.exchange.folder import n_awaited
from sparring.labels import by_reason
from sparring.labels.executors.core_hours import read_core_hours
from sparring.runs.saved_run import SavedRun

__all__ = ["GenerationStatus", "core_hours_line", "status"]


@dataclass(frozen=True, kw_only=True)
class GenerationStatus:
    """Progress of a generation.

    Attributes:
        generation: Number of the generation, from 1.
        stages: Committed stages, in their order.
        metrics: Numbers of these stages.
        failed: Number of failed labels by reason.
        open_failures: Number of failed labels by reason, of a stage that was not committed because of them.
        awaited: Number of offline labels that are awaited.
    """

    generation: int
    stages: tuple[str, ...]
    metrics: dict[str, object]
    failed: dict[str, int] = field(default_factory=dict)
    open_failures: dict[str, int] = field(default_factory=dict)
    awaited: int = 0


def status(folder: Path | str) -> list[GenerationStatus]:
    """Progress of the generations of a run; nothing is written.

    Args:
        folder: Run folder.

    Raises:
        ValueError: If the folder is not that of a run.
        RunFolderError: If the configuration has changed since the run has written it, a file that is read is damaged,
            or generations do not follow from each other.
    """
    run = SavedRun(Path(folder))
    if not run.exists:
        raise ValueError(
            f"{folder} is not a run folder: there is no config.yaml; give the --folder of a `sparring run`"
        )
    run.require_config()
    run.require_linked()
    return [
        GenerationStatus(
            generation=generation.number,
            stages=generation.stages_done,
            metrics=generation.metrics(),
            failed=by_reason([error for _, error in generation.label_failures()]),
            open_failures=by_reason(generation.open_failures()),
            awaited=n_awaited(generation.folder),
        )
        for generation in run.generations()
    ]


def core_hours_line(folder: Path | str) -> str | None:
    """Core hours that labels of a run have used; None before the first label, and where formulas label.

    Raises:
        ValueError: If their file is damaged.
    """
    hours, n_labels = read_core_hours(SavedRun(Path(folder)).core_hours_file)
    return f"labels: {hours:.3g} core hours used for {n_labels} labels" if n_labels else None
