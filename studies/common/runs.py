"""Runs of the active-learning loop as jobs; runs of one seed may start from the same data and the same committee."""

import json
import shutil
from functools import partial
from pathlib import Path

from sparring.commands import running
from sparring.config import Config, difference, load
from sparring.runs.folder import RunFolderError
from studies.common.jobs import Busy, Job
from studies.common.layout import Layout

__all__ = ["SHARED", "run", "run_job", "start_from"]

SHARED = ("data", "fit", "evaluate")
"""The stages of the first generation that do not depend on the strategy."""


def start_from(source: Path, target: Path, config: Config) -> None:
    """Copy data, committee and evaluation of another run's first generation to a new run.

    Raises:
        ValueError: If that run has another seed, system or committee.
    """
    first = target / "generation-01"
    if first.exists():
        return
    others = ("attack", "selection", "generations")
    changes = [line for line in difference(load(source / "config.yaml"), config) if not line.startswith(others)]
    if changes:
        lines = "\n  ".join(changes)
        raise ValueError(f"{target} cannot start from {source}, whose configuration differs:\n  {lines}")
    target.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((source / "generation-01" / "manifest.json").read_text(encoding="utf-8"))
    shared = {stage: {"files": manifest[stage]["files"]} for stage in SHARED}  # without links to the other run
    unfinished = target / ".generation-01.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for stage in shared.values():
        for name in stage["files"]:
            shutil.copyfile(source / "generation-01" / name, unfinished / name)
    (unfinished / "manifest.json").write_text(json.dumps(shared, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(first)


def run(config: Config, folder: Path) -> None:
    """Start or resume a run of the loop.

    Raises:
        Busy: If another process has locked the folder.
    """
    try:
        running.run(config, folder)
    except RunFolderError as error:
        if "is in use by" in str(error):
            raise Busy(str(error)) from error
        raise


def run_job(study: Layout, strategy: str, seed: int) -> Job:
    """A run as a job of a study."""
    start = study.start(strategy)

    def do() -> None:
        config, folder = study.config(strategy, seed), study.run(strategy, seed)
        if start != strategy:
            start_from(study.run(start, seed), folder, config)
        run(config, folder)

    def ready() -> bool:
        return start == strategy or study.trained(start, seed, 1)

    return Job(name=f"{strategy}/seed-{seed}/run", done=partial(study.ended, strategy, seed), ready=ready, do=do)
