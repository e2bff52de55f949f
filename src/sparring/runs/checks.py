"""Checks of a run folder against its manifests: files, and generations that follow from each other."""

import difflib
import json
from collections.abc import Iterator
from pathlib import Path

from sparring.runs.generation import METRICS, Generation
from sparring.runs.manifests import (
    CONFIG,
    STAGES,
    RunFolderError,
    RunManifest,
    links_of,
    metrics_of,
    read_run_manifest,
)
from sparring.support.checksums import CHANGED, MANIFEST, MISSING, file_problem

__all__ = [
    "config_difference",
    "metrics_problem",
    "require_linked",
    "require_results",
    "result_problems",
]

MOST_LINES = 10
"""Largest number of changed lines of a configuration that are shown."""
TO_COMPUTE_AGAIN = "restore it, or delete {first} and the generations after it to compute them again"


def require_linked(folder: Path, found: list[Generation]) -> None:
    """Refuse generations that do not follow from each other: missing in the middle, exchanged, or of another run.

    Generations that an older version committed have no links, and are as the manifest of the run knows them, if it
    does.

    Args:
        folder: The run folder.
        found: Generations that exist, in their order.

    Raises:
        RunFolderError: If there is one, or a manifest is damaged or missing.
    """
    manifest = read_run_manifest(folder)
    heads = {} if manifest is None else dict(manifest.heads)
    committed = [one for one in found if one.manifest or one.folder.name in heads]
    if manifest is None:
        linked = next((one for one in committed if any("after" in entry for entry in one.manifest.values())), None)
        if linked is not None:
            raise RunFolderError(
                f"{folder / MANIFEST}, of which {linked.folder.name} has the link, is missing or damaged; restore it "
                "from a copy, or start in another --folder with labels.store set to the labels of this one, so that "
                "none is computed again"
            )
    before, previous = "" if manifest is None else manifest.identity, folder / MANIFEST
    for number, one in enumerate(committed, start=1):
        if one.number != number:
            name = f"generation-{number:02d}"
            raise RunFolderError(
                f"{folder / name} is missing, and {one.folder.name} was made from it; "
                + TO_COMPUTE_AGAIN.format(first=one.folder)
            )
        before = _require_chain(one, before, previous, heads.get(one.folder.name))
        previous = one.folder


def _require_chain(one: Generation, before: str, previous: Path, head: str | None) -> str:
    """Follow the links of the stages of a generation; returns that of its last stage."""
    stages = one.manifest
    links = links_of(stages, before)
    for (stage, entry), link in zip(stages.items(), links, strict=True):
        if entry.get("after", before) != before:
            made = "" if stage == STAGES[0] else f" at the stage {stage!r}"
            raise RunFolderError(
                f"{one.folder} does not continue {previous}{made}: it was exchanged, or belongs to another run; "
                + one.remedy
            )
        before, previous = link, one.folder
    if head is not None and head not in links:
        problem = "has other stages than the run has committed" if stages else "is missing or empty"
        raise RunFolderError(f"{one.folder / MANIFEST} {problem}; {one.remedy}")
    return before


def result_problems(found: list[Generation]) -> Iterator[str]:
    """A line about each damaged file of a committed stage, with the remedy.

    Raises:
        RunFolderError: If a manifest is damaged.
    """
    for one in found:
        for name in {name: None for entry in one.manifest.values() for name in entry["files"]}:
            if problem := file_problem(one.folder / name):
                yield f"{one.folder / name} {problem}; {one.remedy}"


def require_results(found: list[Generation]) -> None:
    """Refuse a run of which files are damaged.

    Raises:
        RunFolderError: If there is one; the message has the first, and the number of others.
    """
    problems = list(result_problems(found))
    if problems:
        more = f" ({len(problems) - 1} more files are damaged: see `sparring verify`)" if problems[1:] else ""
        raise RunFolderError(problems[0] + more)


def config_difference(folder: Path, manifest: RunManifest) -> str:
    """Lines of ``config.yaml`` that are not as the run has written them, as the run has them and as they are."""
    now = (folder / CONFIG).read_text(encoding="utf-8", errors="replace").splitlines()
    lines = list(difflib.unified_diff(manifest.config.splitlines(), now, n=0, lineterm=""))[2:]
    changed = [f"{'was' if line[0] == '-' else 'is '}: {line[1:].strip()}" for line in lines if line[0] in "+-"]
    more = [f"and {len(changed) - MOST_LINES} more lines"] if len(changed) > MOST_LINES else []
    return "".join(f"\n  {line}" for line in [*changed[:MOST_LINES], *more])


def metrics_problem(one: Generation) -> str:
    """State of ``metrics.json`` if it is not what the stages gave; empty if it is, or an older version wrote it.

    A run that was killed may lack the numbers of its last stage there.
    """
    stages, file = one.manifest, one.folder / METRICS
    if metrics_of(one.number, stages) is None:
        return ""
    try:
        text = file.read_bytes()
    except FileNotFoundError:
        return "" if len(stages) == 1 else MISSING
    for n_stages in (len(stages), len(stages) - 1):
        known = metrics_of(one.number, dict(list(stages.items())[:n_stages]))
        if text == metrics_text(known).encode():
            return ""
    return CHANGED


def metrics_text(metrics: object) -> str:
    """Text of ``metrics.json``."""
    return json.dumps(metrics, indent=1) + "\n"
