"""Tests of the last committee of a run that its report begins with: scans of bonds and angles, and survival."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sparring.config import Config
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun
from sparring.support.progress import ProgressBars
from sparring.validation.bond_scan.keeping import keep_bonds
from sparring.validation.survival.keeping import has_survival, keep_survival

__all__ = ["needs_tests", "planned_tests", "validate_last"]


def needs_tests(config: Config, folder: Path) -> bool:
    """True if the configuration wants a test of survival that the last committee of a run does not have.

    Args:
        config: Configuration of the run.
        folder: Folder of the run.
    """
    last, wanted = _last(folder), config.evaluation.survival
    return last is not None and wanted is not None and not has_survival(last.folder, wanted)


def validate_last(config: Config, folder: Path, log: Callable[[str], None], progress_bars: ProgressBars) -> None:
    """Test the last committee of a run; a test that is not possible is logged, and the report says that it is missing.

    Args:
        config: Configuration of the run.
        folder: Folder of the run.
        log: Function that is called with a line for each test.
        progress_bars: Progress bars.
    """
    last, wanted = _last(folder), config.evaluation.survival
    if last is None:
        return
    if config.system.kind == "own":
        try:
            if keep_bonds(last.folder, device=config.device):
                log(f"generation {last.number}: scans of bonds and angles done")
        except ValueError as error:
            log(f"generation {last.number}: no scans of bonds and angles: {error}")
    if wanted is not None and not has_survival(last.folder, wanted):
        try:
            keep_survival(last.folder, wanted, device=config.device, progress_bars=progress_bars)
            log(f"generation {last.number}: dynamics done")
        except ValueError as error:
            log(f"generation {last.number}: no dynamics: {error}")


def planned_tests(config: Config) -> Iterator[str]:
    """A line about the dynamics at the end of a run, if there will be some."""
    wanted = config.evaluation.survival
    if wanted is not None:
        temperatures = ", ".join(f"{one:g} K" for one in wanted.temperature)
        time = f"{wanted.time / 1000:g} ps"
        yield f"at the end {wanted.copies} copies move for {time} at {temperatures} (evaluation.survival)"


def _last(folder: Path) -> Generation | None:
    with_committee = [one for one in SavedRun(folder).generations() if one.has_committee]
    return with_committee[-1] if with_committee else None
