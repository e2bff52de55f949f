"""One YAML file makes a committee of one backbone, attacks it, selects, labels and reports."""

import json

import pytest
import torch
from ase.calculators.emt import EMT

from sparring import read_committee, write_committee
from sparring.assembly.planning import plan
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.committee import Committee
from sparring.config import ConfigError, load
from sparring.domain import TrainingDomain
from sparring.evaluation import evaluate
from sparring.potentials import PaiNN
from sparring.training.splits import Splits

ONE_BACKBONE = """
generations: 2
system: {{kind: own, file: {file}, energy_key: dft_energy, forces_key: dft_forces}}
labels: {{labeller: {{kind: ase, name: emt}}, n_workers: 1}}
committee: {{kind: heads, backbone: {{adapter: sparring, model: backbone}}, n_members: 4, uncertainty: llpr}}
attack: {{n_seeds: 4, seeds: random, n_steps: 3, initial_spread: 0.05 Å}}
selection: [{{kind: budget, n: 3}}]
"""


@pytest.fixture
def heads_file(molecules_file):
    file = molecules_file()
    network = PaiNN(n_features=8, n_interactions=2, n_radial=5, cutoff=3.0)
    network.initialise(torch.Generator().manual_seed(0))
    write_committee(file.parent / "backbone", Committee([network, network]))

    def make(*change):
        text = ONE_BACKBONE.format(file=file.with_suffix(".xyz").name)
        file.write_text(text.replace(*change) if change else text, encoding="utf-8")
        return file

    return make


@pytest.fixture
def dataset(molecules):
    for atoms in molecules:
        atoms.calc = EMT()
        atoms.info[ENERGY], atoms.arrays[FORCES] = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = None
    return Dataset.from_atoms(molecules)


def test_a_configuration_names_its_backbone_relative_to_itself_and_is_complete(heads_file):
    file = heads_file()
    config = load(file)
    assert config.committee.backbone.model == str(file.parent / "backbone")
    assert (config.committee.n_members, config.training.kind) == (4, "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("attack:", "training: {kind: fit}\nattack:"), "heads are fitted by linear algebra"),
        (("n_members: 4", "n_members: 1"), "n_members: must be at least 2"),
        (("adapter: sparring", "adapter: chgnt"), "did you mean 'chgnet'"),
        (("uncertainty: llpr", "uncertainty: lpr"), "did you mean llpr"),
        (("adapter: sparring", "adapter: chgnet, member: 1"), "member is of saved committees"),
        (("adapter: sparring", "adapter: sparring, head: pbe"), "head is of models of other packages"),
        ((", model: backbone", ""), "needs `model`, the folder of a saved committee"),
    ],
)
def test_a_value_that_does_not_fit_a_committee_of_heads_is_named(heads_file, change, message):
    with pytest.raises(ConfigError, match=message):
        load(heads_file(*change))


def test_a_member_that_the_saved_committee_does_not_have_is_named(heads_file, sparring, tmp_path):
    file = heads_file("model: backbone", "model: backbone, member: 2")
    run = sparring("run", file, "--folder", tmp_path / "run")
    assert run.exit_code == 2
    assert "has 2 members, counted from 0, got 2" in run.err


@pytest.mark.parametrize(("uncertainty", "method"), [("heads", "emt {}"), ("llpr", None)])
def test_heads_of_a_run_know_what_computed_the_labels_that_they_were_fitted_to(
    heads_file, dataset, tmp_path, uncertainty, method
):
    config = load(heads_file("uncertainty: llpr", f"uncertainty: {uncertainty}"))
    splits = Splits.draw(len(dataset), n_members=4, seed=0)
    committee, _ = plan(config, tmp_path / "run").fit(dataset, splits, 0)
    assert committee.n_members == 4
    assert committee.domain.method == method
    backbone = read_committee(config.committee.backbone.model)
    before, after = (evaluate(one, dataset.take(splits.fit)).force_mae for one in (backbone, committee))
    assert (after < 0.9 * before) == (uncertainty == "heads"), (before, after)


def test_elements_that_a_saved_backbone_was_not_trained_on_are_refused(heads_file, dataset, tmp_path):
    config = load(heads_file())
    backbone = config.committee.backbone.model
    write_committee(backbone, read_committee(backbone).with_domain(TrainingDomain.of_elements(["H", "C"])))
    splits = Splits.draw(len(dataset), n_members=4, seed=0)
    with pytest.raises(ValueError, match="on which the committee was not trained: its data have C, H"):
        plan(config, tmp_path / "run").fit(dataset, splits, 0)


def test_a_run_attacks_selects_labels_and_reports_one_backbone(heads_file, sparring, tmp_path):
    file = heads_file()
    assert sparring("check", file).exit_code == 0
    run = sparring("run", file, "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err
    last = tmp_path / "run" / "generation-02"
    assert json.loads((last / "committee.json").read_text())["architecture"] == "heads"
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    first, second = (read_committee(folder) for folder in (last.with_name("generation-01"), last))
    assert not torch.equal(first.members[1].weight, second.members[1].weight)
    for member in second.members:
        assert member.backbone is second.members[0].backbone
    assert sparring("status", tmp_path / "run").exit_code == 0
