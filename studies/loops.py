"""Runs of the loop as pieces of a study: strategies of one seed may begin with the same data and the same committee."""

import json
import shutil
from functools import partial
from pathlib import Path

from layout import Layout
from schedule import Busy, Piece

from sparring.commands import running
from sparring.config import Config, difference, load
from sparring.runs.folder import RunFolderError

__all__ = ["SHARED", "graft", "run", "run_piece"]

SHARED = ("data", "fit", "evaluate")
"""The stages of the first generation that do not depend on the strategy."""


def graft(source: Path, target: Path, config: Config) -> None:
    """Begin a run with data, committee and evaluation of another run's first generation.

    Raises:
        ValueError: If that run was of another seed, system or committee.
    """
    first = target / "generation-01"
    if first.exists():
        return
    others = ("attack", "selection", "generations")
    changes = [line for line in difference(load(source / "config.yaml"), config) if not line.startswith(others)]
    if changes:
        raise ValueError(f"{source} is no beginning of this run:\n  " + "\n  ".join(changes))
    target.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((source / "generation-01" / "manifest.json").read_text(encoding="utf-8"))
    kept = {stage: manifest[stage] for stage in SHARED}
    unfinished = target / ".generation-01.tmp"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    for stage in kept.values():
        for name in stage["files"]:
            shutil.copyfile(source / "generation-01" / name, unfinished / name)
    (unfinished / "manifest.json").write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(first)


def run(config: Config, folder: Path) -> None:
    """Start a run of the loop, or go on with it.

    Raises:
        Busy: If another process is at it.
    """
    try:
        running.run(config, folder)
    except RunFolderError as error:
        if "is in use by" in str(error):
            raise Busy(str(error)) from error
        raise


def run_piece(study: Layout, strategy: str, seed: int) -> Piece:
    """A run as a piece of a study."""
    start = study.start(strategy)

    def do() -> None:
        config, folder = study.config(strategy, seed), study.run(strategy, seed)
        if start != strategy:
            graft(study.run(start, seed), folder, config)
        run(config, folder)

    def ready() -> bool:
        return start == strategy or study.trained(start, seed, 1)

    return Piece(name=f"{strategy}/seed-{seed}/run", done=partial(study.ended, strategy, seed), ready=ready, do=do)
