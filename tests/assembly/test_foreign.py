"""One YAML file attacks, selects, labels and reports a committee that another package trained."""

import json
import shutil
import sys

import pytest
import torch

from sparring import read_committee, read_labelled, write_committee, write_structures
from sparring.assembly.training import fit_arguments
from sparring.config import ConfigError, load
from sparring.config.trainers import trainer_named
from sparring.runs.reopening import reopen
from sparring.runs.saved_run import SavedRun

TRAINED_ELSEWHERE = """
generations: 2
system: {{kind: own, file: {file}, energy_key: dft_energy, forces_key: dft_forces}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee: {{kind: foreign, adapter: chgnet, models: [default, other.pt]}}
training: {{kind: none}}
attack: {{n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
"""


@pytest.fixture
def foreign_file(molecules_file):
    file = molecules_file()

    def make(**changes):
        text = TRAINED_ELSEWHERE.format(file=file.with_suffix(".xyz").name)
        for old, new in changes.values():
            text = text.replace(old, new)
        file.write_text(text, encoding="utf-8")
        return file

    return make


def test_a_configuration_names_models_relative_to_itself_and_is_complete(foreign_file):
    file = foreign_file()
    (file.parent / "other.pt").touch()
    config = load(file)
    assert config.committee.models == ("default", str(file.parent / "other.pt"))
    assert (config.committee.n_members, config.training.kind) == (2, "none")


def test_a_configuration_cannot_consent_to_unpickle(foreign_file):
    change = ("models: [default, other.pt]", "models: [default, other.pt], trust_pickle: true")
    with pytest.raises(ConfigError, match=r"trust_pickle: a configuration cannot consent.*--trust-pickle"):
        load(foreign_file(change=change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("training: {kind: none}", "training: {kind: fit}"), r"training\.kind: fit draws new weights; .*fine_tune"),
        (("models: [default, other.pt]", "models: [default]"), "models: a single model has no uncertainty"),
        (("models: [default, other.pt]", "models: [default, other.pt], n_members: 3"), "got 2 for n_members: 3"),
        (("training: {kind: none}", "training: {kind: command, trainer: mine}"), "models: models are those that the"),
        (("adapter: chgnet", "adapter: chgent"), "did you mean 'chgnet'"),
    ],
)
def test_what_does_not_fit_a_foreign_committee_is_named(foreign_file, change, message):
    with pytest.raises(ConfigError, match=message):
        load(foreign_file(change=change))


def test_a_network_that_is_to_be_trained_needs_training(molecules_file):
    file = molecules_file()
    text = file.read_text().replace("training: {n_epochs: 3, learning_rate: 1e-3}", "training: {kind: none}")
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"training\.kind: none leaves members as they are"):
        load(file)


