"""Keys of a configuration that may change once a run has begun: a promise for each, also in docs/run-folder.md."""

import re
import shutil
from pathlib import Path

import pytest
from pydantic import BaseModel

from sparring.config import Config, load
from sparring.config.comparing import INDIFFERENT
from sparring.runs.claim import require_claimable
from sparring.runs.folder import RunFolderError
from sparring.runs.reopening import reopen
from sparring.runs.saved_run import SavedRun

ANY_TIME = (
    "device",
    "threads",
    "stop",
    "labels.n_workers",
    "labels.store",
    "labels.time_limit",
    "labels.memory_limit",
    "labels.max_failed",
    "labels.min_succeeded",
    "attack.max_memory",
    "system.check_labels",
    "system.skip_bad",
    "system.torsions",
    "system.endpoints",
    "system.grid",
    "system.unphysical",
    "training.checkpoint",
    "evaluation",
)
UNTIL_ITS_STAGE = ("attack", "propose", "selection")
NEVER = ("seed", "dtype", "system", "labels", "committee", "training")
DOCS = Path(__file__).parents[2] / "docs" / "run-folder.md"


def begins(key, names):
    return any(key == name or key.startswith((f"{name}.", f"{name}[")) for name in names)


def rule(key):
    """Rule of a key; the longer names come first."""
    rules = (("any time", ANY_TIME), ("until its stage", UNTIL_ITS_STAGE), ("never", NEVER), ("more", ("generations",)))
    return next(name for name, keys in rules if begins(key, keys))


def leaves(section, path=()):
    """Paths of all values of a configuration that are no sections."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        elif name != "kind":
            yield (*path, name)


def other(value, annotation):
    """Another value of the same type."""
    if value is None:
        return 1.0 if "float" in str(annotation) else 1 if "int" in str(annotation) else "other"
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, tuple):
        return value[:-1] if value else ("other",)
    return "other" if isinstance(value, str) else Path("other")


def value_of(section, path):
    for name in path:
        section = getattr(section, name)
    return section


def with_other(section, path):
    name, *rest = path
    value = getattr(section, name)
    annotation = type(section).model_fields[name].annotation
    return section.model_copy(update={name: with_other(value, rest) if rest else other(value, annotation)})


def refused(run, config):
    """Keys of the changes for which a run is refused; none if it goes on."""
    try:
        require_claimable(run, config)
    except RunFolderError as error:
        return re.findall(r"^  ([\w.\[\]]+): ", str(error), flags=re.MULTILINE)
    return []


@pytest.fixture
def run(finished_well, tmp_path):
    return SavedRun(shutil.copytree(finished_well, tmp_path / "run"))


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_each_key_may_change_at_any_time_or_until_its_stage_or_never(run, monkeypatch):
    config = run.config()
    monkeypatch.setattr(SavedRun, "config", lambda self: config)  # read once
    paths = list(leaves(config))
    assert len(paths) > 50
    assert {path[0] for path in paths} == set(Config.model_fields) - {"system"}  # a well has no keys
    finished = {path: refused(run, with_other(config, path)) for path in paths}
    reopen(run, 2, "attack")
    open_attack = {path: refused(run, with_other(config, path)) for path in paths}
    reopen(run, 2, "fit")
    open_fit = {path: refused(run, with_other(config, path)) for path in paths}
    for path in paths:
        key = ".".join(path)
        found = [bool(keys) for keys in (finished[path], open_attack[path], open_fit[path])]
        expected = {"any time": [False] * 3, "until its stage": [True, False, False], "never": [True] * 3}
        assert found == expected.get(rule(key), [False] * 3), key
        assert all(one.startswith(key) for one in finished[path]), key


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
def test_of_the_system_only_what_reports_need_may_change(molecules_file, tmp_path):
    config = load(molecules_file())
    folder = begun(config, tmp_path / "run")
    paths = [path for path in leaves(config) if path[0] == "system" and value_of(config, path) is not None]
    assert len(paths) > 8
    for path in paths:
        key = ".".join(path)
        assert bool(refused(folder, with_other(config, path))) == (rule(key) == "never"), key


def test_the_page_about_run_folders_lists_the_same_keys():
    table = DOCS.read_text(encoding="utf-8").partition("## What may change")[2].partition("\n## ")[0]
    rows = {
        row.split("|")[1].strip(): set(re.findall(r"`([\w.]+)`", row.split("|")[2]))
        for row in table.splitlines()
        if "`" in row and row[0] == "|"
    }
    assert rows["at any time"] == {re.sub(r"^evaluation\..*", "evaluation", key) for key in INDIFFERENT}
    assert rows["until the stage is committed"] == set(UNTIL_ITS_STAGE)
    assert rows["never"] == set(NEVER)
    assert rows["only to more"] == {"generations"}


def test_a_key_of_a_portfolio_that_only_costs_memory_may_change_at_any_time(well_file, tmp_path):
    parts = [{"kind": "adversarial", "n_seeds": 6, "n_steps": 5, "max_memory": "1 GB"}]
    changed = [{**parts[0], "max_memory": "2 GB"}, {**parts[0], "n_steps": 6}]
    folder = begun(load(well_file({"propose": parts})), tmp_path / "run")
    assert refused(folder, load(well_file({"propose": changed[:1]}))) == []
    assert refused(folder, load(well_file({"propose": changed[1:]}))) == []
    assert refused(folder, load(well_file({"propose": changed[:1], "seed": 3}))) == ["seed"]


def begun(config, path):
    from sparring.runs.folder import RunFolder

    with RunFolder(path, config) as folder:
        (path / "generation-01").mkdir()
        (path / "generation-01" / "manifest.json").write_text("{}")
        return folder.saved
