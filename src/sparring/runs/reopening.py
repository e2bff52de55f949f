"""Opening a committed stage again, so that its failed labels are computed anew."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sparring.labels import LabelError
from sparring.runs.failures import failure_of
from sparring.runs.generation import LABELLED, RunFolderError
from sparring.runs.manifests import STAGES, heads_of, write_run_manifest, write_stages
from sparring.runs.saved_run import SavedRun

__all__ = ["reopen", "reopen_failed_labels"]


def reopen(run: SavedRun, number: int, stage: str) -> None:
    """Open a committed stage of a generation, and all after it in this and in later generations.

    Args:
        run: The run, whose folder must be locked.
        number: Number of the generation.
        stage: Name of the stage.
    """
    generations = [one for one in run.generations() if one.number >= number]
    kept = {one: one.manifest if one.number == number else {} for one in generations}
    first = generations[0]
    kept[first] = {name: entry for name, entry in kept[first].items() if STAGES.index(name) < STAGES.index(stage)}
    if (manifest := run.manifest) is not None:
        found = {one.folder.name: kept.get(one, one.manifest) for one in run.generations()}
        heads = heads_of(found, manifest.identity)
        write_run_manifest(run.folder, replace(manifest, heads=heads))
    for one in reversed(generations):
        if one.manifest != kept[one]:
            write_stages(one.folder, kept[one])


def reopen_failed_labels(run: SavedRun, log: Callable[[str], None]) -> None:
    """Open the newest stage whose labels failed for reasons other than the geometry.

    Existing labels come from the label store.

    Args:
        run: The run, whose folder must be locked.
        log: Function that is called with one line about the stage that is opened.

    Raises:
        RunFolderError: If a later committee has been trained without these labels.
    """
    for generation in reversed(run.generations()):
        manifest = generation.manifest
        failures = [error for _, error in generation.label_failures()] if "label" in manifest else []
        at_fault = _at_fault(failures)
        if failures and (at_fault or not (generation.folder / LABELLED).stat().st_size):
            break
    else:
        _reopen_starting_labels(run, log)
        return
    following = run.generation(generation.number + 1)
    later = following.manifest
    if "fit" in later:
        raise RunFolderError(
            f"generation {generation.number} has {len(at_fault)} failed labels, but generation {following.number} has "
            f"been trained without them; delete {following.folder} and what follows it, then give the same command "
            "again"
        )
    reopen(run, generation.number, "label")
    log(f"generation {generation.number}: failed labels are computed again ({len(at_fault) or len(failures)})")


def _reopen_starting_labels(run: SavedRun, log: Callable[[str], None]) -> None:
    generation = run.generation(1)
    manifest = generation.manifest
    at_fault = _at_fault([failure_of(row) for row in generation.starting_rows()] if "data" in manifest else [])
    if not at_fault:
        log("no failed label to compute again")
        return
    if "fit" in manifest:
        raise RunFolderError(
            f"generation 1 has {len(at_fault)} failed starting labels, but has been trained without them; delete "
            f"{generation.folder} and what follows it, then give the same command again (existing labels stay)"
        )
    reopen(run, 1, "data")
    log(f"generation 1: failed starting labels are computed again ({len(at_fault)})")


def _at_fault(failures: Sequence[LabelError]) -> list[LabelError]:
    """Failed labels that the labeller, not the geometry, is to blame for."""
    return [error for error in failures if not error.is_geometry]
