"""Survival of copies that a run tests at its end (``evaluation.survival``), resumable like the command."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sparring.committee_files import read_committee
from sparring.config.sections import SurvivalTest
from sparring.dynamics.trajectories import committee_on
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.validation.records import keep_frames, read_record, write_record
from sparring.validation.run_labels import label_service_of_run
from sparring.validation.run_system import start_of
from sparring.validation.survival.arguments import criteria_of
from sparring.validation.survival.compute import survival
from sparring.validation.survival.trials import Survival, SurvivalAtTemperature, in_words

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["has_survival", "keep_survival"]


def has_survival(folder: Path, wanted: SurvivalTest) -> bool:
    """True if the survival of a generation has been tested as wanted.

    Args:
        folder: Folder of a generation.
        wanted: Temperatures, copies and length of the trajectories.
    """
    try:
        known = read_record(folder / "validation" / "survival.json", Survival)
        start = start_of(folder, wanted.start)
    except (ValueError, OSError):
        return False
    trials = tuple((trial.temperature, trial.n_copies) for trial in known.trials)
    settings = known.settings
    return trials == tuple((one, wanted.copies) for one in wanted.temperature) and (
        (settings.duration, settings.timestep) == (wanted.time, wanted.timestep)
        and settings.ensemble == in_words(wanted.ensemble, pressure=wanted.pressure)
        and settings.formula == start.get_chemical_formula()
    )


def keep_survival(
    folder: Path,
    wanted: SurvivalTest,
    *,
    device: str = "cpu",
    finished: Callable[[SurvivalAtTemperature], None] | None = None,
    progress_bars: ProgressBars = no_progress_bars,
) -> None:
    """Test the survival of copies with the committee of a generation, as `sparring validate survival` does.

    Batches and results are those of the command; batches that are known are not computed again.

    Args:
        folder: Folder of a generation.
        wanted: Temperatures, copies and length of the trajectories.
        device: Device of the computation.
        finished: Function that is called with each finished temperature.
        progress_bars: Progress bars.

    Raises:
        ValueError: If no start is given and the data are of several compositions, or the start itself fails.
    """
    committee, start = committee_on(read_committee(folder), device), start_of(folder, wanted.start)
    criteria = criteria_of(committee, folder, start, min_distance=None, bonds=None, windows=(), energy_below=None)
    service = label_service_of_run(folder, progress_bars)[0] if wanted.labels else None
    frames: list[Atoms] = []
    output = folder / "validation"
    result = survival(
        committee,
        start,
        temperatures=wanted.temperature,
        criteria=criteria,
        n_copies=wanted.copies,
        duration=wanted.time,
        timestep=wanted.timestep,
        ensemble=wanted.ensemble,
        pressure=wanted.pressure,
        batches=output / "survival",
        write=frames.extend,
        label=None if service is None else service.label,
        n_labels=wanted.labels,
        finished=finished,
        progress_bars=progress_bars,
    )
    output.mkdir(exist_ok=True)
    keep_frames(output / "survival_failures.extxyz", frames)
    write_record(output / "survival.json", result)
