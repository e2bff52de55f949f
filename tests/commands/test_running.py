import os
import re

import numpy as np
import pytest
import torch
from ase.build import molecule

from sparring.atoms.dataset import ENERGY
from sparring.commands import running
from sparring.commands.running import check, run
from sparring.commands.starting import init
from sparring.commands.status import status
from sparring.committee_files import read_committee
from sparring.config import ConfigError, load, template_files
from sparring.inputs.extxyz import read_labelled
from sparring.labels import LabelError
from sparring.runs.folder import RunFolderError, read_metrics

KINDS = ("alanine_dipeptide", "ammonia", "double_well_1d", "double_well_2d", "own")


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """A report takes longer than all the rest of these runs, and is tested elsewhere."""
    monkeypatch.setattr(running, "report", lambda folder: None)


def last_data(folder):
    return sorted(folder.glob("generation-*/dataset.extxyz"))[-1]


def computed(folder):
    return [
        read_metrics(one)["labels"]["n_computed"]
        for one in folder.glob("generation-*")
        if (one / "labels.json").exists()
    ]


# --- init -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_an_example_of_every_kind_is_written_and_loads(kind, tmp_path):
    files = init(kind, tmp_path / "new" / "folder")
    assert [file.name for file in files] == list(template_files(kind))
    assert load(files[0]).system.kind == kind


def test_nothing_is_overwritten_and_nothing_is_written_halfway(tmp_path):
    (tmp_path / "own_molecule.xyz").write_text("mine")
    with pytest.raises(FileExistsError, match=r"own_molecule\.xyz exists already"):
        init("own", tmp_path)
    assert os.listdir(tmp_path) == ["own_molecule.xyz"]
    assert (tmp_path / "own_molecule.xyz").read_text() == "mine"


def test_an_unknown_kind_is_an_error_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigError, match="'amonia' is no kind of system and no example; did you mean ammonia"):
        init("amonia", tmp_path)


# --- check ----------------------------------------------------------------------------------------------------------


def test_a_check_computes_one_label_and_writes_nothing(molecules_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load(molecules_file())
    before = sorted(tmp_path.rglob("*"))
    estimate = check(config)
    assert estimate.method.startswith("emt")
    assert np.isfinite(estimate.label.energy)
    assert estimate.n_generations == 2
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("enlarge", "n_start"),
    [
        (None, 6),
        ({"kind": "displacements", "n_structures": 9}, 6 + 9),
        ({"kind": "normal_modes", "n_structures": 9}, 6 + 9 + 6 * (4 * 2 + 4 * 3 + 1 * 4)),
    ],
)
def test_structures_that_are_labelled_cost_nothing_to_begin_with(enlarge, n_start, molecules_file):
    assert check(load(molecules_file({"system.enlarge": enlarge}))).n_start == n_start


@pytest.mark.parametrize(
    ("changes", "n_labels"),
    [
        ({"generations": 3, "attack.n_seeds": 6}, 4 + 4),
        ({"generations": 3, "attack.n_seeds": 3}, 3 + 3),
        ({"generations": 1}, 0),
        ({"generations": 3, "attack.n_seeds": None, "selection": []}, 66 + 132),
    ],
)
def test_attacks_cost_at_most_their_budget(changes, n_labels, well_file):
    estimate = check(load(well_file(changes)))
    assert (estimate.n_start, estimate.n_labels) == (0, n_labels)


def test_no_run_asks_for_more_labels_than_the_check_has_said(molecules_file, tmp_path):
    file = molecules_file({"system.enlarge": {"kind": "displacements", "n_structures": 5}})
    estimate = check(load(file))
    run(file, tmp_path / "run")
    n_records = len(list((tmp_path / "run" / "labels").glob("*.json")))
    assert n_records <= estimate.n_start + estimate.n_labels + estimate.n_compared
    assert n_records > estimate.n_start


def test_a_structure_that_cannot_be_labelled_fails_the_check(molecules_file):
    with pytest.raises(LabelError, match="Cl"):
        check(load(molecules_file(structures=[molecule("CH3Cl")] * 3)))


# --- run ------------------------------------------------------------------------------------------------------------


def test_a_run_gives_its_last_committee_and_tells_of_every_generation(well_file, tmp_path):
    rows = []
    committee = run(well_file(), tmp_path / "run", finished_generation=rows.append)
    assert [row["generation"] for row in rows] == [1, 2, 3]
    assert committee.state()[1] == read_committee(tmp_path / "run" / "generation-03").state()[1]


