"""Records of a label store that a run relies on, checked when the run is opened."""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sparring.labels.store import LabelStore
from sparring.runs.generation import RunFolderError
from sparring.runs.saved_run import SavedRun

__all__ = ["LABELS", "keys_of", "record_problems", "require_labels"]

LABELS = "labels"
"""Name of the store in a run folder."""
KEY = re.compile("[0-9a-f]{64}")
MOST_NAMED = 5
"""Largest number of missing records that are named."""


def record_problems(store: Path, keys: Sequence[str] | None = None) -> Iterator[str]:
    """A line about each damaged record of a label store, with the remedy.

    Args:
        store: Folder of the store.
        keys: Keys of the records; None for all.
    """
    records = LabelStore(store)
    if keys is None:
        keys = sorted(file.stem for file in store.glob("*.json") if KEY.fullmatch(file.stem))
    for key in keys:
        try:
            records.get(key)
        except ValueError as error:
            yield str(error)


def keys_of(run: SavedRun) -> list[str]:
    """Keys of the labels in the newest data set of a run.

    Raises:
        RunFolderError: If the data set is damaged.
    """
    found = run.generations()
    if not found or not found[-1].has_dataset:
        return []
    named = (str(atoms.info.get("label", "")) for atoms in found[-1].frames())
    return [key for key in dict.fromkeys(named) if KEY.fullmatch(key)]


def require_labels(run: SavedRun, store: Path, log: Callable[[str], None]) -> None:
    """Refuse damaged records of the labels that a run has trained on, and name those that are missing.

    All records are checked of the store in the run folder, and those that the newest data set names of another one.

    Args:
        run: The run.
        store: Folder of the store.
        log: Function that is called with a line about records that are missing.

    Raises:
        RunFolderError: If a record is damaged.
    """
    if not store.is_dir():
        return
    keys = keys_of(run)
    own = store.absolute() == (run.folder / LABELS).absolute()
    problems = list(record_problems(store, None if own else keys))
    if problems:
        more = f" ({len(problems) - 1} more records are damaged: see `sparring verify`)" if problems[1:] else ""
        raise RunFolderError(problems[0] + more)
    missing = [key for key in keys if not (store / f"{key}.json").exists()]
    if missing:
        names = ", ".join(f"{key}.json" for key in missing[:MOST_NAMED])
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        log(
            f"label records are missing in {store}: {names}{more}; the data sets have these labels, and nothing is "
            "computed again but what a generation that you delete would ask for"
        )
