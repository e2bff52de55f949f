"""Generations follow from each other: exchanged, foreign and missing ones are refused by name."""

import json
import re
import shutil

import pytest

from sparring.commands import running
from sparring.commands.running import run
from sparring.commands.status import status
from sparring.config import load
from sparring.reporting import report
from sparring.runs.folder import RunFolder, RunFolderError
from sparring.runs.manifests import read_run_manifest, write_run_manifest
from sparring.runs.saved_run import SavedRun
from sparring.support.lock import LockLostError


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr(running, "report", lambda folder: None)


@pytest.fixture
def copied(finished_well, tmp_path):
    return shutil.copytree(finished_well, tmp_path / "copy")


@pytest.fixture(scope="module")
def of_another_seed(finished_well, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other") / "well"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "report", lambda folder: None)
        run(load(finished_well / "config.yaml", overrides={"seed": 1}), folder)
    return folder


def refuses_everywhere(folder, text, sparring):
    config = folder.parent / "config.yaml"
    shutil.copyfile(folder / "config.yaml", config)
    for call in (status, report, lambda folder: run(config, folder)):
        with pytest.raises(RunFolderError, match=text):
            call(folder)
    answer = sparring("evaluate", folder / "generation-03", folder / "generation-01" / "dataset.extxyz")
    assert answer.exit_code == 2
    assert re.search(text, answer.err)


def test_generations_that_were_exchanged_are_refused(copied, sparring):
    (copied / "generation-01").rename(copied / "aside")
    (copied / "generation-02").rename(copied / "generation-01")
    (copied / "aside").rename(copied / "generation-02")
    text = r"generation-01 does not continue .*manifest\.json: it was exchanged, or belongs to another run; restore it"
    refuses_everywhere(copied, text, sparring)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_generation_of_another_seed_is_refused(number, copied, of_another_seed, sparring):
    name = f"generation-0{number}"
    shutil.rmtree(copied / name)
    shutil.copytree(of_another_seed / name, copied / name)
    refuses_everywhere(
        copied, rf"{name} does not continue .*restore it, or delete .*{name} and the generations", sparring
    )


def test_a_generation_that_is_missing_in_the_middle_is_refused(copied, sparring):
    shutil.rmtree(copied / "generation-02")
    text = r"generation-02 is missing, and generation-03 was made from it; restore it, or delete .*generation-03 and"
    refuses_everywhere(copied, text, sparring)


def test_a_last_generation_that_was_deleted_is_computed_again_and_one_of_another_run_is_not_believed(
    copied, finished_well, of_another_seed
):
    shutil.rmtree(copied / "generation-03")
    lines = []
    run(copied / "config.yaml", copied, log=lines.append)
    assert lines[0] == f"{copied / 'generation-03'} is not there any more; it is computed again"
    names = ("dataset.extxyz", "committee.safetensors", "predictions.extxyz")
    assert all(
        (copied / "generation-03" / name).read_bytes() == (finished_well / "generation-03" / name).read_bytes()
        for name in names
    )
    shutil.rmtree(copied / "generation-03")
    run_manifest = read_run_manifest(copied)
    heads = {name: head for name, head in run_manifest.heads.items() if name != "generation-03"}
    write_run_manifest(copied, run_manifest.__class__(**{**vars(run_manifest), "heads": heads}))
    shutil.copytree(of_another_seed / "generation-03", copied / "generation-03")
    with pytest.raises(RunFolderError, match=r"generation-03 does not continue .*generation-02"):
        run(copied / "config.yaml", copied)


def test_a_generation_as_an_older_version_wrote_it_does_not_pass_for_one_of_a_linked_run(copied, of_another_seed):
    shutil.rmtree(copied / "generation-03")
    shutil.copytree(of_another_seed / "generation-03", copied / "generation-03")
    file = copied / "generation-03" / "manifest.json"
    stages = {name: {"files": one["files"]} for name, one in json.loads(file.read_text()).items() if name != "sha256"}
    file.write_text(json.dumps(stages))
    with pytest.raises(
        RunFolderError, match=r"generation-03/manifest\.json has other stages than the run has committed"
    ):
        status(copied)


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_manifest_without_its_stages_does_not_have_them_computed_again(content, copied):
    file = copied / "generation-03" / "manifest.json"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(
        RunFolderError, match=r"generation-03/manifest\.json is missing or empty; restore it, or delete"
    ):
        run(load(copied / "config.yaml"), copied)


def test_a_run_without_its_own_manifest_is_refused(copied):
    (copied / "manifest.json").unlink()
    text = r"copy/manifest\.json, of which generation-01 has the link, is missing .*labels\.store set to the labels of"
    with pytest.raises(RunFolderError, match=text):
        run(load(copied / "config.yaml"), copied)


def test_two_runs_of_one_configuration_have_the_same_links_of_data_and_committees(finished_well, tmp_path):
    other = tmp_path / "other"
    run(load(finished_well / "config.yaml"), other)
    assert read_run_manifest(other).identity == read_run_manifest(finished_well).identity
    first, second = (SavedRun(folder).generation(1).manifest for folder in (finished_well, other))
    assert [first[stage]["after"] for stage in ("data", "fit", "evaluate", "attack", "select", "label")] == [
        second[stage]["after"] for stage in ("data", "fit", "evaluate", "attack", "select", "label")
    ]


def test_what_may_change_later_does_not_change_the_identity_of_a_run(finished_well, tmp_path):
    config = load(
        finished_well / "config.yaml", overrides={"generations": 7, "labels.n_workers": 2, "attack.n_steps": 3}
    )
    with RunFolder(tmp_path / "run", config):
        assert read_run_manifest(tmp_path / "run").identity == read_run_manifest(finished_well).identity


# --- commits -------------------------------------------------------------------------------------------------------


def test_a_run_that_has_lost_its_lock_stops_before_it_commits(well_file, tmp_path, monkeypatch):
    with RunFolder(tmp_path / "run", load(well_file())) as folder:

        def lost():
            raise LockLostError("lock was deleted or replaced")

        monkeypatch.setattr(folder._lock, "require", lost)
        with pytest.raises(RunFolderError, match="lock was deleted or replaced"):
            folder.cached(1, "data", lambda: None)
        assert list((tmp_path / "run" / "generation-01").iterdir()) == []


@pytest.mark.parametrize(("number", "words"), [(28, "no room left on"), (30, "cannot write to")])
def test_a_disk_that_is_full_or_read_only_leaves_the_stage_open_and_says_so(
    number, words, well_file, tmp_path, monkeypatch
):
    from sparring.inputs import extxyz
    from sparring.runs import data_stage

    def full(file, *arguments):
        raise OSError(number, "what the system says", str(file))

    with monkeypatch.context() as patch:
        patch.setattr(data_stage, "write_text", full)
        text = (
            rf"{words} .*splits\.json \(what the system says\): the run stopped before it committed generation 1: data;"
        )
        with pytest.raises(RunFolderError, match=text):
            run(well_file(), tmp_path / "run")
    assert SavedRun(tmp_path / "run").generation(1).stages_done == ()
    assert extxyz.read_structures(tmp_path / "run" / "generation-01" / "dataset.extxyz", allow_dummy=True)
    run(well_file(), tmp_path / "run")
    assert len(status(tmp_path / "run")) == 3
