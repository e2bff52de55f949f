import dataclasses
import json
import shutil

import numpy as np
import pytest
from ase.build import bulk, molecule

from sparring.atoms.dataset import Dataset
from sparring.inputs.extxyz import read_labelled
from sparring.runs.stages import read_data
from sparring.validation.errors.test_sets import data_of_file, data_of_generation, unseen


def places(dataset):
    return [tuple(row) for row in dataset.structures.positions.numpy().round(9)]


def test_the_test_split_is_what_no_member_saw(finished_well):
    folder = finished_well / "generation-02"
    found = data_of_generation(folder)
    splits = json.loads((folder / "splits.json").read_text())
    everything = Dataset.from_atoms(read_labelled(folder / "dataset.extxyz", allow_dummy=True))
    assert places(found.dataset) == places(everything.take(sorted(splits["test"])))
    assert not set(places(found.dataset)) & set(places(found.training))
    assert len(found.dataset) + len(found.training) == len(everything)
    assert found.name == "test split of generation-02"


def test_what_the_run_labelled_later_was_not_seen_either(finished_well):
    first, second = finished_well / "generation-01", finished_well / "generation-02"
    found = data_of_generation(first, later=True)
    fresh = [read_labelled(folder / "labelled.extxyz", allow_dummy=True) for folder in (first, second)]
    n_test = len(data_of_generation(first).dataset)
    assert len(found.dataset) == n_test + len(fresh[0]) + len(fresh[1])
    assert found.dataset.info[n_test]["source"] == "attack"
    assert f"and {len(fresh[0]) + len(fresh[1])} labels of the run since" in found.name
    assert len(data_of_generation(second, later=True).dataset) == len(data_of_generation(second).dataset) + len(
        fresh[1]
    )


def test_after_the_last_generation_nothing_was_labelled(finished_well):
    found = data_of_generation(finished_well / "generation-03", later=True)
    assert found.name == "test split of generation-03; no later labels"


def test_of_a_file_what_was_learnt_from_is_left_out(finished_well):
    folder = finished_well / "generation-01"
    state = read_data(folder)
    later = read_data(finished_well / "generation-03").dataset
    found = data_of_file(folder, later, "later.xyz")
    assert found.n_seen == len(state.splits.fit)
    assert len(found.dataset) == len(later) - len(state.splits.fit)
    assert not set(places(found.dataset)) & set(places(found.training))
    assert "were left out" in found.note()


def test_a_file_of_nothing_but_training_structures_is_refused(finished_well):
    folder = finished_well / "generation-01"
    state = read_data(folder)
    with pytest.raises(ValueError, match=r"trained on all \d+ structures of mine\.xyz; give others"):
        data_of_file(folder, state.dataset.take(state.splits.fit), "mine.xyz")


def test_a_committee_without_a_run_leaves_the_user_to_know(finished_well, tmp_path):
    dataset = read_data(finished_well / "generation-01").dataset
    found = data_of_file(tmp_path, dataset, "mine.xyz")
    assert (len(found.dataset), found.training) == (len(dataset), None)
    assert "make sure" in found.note()
    with pytest.raises(ValueError, match=r"no test split \(splits\.json\).*give a file"):
        data_of_generation(tmp_path)


def test_a_generation_that_moved_still_knows_its_test_split(finished_well, tmp_path):
    shutil.copytree(finished_well / "generation-01", tmp_path / "mine")
    assert len(data_of_generation(tmp_path / "mine").dataset) == len(
        data_of_generation(finished_well / "generation-01").dataset
    )


def test_a_structure_is_the_same_with_the_digits_of_another_program(rattled, with_random_labels):
    frames = [*rattled(molecule("H2O"), 3), *rattled(molecule("NH3"), 2)]
    known = with_random_labels(frames)
    rounded = known.structures.with_positions(known.structures.positions.round(decimals=6))
    assert unseen(dataclasses.replace(known, structures=rounded), known) == []
    moved = known.structures.positions.clone()
    moved[3, 1] += 0.01
    assert unseen(dataclasses.replace(known, structures=known.structures.with_positions(moved)), known) == [1]


def test_other_atoms_or_another_cell_make_another_structure(with_random_labels):
    sodium, potassium = bulk("NaCl", "rocksalt", a=5.0), bulk("KCl", "rocksalt", a=5.0)
    wider = bulk("NaCl", "rocksalt", a=5.0)
    wider.set_cell(1.001 * wider.cell, scale_atoms=False)
    known = with_random_labels([sodium])
    assert unseen(with_random_labels([sodium.copy(), potassium, wider]), known) == [1, 2]


def test_many_structures_are_told_apart_one_by_one(rattled, water, with_random_labels):
    dataset = with_random_labels(rattled(water, 30))
    known = np.random.default_rng(0).permutation(30)[:12]
    assert unseen(dataset, dataset.take(known.tolist())) == sorted(set(range(30)) - set(known.tolist()))
