"""One YAML file attacks, selects, labels and reports a committee that another package trained."""

import json
from importlib.util import find_spec

import pytest
import torch

from sparring import read_committee
from sparring.config import ConfigError, load

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
        (("training: {kind: none}", "training: {kind: fit}"), "are not trained by Sparring"),
        (("models: [default, other.pt]", "models: [default]"), "models: wanted at least 2"),
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


@pytest.mark.skipif(find_spec("chgnet") is None, reason="the extra chgnet is not installed")
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
