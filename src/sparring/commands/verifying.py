"""``sparring verify``, as a function."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparring.committee_files import EXPECTED, FILES, read_committee
from sparring.config.reading import read
from sparring.runs.checks import metrics_problem, result_problems
from sparring.runs.derived import derived_folders, derived_problems
from sparring.runs.generation import METRICS, Generation
from sparring.runs.label_records import KEY, LABELS, keys_of, record_problems
from sparring.runs.manifests import RunFolderError
from sparring.runs.saved_run import SavedRun
from sparring.support.checksums import MANIFEST, DamagedFileError, file_problem, recorded

__all__ = ["Verification", "verify"]


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Files compared with their checksums.

    Attributes:
        n_files: Number of files that were checked.
        problems: A line about each file that is not as it was written, with the remedy.
        unlinked: Names of the generations that an older version has written, which have fewer checksums.
    """

    n_files: int
    problems: tuple[str, ...]
    unlinked: tuple[str, ...] = ()


def verify(folder: Path | str) -> Verification:
    """Compare every file of a run, of one of its generations, of a committee or of a label store with its checksum.

    Nothing is written.

    Args:
        folder: Run folder, folder of a generation or of a committee, or label store.

    Raises:
        ValueError: If the folder is none of these.
    """
    folder = Path(folder)
    run, store = SavedRun(folder), sorted(folder.glob("*.json"))
    if run.exists and (run.exists_by_manifest or run.generations()):
        return _of_run(run)
    if (folder / MANIFEST).exists():
        return _of_generation(Generation(folder))
    if any((folder / name).exists() for name in FILES):
        return _of_committee(folder)
    if any(KEY.fullmatch(file.stem) for file in store):
        return Verification(n_files=len(store), problems=tuple(record_problems(folder)))
    raise ValueError(
        f"{folder} holds nothing with checksums; give a run folder, the folder of a committee, or a label store"
    )


def _of_run(run: SavedRun) -> Verification:
    found, problems, n_files = run.generations(), list[str](), 0
    try:
        run.require_linked()
    except RunFolderError as error:
        problems.append(str(error))
    try:
        manifest = run.manifest
    except RunFolderError:
        manifest = None
    if manifest is not None:
        gone = [name for name in manifest.heads if not (run.folder / name).exists()]
        problems += [f"{run.folder / name} is missing; the same `sparring run` computes it again" for name in gone]
        for name in manifest.texts():
            if problem := file_problem(run.folder / name):
                # A configuration that somebody has changed may be meant.
                remedy = "delete it, and the same" if name == run.config_file.name else "the same"
                problems.append(f"{run.folder / name} {problem}; {remedy} `sparring run` writes it again")
        n_files += 1 + len(manifest.texts())
    for one in found:
        part = _of_generation(one)
        problems += part.problems
        n_files += part.n_files
    for file, problem in derived_problems(run.folder, found):
        problems.append(f"{file} {problem}; `sparring run` or `sparring validate` make it again")
    n_files += sum(1 + len(recorded(place)) for place in derived_folders(run.folder, found))
    part = _of_labels(run)
    problems += part.problems
    n_files += part.n_files
    unlinked = tuple(one.folder.name for one in found if _is_unlinked(one))
    return Verification(n_files=n_files, problems=tuple(dict.fromkeys(problems)), unlinked=unlinked)


def _of_labels(run: SavedRun) -> Verification:
    """All records in the run folder, and of a store elsewhere those that the newest data set names."""
    own = run.folder / LABELS
    keys = {own: [file.stem for file in sorted(own.glob("*.json")) if KEY.fullmatch(file.stem)]}
    # A configuration or a data set that is damaged has been named already.
    with suppress(RunFolderError, DamagedFileError):
        store = _store_elsewhere(run)
        if store is not None:
            keys[store] = [key for key in keys_of(run) if (store / f"{key}.json").exists()]
    problems = tuple(problem for store, several in keys.items() for problem in record_problems(store, several))
    return Verification(n_files=sum(map(len, keys.values())), problems=problems)


def _store_elsewhere(run: SavedRun) -> Path | None:
    """The label store that the configuration names; None if it is in the run folder."""
    sections: dict[str, Any] = read(run.config_file, run.config_text()).data
    store = (sections.get("labels") or {}).get("store")
    return None if store is None or Path(store).absolute() == (run.folder / LABELS).absolute() else Path(store)


def _of_generation(one: Generation) -> Verification:
    try:
        stages = one.manifest
    except RunFolderError as error:
        return Verification(n_files=1, problems=(str(error),))
    problems = list(result_problems([one]))
    if problem := metrics_problem(one):
        problems.append(f"{one.folder / METRICS} {problem}; the same `sparring run` writes it again")
    n_files = len({name for entry in stages.values() for name in entry["files"]}) + 2 * bool(stages)
    return Verification(n_files=n_files, problems=tuple(problems))


def _of_committee(folder: Path) -> Verification:
    try:
        read_committee(folder)
    except ValueError as error:
        return Verification(n_files=len(FILES), problems=(str(error),))
    return Verification(n_files=len(FILES) + (folder / EXPECTED).exists(), problems=())


def _is_unlinked(one: Generation) -> bool:
    try:
        return any("after" not in entry for entry in one.manifest.values())
    except RunFolderError:
        return False
