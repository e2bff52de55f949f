"""Tests of committees of a run that its report shows: scans of bonds and angles, survival, properties of crystals."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sparring.config import Config
from sparring.config.proposers import BAROSTATS
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun
from sparring.support.progress import ProgressBars
from sparring.validation.bond_scan.keeping import keep_bonds
from sparring.validation.crystals.keeping import crystal_tests, keep_crystals, missing_tests
from sparring.validation.survival.keeping import has_survival, keep_survival

__all__ = ["needs_tests", "planned_tests", "validate_last"]


def needs_tests(config: Config, folder: Path) -> bool:
    """True if the configuration wants a test that the last committee of a run, or the first, does not have.

    Args:
        config: Configuration of the run.
        folder: Folder of the run.
    """
    last, wanted = _last(folder), config.evaluation.survival
    lacks_survival = last is not None and wanted is not None and not has_survival(last.folder, wanted)
    return lacks_survival or bool(missing_tests(_ends(folder), config.evaluation))


def validate_last(config: Config, folder: Path, log: Callable[[str], None], progress_bars: ProgressBars) -> None:
    """Test the last committee of a run, and properties of crystals also with the first.

    A test that is not possible is logged, and the report says that it is missing.

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
    for generation, test in missing_tests(_ends(folder), config.evaluation):
        keep_crystals(generation, test, device=config.device, log=log, progress_bars=progress_bars)


def planned_tests(config: Config) -> Iterator[str]:
    """Lines about the tests at the end of a run, if there will be some."""
    wanted = config.evaluation.survival
    if wanted is not None:
        temperatures = ", ".join(f"{one:g} K" for one in wanted.temperature)
        time = f"{wanted.time / 1000:g} ps"
        how = f", {wanted.ensemble}" if wanted.ensemble in BAROSTATS else ""
        yield f"at the end {wanted.copies} copies move for {time} at {temperatures}{how} (evaluation.survival)"
    for test in crystal_tests(config.evaluation):
        labels = f"at most {test.options['n_labels']} labels for each crystal"
        yield f"at the end {test.title} by the first and the last committee, {labels} (evaluation.{test.key})"


def _last(folder: Path) -> Generation | None:
    return next((one for one in reversed(SavedRun(folder).generations()) if one.has_committee), None)


def _ends(folder: Path) -> list[Path]:
    """Folders of the first and the last generation with a committee."""
    found = [one.folder for one in SavedRun(folder).generations() if one.has_committee]
    return found[:1] + found[1:][-1:]
