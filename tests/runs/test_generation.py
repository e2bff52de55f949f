"""One reader of run folders: it finds what the stages wrote, takes no lock, and alone knows the names of files."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import sparring
from sparring.committee_files import read_committee
from sparring.config import load
from sparring.runs import generation as names
from sparring.runs.folder import RunFolder
from sparring.runs.generation import Generation, RunFolderError
from sparring.runs.saved_run import SavedRun, generations, run_of
from sparring.runs.stages import CODECS, TITLES

KNOW_NAMES = ("runs/generation.py", "runs/saved_run.py", "committee_files.py", "support/checksums.py")
ATTACKS = {"attacks.extxyz", "paths.npz"}  # the codec of the stage `attack` knows these, too


@pytest.fixture
def run(finished_well):
    return SavedRun(finished_well)


def test_the_generations_of_a_run_are_in_their_order(run):
    assert [generation.number for generation in run.generations()] == [1, 2, 3]
    assert run.generation(2) == Generation(run.folder / "generation-02")
    assert run.exists
    assert run.config() == load(run.folder / "config.yaml")
    assert run.versions()["sparring"] == sparring.__version__


def test_a_hundredth_generation_comes_after_the_ninety_ninth_and_other_folders_are_none(tmp_path):
    for name in ("generation-100", "generation-99", "generation-old", "figures"):
        (tmp_path / name).mkdir()
    (tmp_path / "generation-07").touch()
    assert [generation.number for generation in generations(tmp_path)] == [99, 100]
    assert generations(tmp_path / "nowhere") == []


def test_a_generation_has_what_its_stages_have_written(run):
    generation = run.generation(1)
    data, fitted, evaluated, attacked, chosen, labelled = (CODECS[stage].read(generation.folder) for stage in TITLES)
    assert generation.stages_done == tuple(TITLES)
    assert generation.dataset().to_atoms() == data.dataset.to_atoms() == generation.frames()
    assert generation.splits() == data.splits
    assert generation.committee().state()[1] == fitted.committee.state()[1]
    assert len(generation.curves()) == fitted.report.train_loss.size
    assert generation.predictions() == evaluated.predictions
    assert generation.evaluation()["system"] == evaluated.system
    assert len(generation.attacks()) == len(attacked.seeds)
    np.testing.assert_array_equal(generation.paths()["objective"], attacked.candidates.paths.objective.numpy())
    assert generation.selected() == chosen.atoms
    assert [step["name"] for step in generation.selection()] == [step.name for step in chosen.steps]
    assert generation.labelled() == labelled.atoms
    assert generation.counts() == {"n_computed": labelled.n_computed, "n_reused": labelled.n_reused}
    assert generation.label_failures() == labelled.failures == ()
    assert generation.metrics()["generation"] == 1


def test_stages_that_are_not_committed_have_no_results(tmp_path):
    generation = Generation(tmp_path / "generation-04")
    assert generation.number == 4
    assert generation.stages_done == ()
    assert generation.metrics() == generation.paths() == {}
    results = ("frames", "predictions", "attacks", "selected", "labelled", "curves", "failure_rows", "open_failures")
    assert [getattr(generation, name)() for name in results] == [[]] * len(results)
    assert [generation.has_dataset, generation.has_splits, generation.has_committee] == [False] * 3


def test_a_folder_of_another_name_has_no_number(tmp_path):
    with pytest.raises(ValueError, match="other is not the folder of a generation, such as generation-01"):
        _ = Generation(tmp_path / "other").number


def test_a_damaged_manifest_is_named_with_a_remedy(tmp_path):
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"manifest\.json cannot be read .*; restore it, or delete"):
        _ = Generation(tmp_path).stages_done


def test_the_run_of_a_generation_is_found(run, tmp_path):
    assert run_of(run.folder) == SavedRun(run.folder)
    assert run_of(run.folder / "generation-02").folder == run.folder.absolute()
    assert run_of(tmp_path) is None


def test_reading_works_while_a_run_has_locked_the_folder(finished_well, tmp_path):
    folder = shutil.copytree(finished_well, tmp_path / "run")
    with RunFolder(folder, load(folder / "config.yaml")):
        last = SavedRun(folder).generation(3)
        assert last.committee().n_members == read_committee(last.folder).n_members


def test_names_of_files_stand_in_one_place():
    known = {value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)} - ATTACKS
    known |= set(names.COMMITTEE)
    source = Path(sparring.__file__).parent
    found = {
        f"{file.relative_to(source)}: {name}"
        for file in source.rglob("*.py")
        if str(file.relative_to(source)) not in KNOW_NAMES
        for name in re.findall(r'"([^"\s]+)"', file.read_text(encoding="utf-8"))
        if name in known
    }
    assert not found
