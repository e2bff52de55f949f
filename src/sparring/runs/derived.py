"""Files of a run that are made from its results, and can be made again: the report, figures, results of validations."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sparring.runs.generation import Generation
from sparring.runs.manifests import RunFolderError, heads_of, read_run_manifest
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import (
    CHANGED,
    CHECKSUMS,
    MISSING,
    DamagedFileError,
    forget,
    known_digest,
    read_manifest,
    recorded,
)
from sparring.support.digest import digest

__all__ = ["DRAWN_FROM", "derived_folders", "derived_problems", "mend_derived", "report_is_older", "state_of"]

DRAWN_FROM = "drawn_from"
"""Entry of the checksums of the figures: the state of the run that the report shows."""
FIGURES, VALIDATION = "figures", "validation"


def state_of(folder: Path) -> str:
    """Digest of all that a report is drawn from: the results of a run, and of its validations."""
    run = SavedRun(folder)
    found = run.generations()
    places = [place for place in derived_folders(folder, found) if place.name != FIGURES]
    return digest(
        {
            "stages": heads_of({one.folder.name: one.manifest for one in found}, ""),
            "validations": {str(place.relative_to(folder)): known_digest(place / CHECKSUMS) for place in places},
        }
    )


def report_is_older(folder: Path) -> bool:
    """True if the report of a run shows an older state: a process that was to draw it again has been killed.

    False if there is no report, or one of an older version.
    """
    try:
        known = read_manifest(folder / FIGURES / CHECKSUMS).get(DRAWN_FROM)
    except DamagedFileError:
        return True
    return known is not None and known != state_of(folder)


def mend_derived(run: SavedRun, log: Callable[[str], None]) -> bool:
    """Move damaged files that can be made again out of the way, so that they are; each is named.

    Args:
        run: The run, whose folder must be locked.
        log: Function that is called with one line for each file.

    Returns:
        True if the report must be drawn again.
    """
    problems = list(derived_problems(run.folder, run.generations()))
    for file, problem in problems:
        if file.parent in (run.folder / FIGURES, run.folder):
            log(f"{file} {problem}; the report is drawn again")
            if file.name == CHECKSUMS:
                file.unlink(missing_ok=True)
        elif file.name == CHECKSUMS:
            log(f"{file} {problem}; the results beside it are not checked any more until they are computed again")
            file.unlink(missing_ok=True)
        else:
            again = "what the run itself computes is computed again, for others see `sparring validate`"
            if problem == CHANGED:
                aside = file.with_name(f"{file.name}.damaged")
                file.replace(aside)
                log(f"{file} {problem}; it was moved to {aside.name}, {again}")
            else:
                log(f"{file} {problem}; {again}")
            forget(file.parent, [file.name])
    return bool(problems)


def derived_folders(folder: Path, found: list[Generation]) -> list[Path]:
    """Folders of a run with checksums of files that can be made again: figures, and results of validations."""
    places = [folder / FIGURES]
    for one in (folder, *(one.folder for one in found)):
        kept = one / VALIDATION
        places += [kept, *(sorted(place for place in kept.iterdir() if place.is_dir()) if kept.is_dir() else ())]
    return [place for place in places if (place / CHECKSUMS).is_file()]


def derived_problems(folder: Path, found: list[Generation]) -> Iterator[tuple[Path, str]]:
    """Files that can be made again and are not as they were written, each with its state."""
    try:
        manifest = read_run_manifest(folder)
    except RunFolderError:
        manifest = None  # others refuse it
    places = derived_folders(folder, found)
    for name in () if manifest is None else manifest.derived:
        file = folder / name / CHECKSUMS
        # Who deletes a whole folder of results knows it.
        if file.parent.is_dir() and file.parent not in places:
            yield file, MISSING
    for place in places:
        try:
            read_manifest(place / CHECKSUMS)
        except DamagedFileError:
            yield place / CHECKSUMS, CHANGED
            continue
        for name in recorded(place):
            if problem := _problem_in(place, name):
                yield place.parent / name.removeprefix("../") if name.startswith("../") else place / name, problem


def _problem_in(place: Path, name: str) -> str:
    """State of a file that the checksums of a folder list, also of one in the folder above; empty if it is right."""
    try:
        return "" if known_digest(place / name) in recorded(place)[name] else CHANGED
    except FileNotFoundError:
        return MISSING
