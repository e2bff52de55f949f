"""Tests of committees of a run that its report shows: scans of bonds and angles, survival, properties of crystals."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sparring.config import Config
from sparring.config.proposers import BAROSTATS
from sparring.config.sections import Evaluation, SurvivalTest
from sparring.runs.generation import Generation
from sparring.runs.saved_run import SavedRun
from sparring.support.progress import ProgressBars
from sparring.validation.bond_scan.keeping import keep_bonds
from sparring.validation.crystals.keeping import crystal_tests, keep_crystals, missing_tests
from sparring.validation.run_system import start_of
from sparring.validation.survival.keeping import has_survival, keep_survival

__all__ = ["needs_tests", "planned_tests", "require_start", "validate_last"]


def needs_tests(config: Config, folder: Path) -> bool:
    """True if the configuration wants a test that the last committee of a run, or the first, does not have.

    Args:
        config: Configuration of the run.
        folder: Folder of the run.
    """
    return bool(_without_survival(config, folder) or missing_tests(_ends(folder), config.evaluation))


def validate_last(config: Config, folder: Path, log: Callable[[str], None], progress_bars: ProgressBars) -> None:
    """Test the last committee of a run and, where that is asked for, also the first.

    A test that is not possible is logged, and the report says that it is missing.

    Args:
        config: Configuration of the run.
        folder: Folder of the run.
        log: Function that is called with a line for each test.
        progress_bars: Progress bars.
    """
    last = _last(folder)
    if last is None:
        return
    if config.system.kind == "own":
        try:
            if keep_bonds(last.folder, device=config.device):
                log(f"{last.folder.name}: scans of bonds and angles done")
        except ValueError as error:
            log(f"{last.folder.name}: no scans of bonds and angles: {error}")
    for tested, wanted in _without_survival(config, folder):
        try:
            keep_survival(tested, wanted, device=config.device, progress_bars=progress_bars)
            log(f"{tested.name}: dynamics done")
        except ValueError as error:
            log(f"{tested.name}: no dynamics: {error}")
    for generation, test in missing_tests(_ends(folder), config.evaluation):
        keep_crystals(generation, test, device=config.device, log=log, progress_bars=progress_bars)


def require_start(evaluation: Evaluation) -> None:
    """Refuse a start of dynamics that cannot be read, or is not one structure, before a run has begun.

    Args:
        evaluation: Section of the configuration.

    Raises:
        ValueError: If there is such a file.
    """
    file = None if evaluation.survival is None else evaluation.survival.start
    if file is None:
        return
    if not file.is_file():
        raise ValueError(f"evaluation.survival.start: {file} does not exist; correct the path, or leave it out")
    start_of(file.parent, file)


def planned_tests(config: Config) -> Iterator[str]:
    """Lines about the tests at the end of a run, if there will be some."""
    wanted = config.evaluation.survival
    if wanted is not None:
        temperatures = ", ".join(f"{one:g} K" for one in wanted.temperature)
        time = f"{wanted.time / 1000:g} ps"
        how = f", {wanted.ensemble}" if wanted.ensemble in BAROSTATS else ""
        whose = "" if wanted.committees == "last" else ", with the first and the last committee"
        yield f"at the end {wanted.copies} copies move for {time} at {temperatures}{how}{whose} (evaluation.survival)"
    for test in crystal_tests(config.evaluation):
        labels = f"at most {test.options['n_labels']} labels for each crystal"
        yield f"at the end {test.title} by the first and the last committee, {labels} (evaluation.{test.key})"


def _without_survival(config: Config, folder: Path) -> list[tuple[Path, SurvivalTest]]:
    """Folders of the generations whose survival has not been tested as wanted."""
    wanted, ends = config.evaluation.survival, _ends(folder)
    if wanted is None:
        return []
    chosen = ends[-1:] if wanted.committees == "last" else ends
    return [(one, wanted) for one in chosen if not has_survival(one, wanted)]


def _last(folder: Path) -> Generation | None:
    return next((one for one in reversed(SavedRun(folder).generations()) if one.has_committee), None)


def _ends(folder: Path) -> list[Path]:
    """Folders of the first and the last generation with a committee."""
    found = [one.folder for one in SavedRun(folder).generations() if one.has_committee]
    return found[:1] + found[1:][-1:]