@pytest.mark.extra("chgnet")
def test_a_run_attacks_selects_labels_and_reports_without_training(foreign_file, sparring, tmp_path):
    from sparring.potentials.foreign.loading import load_potential

    other = load_potential("chgnet", "default").model
    generator = torch.Generator().manual_seed(0)
    for weight in other.parameters():
        weight.data += 0.01 * weight.data.std(correction=0) * torch.randn(weight.shape, generator=generator)
    file = foreign_file()
    torch.save(other.state_dict(), file.parent / "other.pt")
    run = sparring("run", file, "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err
    last = tmp_path / "run" / "generation-02"
    assert json.loads((last / "committee.json").read_text())["architecture"] == "chgnet"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    first, second = (read_committee(folder) for folder in (last.with_name("generation-01"), last))
    assert first.members[1].hyperparameters == second.members[1].hyperparameters
    (file.parent / "other.pt").unlink()
    again = sparring("status", tmp_path / "run")
    assert again.exit_code == 0


# --- trained further, and by programs: on committees of our own, which need no extra ---------------------------------

FROM_OURS = """
generations: 2
system: {{kind: own, file: {file}, energy_key: dft_energy, forces_key: dft_forces}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee: {{kind: foreign, adapter: sparring, {committee}}}
training: {{{training}}}
attack: {{n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
"""


@pytest.fixture
def from_ours(molecules_file, committee, tmp_path):
    """A configuration beside the folder of a committee of two."""
    write_committee(tmp_path / "pretrained", committee(2, dtype=torch.float32))

    def make(*, committee="models: [pretrained], n_members: 3", training):
        file = molecules_file()
        names = {"file": file.with_suffix(".xyz").name, "committee": committee, "training": training}
        file.write_text(FROM_OURS.format(**names), encoding="utf-8")
        return file

    return make


def bits(folder):
    return [(folder / f"generation-0{number}" / "committee.safetensors").read_bytes() for number in (1, 2)]


def test_every_generation_is_tuned_from_the_checkpoint_and_a_run_that_goes_on_has_the_same_bits(
    from_ours, sparring, tmp_path, molecules
):
    write_structures(tmp_path / "old.xyz", molecules[::2][:4])
    replay = "replay: {file: old.xyz, energy_key: dft_energy, forces_key: dft_forces, weight: 0.5}"
    file = from_ours(training=f"kind: fine_tune, n_epochs: 2, {replay}")
    assert load(file).training.replay.file == tmp_path / "old.xyz"
    assert fit_arguments(load(file))["bootstrap"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert sparring("run", file, "--folder", whole).exit_code == 0
    curves = (whole / "generation-02" / "training.csv").read_text().splitlines()
    assert len(curves) == 1 + 2 * 3  # epochs, members
    dataset = read_labelled(whole / "generation-02" / "dataset.extxyz")
    assert not any(atoms.info.get("source") == "replay" for atoms in dataset)
    shutil.copytree(whole, stopped)
    reopen(SavedRun(stopped), 2, "fit")
    assert sparring("run", file, "--folder", stopped).exit_code == 0
    assert bits(stopped) == bits(whole)


TRAINER = """
import pathlib, shutil, sys
train, folder, template = sys.argv[1:]
assert "REF_energy=" in pathlib.Path(train).read_text()
shutil.copytree(template, pathlib.Path(folder) / "committee")
"""


@pytest.fixture
def trainers(tmp_path, monkeypatch, committee):
    """A file of trainers with one that gives every member the same network, from the shelf."""
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER)
    write_committee(tmp_path / "template", committee(1, dtype=torch.float32))
    words = [sys.executable, "-S", str(script), "{train}", "{folder}", str(tmp_path / "template")]
    file = tmp_path / "trainers.yaml"
    file.write_text(json.dumps({"mine": {"command": words, "model": "committee"}}))
    monkeypatch.setenv("SPARRING_TRAINERS", str(file))
    return file


def test_a_run_has_its_members_trained_by_a_program_of_the_user(from_ours, trainers, sparring, tmp_path):
    file = from_ours(committee="n_members: 2", training="kind: command, trainer: mine, time_limit: 1 min")
    checked = sparring("check", file)
    assert checked.exit_code == 0, checked.err
    assert "each member would be trained by" in checked.out
    assert "trainer.py {train} {folder}" in checked.out
    run = sparring("run", file, "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err
    about = json.loads((tmp_path / "run" / "generation-02" / "committee.json").read_text())
    assert (about["architecture"], about["n_members"], about["domain"]["method"]) == ("schnet", 2, "emt {}")
    assert len(list((tmp_path / "run" / "trained").glob("*-structures-*/member-02/done.json"))) == 2


def test_a_trainer_is_the_users_own_and_never_that_of_a_configuration(from_ours, trainers, sparring, monkeypatch):
    file = from_ours(committee="n_members: 2", training="kind: command, trainer: other")
    answer = sparring("check", file)
    assert (answer.exit_code, "'other' is not among them" in answer.err) == (2, True), answer.err
    with pytest.raises(ConfigError, match="unknown key"):
        load(from_ours(committee="n_members: 2", training="kind: command, trainer: mine, command: [rm]"))
    monkeypatch.setenv("SPARRING_TRAINERS", str(trainers.with_name("nowhere.yaml")))
    with pytest.raises(ConfigError, match=r"'mine' is not known on this machine: there is no file .*nowhere\.yaml"):
        trainer_named("mine")


def test_mistakes_in_the_file_of_trainers_are_located(trainers):
    trainers.write_text("mine:\n  comand: [train]\n  model: x\n")
    with pytest.raises(ConfigError, match=r"trainers\.yaml:1: mine\.comand: unknown key; did you mean command"):
        trainer_named("mine")
