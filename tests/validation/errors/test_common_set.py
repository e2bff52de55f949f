"""All generations of a run on the same structures: the promise that makes their errors comparable."""

import json
import shutil

import numpy as np
import pytest
import torch
from ase.build import molecule

from sparring.atoms.dataset import Dataset
from sparring.commands import running
from sparring.committee_files import read_committee
from sparring.config import difference, dump, load
from sparring.evaluation import evaluate
from sparring.inputs.extxyz import read_labelled, write_structures
from sparring.runs.data_stage import read_data
from sparring.runs.folder import read_metrics
from sparring.validation.errors import common_set
from sparring.validation.errors.common_set import compare_committees, known_comparison
from sparring.validation.records import keep


@pytest.fixture
def well(finished_well, tmp_path, unchecked):
    return unchecked(shutil.copytree(finished_well, tmp_path / "well"))


def configure(folder, **evaluation):
    config = load(folder / "config.yaml", overrides={f"evaluation.{key}": value for key, value in evaluation.items()})
    (folder / "config.yaml").write_text(dump(config), encoding="utf-8")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def labelled(folder, places, **changes):
    """Structures of the newest data under names of another code."""
    frames = read_data(folder / "generation-03").dataset.take(places).to_atoms()
    for atoms in frames:
        atoms.info["dft_energy"] = atoms.info.pop("REF_energy")
        atoms.arrays["dft_forces"] = atoms.arrays.pop("REF_forces")
        atoms.positions[:, 0] += changes.get("shift", 0.0)
    return frames


def test_every_generation_is_evaluated_on_the_newest_test_set(well):
    compared = compare_committees(well)
    state = read_data(well / "generation-03")
    test = state.dataset.take(state.splits.test)
    assert compared.generations == (1, 2, 3)
    for number in compared.generations:
        expected = evaluate(read_committee(well / f"generation-{number:02d}"), test)
        assert compared.of(number).force_mae == pytest.approx(expected.force_mae)
        assert compared.of(number).energy_rmse == pytest.approx(expected.energy_rmse)
        assert compared.of(number).n_structures == len(state.splits.test)


def test_no_member_of_any_generation_has_trained_on_a_structure_of_the_set(well):
    newest = read_data(well / "generation-03")
    for number in (1, 2, 3):
        state = read_data(well / f"generation-{number:02d}")
        assert not set(newest.splits.test) & set(state.splits.fit)
        assert torch.equal(state.dataset.energy, newest.dataset.energy[: len(state.dataset)])


def test_the_last_generation_has_there_the_errors_of_its_own_test_set(well):
    own = read_metrics(well / "generation-03")["errors"]["test"]
    assert compare_committees(well).of(3).energy_mae == pytest.approx(own["energy_mae"])


def test_errors_of_all_structures_are_those_near_the_minimum_and_far_above_it_together(well):
    compared = compare_committees(well)
    n = compared.n_structures
    assert n["near"] + n["far"] == n["all"]
    near, far, every = (compared.of(1, part) for part in ("near", "far", "all"))
    parts = [part for part in (near, far) if part is not None]
    assert every.energy_mae == pytest.approx(sum(part.energy_mae * part.n_structures for part in parts) / n["all"])


def test_near_the_minimum_means_the_same_energy_per_atom_for_all_sizes(with_random_labels):
    structures = [molecule(name) for name in ("N2", "N2", "N2", "CH4", "CH4", "CH4", "H2O")]
    dataset = with_random_labels(structures)
    energy = torch.tensor([-9.0, -8.8, -8.7, -20.0, -19.5, -19.4, -5.0], dtype=torch.float64)
    dataset = Dataset(structures=dataset.structures, energy=energy, forces=dataset.forces, info=dataset.info)
    above = common_set._energies_above(dataset, dataset.take([0]))
    parts = common_set._parts(above, dataset, near=0.101)
    assert parts["near"].tolist() == [True, True, False, True, True, False, False]
    assert parts["far"].tolist() == [False, False, True, False, False, True, False]  # water has nothing to compare with


def test_charged_molecules_have_a_zero_of_energy_of_their_own(with_random_labels):
    structures = [molecule("NH3") for _ in range(4)]
    for ion in structures[2:]:
        ion.info["charge"] = 1
    dataset = with_random_labels(structures)
    energy = torch.tensor([-50.0, -49.9, -40.0, -39.9], dtype=torch.float64)
    dataset = Dataset(structures=dataset.structures, energy=energy, forces=dataset.forces, info=dataset.info)
    assert common_set._energies_above(dataset, dataset.take([0])) == pytest.approx([0.0, 0.1, 0.0, 0.1])


