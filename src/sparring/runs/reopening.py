"""Opening a committed stage again, so that its failed labels are computed anew."""

import json
from collections.abc import Callable, Mapping, Sequence

from sparring.labels import LabelError
from sparring.runs.failures import failure_of
from sparring.runs.generation import LABELLED, MANIFEST, Generation, RunFolderError
from sparring.runs.saved_run import SavedRun
from sparring.support.files import write_text

__all__ = ["reopen_failed_labels", "write_manifest"]


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
        _reopen_starting_labels(run.generation(1), log)
        return
    following = run.generation(generation.number + 1)
    later = following.manifest
    if "fit" in later:
        raise RunFolderError(
            f"generation {generation.number} has {len(at_fault)} failed labels, but generation {following.number} has "
            f"been trained without them; delete {following.folder} and what follows it, then give the same command "
            "again"
        )
    if "data" in later:
        del later["data"]
        write_manifest(following, later)
    del manifest["label"]
    write_manifest(generation, manifest)
    log(f"generation {generation.number}: failed labels are computed again ({len(at_fault) or len(failures)})")


def write_manifest(generation: Generation, manifest: Mapping[str, object]) -> None:
    """Write the committed stages of a generation with the SHA-256 of their files."""
    write_text(generation.folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _reopen_starting_labels(generation: Generation, log: Callable[[str], None]) -> None:
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
    del manifest["data"]
    write_manifest(generation, manifest)
    log(f"generation 1: failed starting labels are computed again ({len(at_fault)})")


def _at_fault(failures: Sequence[LabelError]) -> list[LabelError]:
    """Failed labels that the labeller, not the geometry, is to blame for."""
    return [error for error in failures if not error.is_geometry]
