import dataclasses
import json

import numpy as np
import pytest
import torch
from ase import Atoms

from sparring.assembly.planning import plan
from sparring.atoms.structures import Structures
from sparring.committee_files import read_committee, write_committee
from sparring.config import load
from sparring.labels import LabelError
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.runs import loop
from sparring.runs.loop import Attacked, Chosen, Fitted, Labelled
from sparring.runs.stages import CODECS, TITLES
from sparring.training.fitting import FitReport


@pytest.fixture
def results(well_file, tmp_path):
    """What every stage of a small generation gave, never written."""
    small = plan(load(well_file({"generations": 2})), tmp_path / "labels")
    kept = {"data": loop.start(small)}

    def once(generation, stage, compute):
        return kept.setdefault(stage, compute())

    loop.step(kept["data"], small, once)
    return kept


def back(stage, value, folder):
    """Through the files and back."""
    folder = folder / "generation-01"
    folder.mkdir(exist_ok=True)
    names = CODECS[stage].write(folder, value)
    assert all((folder / name).is_file() for name in names)
    return CODECS[stage].read(folder)


def plain(value):
    """Anything that a stage gives as nested lists of numbers and text, to compare with ==."""
    if isinstance(value, Atoms):
        arrays = {name: array.tolist() for name, array in value.arrays.items()}
        return {**value.info, **arrays, "cell": value.cell.tolist(), "pbc": value.pbc.tolist()}
    if isinstance(value, torch.Tensor | np.ndarray):
        return [str(value.dtype), repr(value.tolist())]  # as text, NaN equals NaN
    if isinstance(value, LabelError):
        return value.args
    if hasattr(value, "state"):
        return plain(value.state()[0])
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


@pytest.mark.parametrize("stage", TITLES)
def test_every_stage_is_read_back_to_the_last_bit(stage, results, tmp_path):
    assert plain(back(stage, results[stage], tmp_path)) == plain(results[stage])


@pytest.mark.parametrize("stage", TITLES)
def test_the_numbers_of_a_stage_are_plain_json(stage, results):
    metrics = dict(CODECS[stage].metrics(results[stage]))
    assert json.loads(json.dumps(metrics)) == metrics


def test_every_stage_has_a_title_and_a_codec():
    assert list(CODECS) == list(TITLES)


def test_a_generation_that_chose_and_labelled_nothing_is_read_back(tmp_path):
    assert back("select", Chosen([], ()), tmp_path) == ([], ())
    assert back("label", Labelled([], (), 0, 0), tmp_path) == ([], (), 0, 0)


def test_reasons_of_failures_survive_commas_quotes_and_line_breaks(tmp_path):
    error = LabelError("crashed", 'it said "no",\nthen, nothing; 0.4 Å')
    (found,) = back("label", Labelled([], ((3, error),), 1, 0), tmp_path).failures
    assert (found[0], found[1].args) == (3, error.args)


def test_curves_of_a_member_that_diverged_are_read_back(committee, tmp_path):
    curve = np.array([[1.0, np.nan], [0.5, np.inf]])
    report = FitReport(
        train_loss=curve,
        validation_loss=curve,
        learning_rate=np.full((2, 2), 1e-3 / 3),
        best_epoch=np.array([1, 0]),
        rolled_back=(1,),
        dropped=(1,),
    )
    assert plain(back("fit", Fitted(committee(2), report), tmp_path).report) == plain(report)


def test_an_attack_that_never_was_finite_has_no_numbers_in_its_frame(results, tmp_path):
    candidates = results["attack"].candidates
    nan = np.full_like(candidates.score, np.nan)
    attacked = results["attack"]._replace(candidates=candidates._replace(score=nan))
    back("attack", attacked, tmp_path)
    header = (tmp_path / "generation-01" / "attacks.extxyz").read_text().split("\n")[1]
    assert "objective" not in header
    assert "force_variance=" in header


# --- a committee by itself ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_members", [2, 3])
def test_a_committee_predicts_the_same_after_a_night_on_disk(committee, water, n_members, tmp_path):
    before = committee(n_members)
    write_committee(tmp_path, before)
    structures = loop.Structures.from_atoms([water])
    for old, new in zip(
        before.predict(structures, stress=True), read_committee(tmp_path).predict(structures, stress=True), strict=True
    ):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", ["committee.safetensors", "committee.json"])
def test_a_folder_without_a_committee_says_which_file_it_lacks(committee, name, tmp_path):
    write_committee(tmp_path, committee())
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=f"holds no committee: there is no {name}"):
        read_committee(tmp_path)


@pytest.mark.parametrize("n_bytes", [0, 5, 200, -1])
def test_weights_that_are_cut_off_are_an_error_that_names_the_file(committee, n_bytes, tmp_path):
    write_committee(tmp_path, committee())
    weights = tmp_path / "committee.safetensors"
    weights.write_bytes(weights.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=r"committee\.safetensors"):
        read_committee(tmp_path)


def test_weights_of_another_committee_are_an_error(committee, tmp_path):
    write_committee(tmp_path, committee())
    other = tmp_path / "other"
    other.mkdir()
    write_committee(other, committee(n_features=4))
    (other / "committee.safetensors").replace(tmp_path / "committee.safetensors")
    with pytest.raises(ValueError, match=r"committee\.safetensors"):
        read_committee(tmp_path)


def test_a_description_that_is_no_json_is_an_error_that_names_the_file(committee, tmp_path):
    write_committee(tmp_path, committee())
    (tmp_path / "committee.json").write_text("{")
    with pytest.raises(ValueError, match=r"committee\.json"):
        read_committee(tmp_path)


def test_cells_along_a_path_are_read_back_and_files_of_old_that_have_none_are_read(
    committee, salt, strain, results, tmp_path
):
    seeds = Structures.from_atoms([salt])
    result = attack(committee(), seeds, force_variance, seed=0, space=strain, n_steps=2)
    again = back("attack", Attacked(result.candidates(), (0,)), tmp_path).candidates
    assert torch.equal(again.paths.cells, result.cells)
    assert torch.equal(again.structures.cells, result.structures.cells)
    old = back("attack", results["attack"], tmp_path)
    with np.load(tmp_path / "generation-01" / "paths.npz") as arrays:
        assert "cells" not in arrays
    assert old.candidates.paths.cells is None