def test_what_has_been_compared_is_not_computed_again(well, monkeypatch):
    first = compare_committees(well)
    before = contents(well)

    def refused(*arguments):
        raise AssertionError("computed again")

    monkeypatch.setattr(common_set, "predict_structures", refused)
    assert compare_committees(well) == first
    assert known_comparison(well) == first
    assert contents(well) == before


def test_only_a_committee_that_has_changed_is_asked_again(well, monkeypatch):
    first = compare_committees(well)
    for name in ("committee.safetensors", "committee.json"):
        shutil.copy(well / "generation-01" / name, well / "generation-02" / name)
    calls = []
    predict_structures = common_set.predict_structures
    monkeypatch.setattr(
        common_set, "predict_structures", lambda *arguments: calls.append(1) or predict_structures(*arguments)
    )
    assert known_comparison(well).generations == (1, 3)
    second = compare_committees(well)
    assert len(calls) == 1
    assert second.of(2) == first.of(1)
    assert second.of(3) == first.of(3)


def test_what_was_found_with_other_data_or_settings_does_not_hold(well):
    compare_committees(well)
    configure(well, near=0.01)
    assert known_comparison(well) is None
    compare_committees(well)
    shutil.copytree(well / "generation-03", well / "generation-04")
    assert known_comparison(well) is None
    assert compare_committees(well).generations == (1, 2, 3, 4)


def test_a_damaged_record_is_made_again(well):
    first = compare_committees(well)
    (well / "validation" / "common_errors.json").write_text("{")
    assert known_comparison(well) is None
    assert compare_committees(well) == first


def test_a_run_that_has_trained_nothing_has_nothing_to_compare(well):
    for path in (well / "generation-01").iterdir():
        if path.name not in ("dataset.extxyz", "splits.json", "manifest.json"):
            path.unlink()
    for number in (2, 3):
        shutil.rmtree(well / f"generation-{number:02d}")
    assert compare_committees(well) is None
    assert known_comparison(well) is None


def test_a_generation_that_has_its_data_only_gives_the_set_for_those_before_it(well):
    for path in (well / "generation-03").iterdir():
        if path.name not in ("dataset.extxyz", "splits.json", "manifest.json"):
            path.unlink()
    compared = compare_committees(well)
    assert compared.generations == (1, 2)
    assert compared.n_structures["all"] == len(read_data(well / "generation-03").splits.test)


def test_a_folder_of_a_run_from_before_the_section_existed_is_compared_too(well):
    expected = compare_committees(well)
    shutil.rmtree(well / "validation")
    text = (well / "config.yaml").read_text(encoding="utf-8")
    (well / "config.yaml").write_text(text[: text.index("evaluation:")], encoding="utf-8")
    assert compare_committees(well) == expected


# --- a file of the user's -------------------------------------------------------------------------------------------


def test_the_structures_of_a_file_take_the_place_of_the_test_set(well, tmp_path):
    test = read_data(well / "generation-03").splits.test
    write_structures(tmp_path / "mine.xyz", labelled(well, test[:3]))
    configure(well, file=str(tmp_path / "mine.xyz"), energy_key="dft_energy", forces_key="dft_forces")
    compared = compare_committees(well)
    assert compared.name == "mine.xyz"
    assert compared.n_structures["all"] == 3
    frames = read_labelled(tmp_path / "mine.xyz", energy_key="dft_energy", forces_key="dft_forces", allow_dummy=True)
    expected = evaluate(read_committee(well / "generation-02"), Dataset.from_atoms(frames))
    assert compared.of(2).force_rmse == pytest.approx(expected.force_rmse)


def test_another_zero_of_energy_in_the_file_is_noticed(well, tmp_path):
    test = read_data(well / "generation-03").splits.test
    frames = labelled(well, test)
    for atoms in frames:
        atoms.info["dft_energy"] += 6000.0
    write_structures(tmp_path / "mine.xyz", frames)
    before = compare_committees(well)
    assert before.constant_error(3) is None
    configure(well, file=str(tmp_path / "mine.xyz"), energy_key="dft_energy", forces_key="dft_forces")
    assert compare_committees(well).constant_error(3) == pytest.approx(before.energy_bias["3"] - 6000.0, abs=0.01)