def test_the_committee_of_a_run_knows_elements_charges_and_method_of_its_labels(molecules_file, tmp_path):
    committee = run(molecules_file({"generations": 1}), tmp_path / "run")
    again = read_committee(str(tmp_path / "run" / "generation-01"))
    assert again.domain == committee.domain
    assert committee.domain.states == {"H2O": ((0, 1),), "H3N": ((0, 1),), "N2": ((0, 1),)}
    assert re.fullmatch(r"H, N, O; charge 0; emt.* \(ase [0-9.]+\)", str(committee.domain))


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda", "cannot use the device 'cuda': PyTorch .* was installed without CUDA; use cpu"),
        ("mps", "cannot use the device 'mps': it has no double precision"),
    ],
)
def test_a_device_that_is_not_there_is_an_error_before_any_label(
    device, message, molecules_file, tmp_path, monkeypatch
):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    config = load(molecules_file({"device": device}))
    with pytest.raises(ValueError, match=message):
        check(config)
    with pytest.raises(ValueError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_computes_with_its_threads_and_may_go_on_with_others(well_file, tmp_path, monkeypatch):
    used = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    run(load(well_file(), overrides={"generations": 1, "threads": 3}), tmp_path / "run")
    run(load(well_file(), overrides={"generations": 2, "threads": 5}), tmp_path / "run")
    run(load(well_file(), overrides={"generations": 2}), tmp_path / "run")
    assert used == [3, 1, 5, 1, 1, 1]  # and afterwards what it was before


def test_a_run_takes_a_configuration_as_well_as_its_file_with_a_preset(tmp_path, well_file):
    file = well_file()
    file.write_text(file.read_text() + "presets:\n  short:\n    generations: 1\n")
    run(load(file, "short"), tmp_path / "one")
    run(file, tmp_path / "other", preset="short")
    assert last_data(tmp_path / "one").read_bytes() == last_data(tmp_path / "other").read_bytes()
    with pytest.raises(RunFolderError, match=r"training\.n_epochs: 5 -> 6"):
        run(load(file, "short", {"training.n_epochs": 6}), tmp_path / "one")


def test_a_run_on_molecules_of_mixed_sizes_labels_what_has_no_label_and_learns_from_all(molecules_file, tmp_path):
    enlarge = {"kind": "normal_modes", "n_structures": 3}
    file = molecules_file({"system.enlarge": enlarge}, structures=[molecule("N2"), molecule("H2O"), molecule("NO")])
    run(file, tmp_path / "run")
    data = read_labelled(last_data(tmp_path / "run"))
    sources = [one.info["source"] for one in data]
    assert sources[:9] == ["file"] * 3 + ["minimum", "normal_mode"] * 3
    assert set(sources[9:]) == {"attack"}
    assert {one.get_chemical_formula() for one in data} == {"N2", "H2O", "NO"}
    assert all(one.info["charge"] == 0 for one in data)
    assert len({one.info["label"] for one in data if "label" in one.info}) > 3


def test_labels_that_the_file_brings_are_learnt_as_they_are(molecules, molecules_file, tmp_path):
    run(molecules_file(), tmp_path / "run")
    energies = [one.info[ENERGY] for one in read_labelled(tmp_path / "run" / "generation-01" / "dataset.extxyz")]
    assert energies[:6] == [one.info["dft_energy"] for one in molecules[::2]]
    assert len(energies) == 12


def test_a_second_run_with_the_same_store_computes_no_label(molecules_file, tmp_path):
    enlarge = {"kind": "normal_modes", "n_structures": 3}
    structures = [molecule("N2"), molecule("H2O")]
    file = molecules_file({"system.enlarge": enlarge, "labels.store": tmp_path / "store"}, structures=structures)
    run(file, tmp_path / "first")
    n_labels = len(list((tmp_path / "store").glob("*.json")))
    run(file, tmp_path / "second")
    assert (computed(tmp_path / "first"), computed(tmp_path / "second")) == ([3], [0])
    assert len(list((tmp_path / "store").glob("*.json"))) == n_labels
    assert last_data(tmp_path / "first").read_bytes() == last_data(tmp_path / "second").read_bytes()


def test_the_number_of_workers_changes_nothing_in_the_result(molecules_file, tmp_path):
    for n_workers in (1, 3):
        run(molecules_file({"labels.n_workers": n_workers}), tmp_path / str(n_workers))
    one, three = tmp_path / "1" / "generation-02", tmp_path / "3" / "generation-02"
    for name in ("dataset.extxyz", "committee.safetensors", "splits.json"):
        assert (one / name).read_bytes() == (three / name).read_bytes()


def test_a_data_set_of_one_point_is_an_error_and_the_run_goes_on_once_there_are_more(
    molecules, molecules_file, tmp_path
):
    with pytest.raises(ValueError, match="a data set of 1 cannot be divided"):
        run(molecules_file(structures=molecules[:1]), tmp_path / "run")
    run(molecules_file(), tmp_path / "run")
    assert status(tmp_path / "run")[-1].generation == 2


# --- status ---------------------------------------------------------------------------------------------------------


def test_the_status_says_how_far_each_generation_has_come(finished_well):
    found = status(finished_well)
    assert [one.generation for one in found] == [1, 2, 3]
    assert found[0].stages == ("data", "fit", "evaluate", "attack", "select", "label")
    assert found[-1].stages == ("data", "fit", "evaluate")
    assert found[-1].metrics["n_structures"] == 74


def test_a_folder_that_is_no_run_has_no_status(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run folder: there is no config\.yaml"):
        status(tmp_path)
