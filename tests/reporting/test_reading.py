import json
import shutil

import numpy as np
import pytest

from sparring.inputs.extxyz import read_structures
from sparring.reporting.reading import read_run
from sparring.units import EV, KCAL


def test_energies_are_above_the_lowest_label_of_the_same_composition(made_up_run):
    run = read_run(made_up_run(formulas=("H3N", "C2H6O")))
    energies = np.concatenate([run.start.energy, *(part.labelled.energy for part in run.generations if part.labelled)])
    assert np.sum(energies == 0.0) == 2
    assert energies.min() == 0.0
    assert energies.max() < 10.0


def test_the_error_of_a_new_label_is_that_of_the_committee_before_it_was_trained_on_it(finished_run):
    labelled = read_run(finished_run).generations[0].labelled
    atoms = read_structures(finished_run / "generation-01" / "labelled.extxyz")[7]
    error = atoms.arrays["committee_forces"] - atoms.arrays["REF_forces"]
    assert labelled.force_error[7] == pytest.approx(np.sqrt((error**2).sum() / error.size))
    assert labelled.force_sigma[7] == pytest.approx(np.sqrt(atoms.info["force_variance"]))


def test_force_components_go_with_the_split_of_their_structure(finished_run):
    predictions = read_run(finished_run).generations[0].predictions
    assert np.array_equal(predictions.is_test_component.reshape(-1, 12).all(axis=1), predictions.is_test)


@pytest.mark.parametrize(("system", "unit"), [("ammonia", KCAL), ("own", KCAL), ("double_well_2d", EV)])
def test_molecules_are_shown_in_kcal_per_mol_and_toy_wells_are_not(made_up_run, system, unit):
    assert read_run(made_up_run(system=system, n_generations=1)).unit == unit


def test_dummy_atoms_of_the_wells_are_read(made_up_run):
    folder = made_up_run(system="double_well_2d", formulas=("X",), n_generations=2)
    assert read_run(folder).generations[0].paths is not None


def test_a_generation_has_what_it_has_committed_and_no_more(made_up_run):
    folder = made_up_run(n_generations=2)
    last = folder / "generation-02"
    for name in ("predictions.extxyz", "metrics.json"):
        (last / name).unlink()
    generation = read_run(folder).generations[1]
    assert generation.training is not None
    assert generation.predictions is None
    assert generation.paths is None
    assert generation.labelled is None
    assert generation.metric("errors", "test", "energy_mae") is None


def test_a_generation_whose_labels_all_failed_has_none(made_up_run):
    folder = made_up_run(n_generations=2)
    (folder / "generation-01" / "labelled.extxyz").write_text("")
    generation = read_run(folder).generations[0]
    assert generation.labelled is None
    assert [failure.reason for failure in generation.failures] == ["distance"]


def test_generations_are_in_the_order_of_their_numbers(made_up_run):
    folder = made_up_run(n_generations=2)
    shutil.copytree(folder / "generation-02", folder / "generation-10")
    assert [generation.number for generation in read_run(folder).generations] == [1, 2, 10]


def test_a_folder_that_is_no_run_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"not a run folder: it has no config\.yaml"):
        read_run(tmp_path)


def test_versions_are_those_of_the_run(finished_run):
    assert dict(read_run(finished_run).versions) == json.loads((finished_run / "versions.json").read_text())