def test_structures_of_the_file_that_members_have_trained_on_are_left_out_and_counted(well, tmp_path):
    splits = read_data(well / "generation-03").splits
    places = [*splits.test[:2], *splits.train[0][:4], *splits.validation[0][:1]]
    write_structures(tmp_path / "mine.xyz", labelled(well, places))
    configure(well, file=str(tmp_path / "mine.xyz"), energy_key="dft_energy", forces_key="dft_forces")
    compared = compare_committees(well)
    assert (compared.n_structures["all"], compared.n_left_out) == (2, 5)


def test_a_file_that_has_changed_is_evaluated_anew_and_one_that_has_gone_is_not_missed(well, tmp_path):
    file = tmp_path / "mine.xyz"
    test = read_data(well / "generation-03").splits.test
    configure(well, file=str(file), energy_key="dft_energy", forces_key="dft_forces")
    write_structures(file, labelled(well, test[:2]))
    assert compare_committees(well).n_structures["all"] == 2
    write_structures(file, labelled(well, test[:3]))
    assert known_comparison(well) is None
    found = compare_committees(well)
    file.unlink()
    assert found.n_structures["all"] == 3
    assert compare_committees(well) == found


@pytest.mark.parametrize("call", [compare_committees, lambda folder: running.check(load(folder / "config.yaml"))])
def test_a_file_that_is_not_there_is_said_by_the_key(well, tmp_path, call):
    configure(well, file=str(tmp_path / "gone.xyz"))
    with pytest.raises(ValueError, match=r"evaluation\.file: .*gone\.xyz does not exist; correct the path"):
        call(well)


def test_a_file_that_is_not_there_is_said_before_a_run_begins(well_file, tmp_path):
    config = load(well_file(), overrides={"evaluation.file": str(tmp_path / "gone.xyz")})
    with pytest.raises(ValueError, match=r"evaluation\.file: .*gone\.xyz does not exist"):
        running.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_is_relative_to_the_configuration(well_file, tmp_path):
    file = well_file()
    file.write_text(file.read_text().replace("evaluation:\n  file: null", "evaluation:\n  file: mine.xyz"))
    assert load(file).evaluation.file == tmp_path / "mine.xyz"


def test_a_change_of_what_is_compared_does_not_stop_a_run_from_going_on(well_file, tmp_path):
    old = load(well_file())
    changes = {"evaluation.file": "/somewhere/mine.xyz", "evaluation.near": 0.2, "evaluation.energy_key": "energy"}
    assert difference(old, load(well_file(), overrides=changes)) == []


def test_a_run_of_molecules_compares_its_generations_when_it_ends(molecules_file, molecules, tmp_path, sparring):
    config = molecules_file()
    answer = sparring("run", config, "--folder", tmp_path / "run")
    assert answer.exit_code == 0, answer.err
    assert "all generations on the same structures, the test set of generation 2; no member has trained" in answer.out
    kept = json.loads((tmp_path / "run" / "validation" / "common_errors.json").read_text())
    before = contents(tmp_path / "run")
    again = sparring("run", config, "--folder", tmp_path / "run")
    assert "nothing was left to do" in again.err
    assert answer.out[answer.out.index("all generations") :] == again.out[again.out.index("all generations") :]
    assert {path: text for path, text in contents(tmp_path / "run").items() if path.name != "lock"} == {
        path: text for path, text in before.items() if path.name != "lock"
    }
    status = sparring("status", tmp_path / "run").out
    force = kept["errors"]["2"]["all"]["force_mae"] / 0.0433641
    assert f"{force:.3f}" in status


def test_status_names_the_command_that_compares_where_nothing_has_been_compared(finished_well, sparring):
    answer = sparring("status", finished_well)
    line = f"errors of all generations on the same structures: sparring report {finished_well}"
    assert line in answer.out.splitlines()
    assert not (finished_well / "validation").exists()


def test_predictions_that_are_not_finite_leave_a_record_that_can_be_read(well):
    compared = compare_committees(well)
    record = well / "validation" / "common_errors.json"
    content = json.loads(record.read_text())
    content["errors"]["1"]["all"]["energy_mae"] = None
    keep(record, json.dumps(content).encode())
    assert np.isnan(known_comparison(well).of(1).energy_mae)
    assert known_comparison(well).of(2) == compared.of(2)


def test_a_file_of_other_molecules_that_a_committee_cannot_judge_is_an_error_of_that_file(well, tmp_path):
    atoms = molecule("H2O")
    atoms.info["REF_energy"] = -14.0
    write_structures(tmp_path / "mine.xyz", [atoms])
    configure(well, file=str(tmp_path / "mine.xyz"))
    with pytest.raises(ValueError, match=r"evaluation\.file: .*mine\.xyz: structure 0 \(H2O\) has H, O, on which the"):
        compare_committees(well)
