"""A potential of another package, which registers it by an entry point, does what SchNet does."""

import importlib
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms

from sparring import read_committee
from sparring.atoms.dataset import FORCES, Dataset
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import ConfigError, dump, load
from sparring.potentials import plugin
from sparring.potentials.stacking import cast
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.testing import check_extensivity, check_potential
from sparring.training.fitting import fit

HERE = Path(__file__).parents[1]
PACKAGE = HERE / "third_party"
PARAMETERS = {"elements": ["H", "N", "O"], "n_gaussians": 4, "cutoff": 2.5}
CHANGES = {"committee.potential": {"kind": "plugin", "name": "pair_network", "parameters": PARAMETERS}}
LAST = ("dataset.extxyz", "committee.safetensors", "committee.json", "training.csv", "predictions.extxyz")


@pytest.fixture
def package(monkeypatch):
    """The package is installed."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    yield importlib.import_module("pair_network")
    sys.modules.pop("pair_network", None)


@pytest.fixture
def network(package):
    return package.PairNetwork(**PARAMETERS)


@pytest.fixture
def mixed(ammonia, water, rattled, with_random_labels):
    return with_random_labels([*rattled(ammonia, 5), *rattled(water, 5)])


def test_a_run_of_it_is_configured_trained_attacked_reported_and_read(package, molecules_file, sparring, tmp_path):
    run = sparring("run", molecules_file(CHANGES), "--folder", tmp_path / "run")
    assert run.exit_code == 0, run.err
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    about = json.loads((tmp_path / "run" / "generation-02" / "committee.json").read_text())
    assert (about["architecture"], about["package"]) == ("pair_network", "pair-potentials 1.0")
    assert about["hyperparameters"]["n_gaussians"] == 4
    committee = read_committee(tmp_path / "run" / "generation-02")
    assert isinstance(committee.members[0], package.PairNetwork)
    assert committee.stacked
    evaluated = sparring("evaluate", tmp_path / "run" / "generation-02", tmp_path / "run/generation-02/dataset.extxyz")
    assert evaluated.exit_code == 0, evaluated.err


def test_a_run_of_it_that_is_killed_and_started_again_ends_as_one_that_never_was(molecules_file, processes, tmp_path):
    config, output = molecules_file(CHANGES), tmp_path / "output.txt"
    deaths = {"killed": [{"work": "training", "tick": 2, "count": 2}, None], "whole": [None]}
    codes = [
        processes("run", config, "--folder", tmp_path / name, output=output, death=death)
        for name, several in deaths.items()
        for death in several
    ]
    assert codes == [-signal.SIGKILL, 0, 0], output.read_text()
    folders = [tmp_path / name / "generation-02" for name in ("killed", "whole")]
    for name in LAST:
        assert folders[0].joinpath(name).read_bytes() == folders[1].joinpath(name).read_bytes(), name


def test_it_keeps_the_contract_of_potentials(network, ammonia, water, salt):
    network.initialise(torch.Generator().manual_seed(0))
    dimer = water.copy()
    dimer.positions += [2.0, 0.3, 0.1]
    check_potential(network, [ammonia, water, ammonia + dimer])
    check_extensivity(network, [ammonia, water])
    salt.numbers = [1, 8]
    check_potential(network, [salt])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["mixed", "energies only", "crystals", "fixed atoms"])
def test_training_lowers_its_loss_on_whatever_can_be_trained_on(
    network, mixed, ammonia, water, salt, rattled, with_random_labels, kind, dtype
):
    data = mixed
    if kind == "energies only":
        frames = mixed.to_atoms()
        for atoms in frames[::2]:
            del atoms.arrays[FORCES]
        data = Dataset.from_atoms(frames)
    elif kind == "crystals":
        salt.numbers = [1, 8]
        data = with_random_labels([*rattled(salt, 6), *rattled(salt * (2, 1, 1), 4), *rattled(water, 2)])
    elif kind == "fixed atoms":
        frames = mixed.to_atoms()
        for atoms in frames:
            atoms.set_constraint(FixAtoms([0]))
        data = Dataset.from_atoms(frames)
    committee, report = fit(network, data, seed=1, n_members=2, n_epochs=30, learning_rate=0.01, dtype=dtype)
    assert np.isfinite(report.train_loss).all()
    assert (report.train_loss[-1] < report.train_loss[0]).all()
    assert committee.dtype == dtype
    seeds = data.structures.take([0, len(data) - 1])
    result = attack(committee, seeds, force_variance, seed=0, n_steps=3)
    assert torch.isfinite(result.structures.positions).all()


def test_without_vmap_members_are_trained_and_evaluated_one_after_another_with_the_same_result(
    package, mixed, monkeypatch
):
    options = {"seed": 1, "n_members": 2, "n_epochs": 3, "dtype": torch.float64}
    stacked, report = fit(package.PairNetwork(**PARAMETERS), mixed, **options)
    monkeypatch.setattr(package.PairNetwork, "supports_vmap", False)
    looped, looped_report = fit(package.PairNetwork(**PARAMETERS), mixed, **options)
    assert (stacked.stacked, looped.stacked) == (True, False)
    np.testing.assert_allclose(report.train_loss, looped_report.train_loss, rtol=1e-8)
    one, other = (c.predict(mixed.structures, differentiable=False) for c in (stacked, looped))
    torch.testing.assert_close(one.forces, other.forces, rtol=1e-7, atol=1e-9)
    assert Committee.from_state(*looped.state()).n_members == 2


def test_data_with_an_element_that_it_does_not_have_are_refused(network, salt, rattled, with_random_labels):
    with pytest.raises(ValueError, match="pair_network has the elements H, N, O, the data set also has Na, Cl; give"):
        fit(network, with_random_labels(rattled(salt, 5)), seed=0, n_members=2)


def test_a_committee_of_it_goes_to_disk_and_back_to_the_last_bit(network, mixed):
    committee, _ = fit(network, mixed, seed=0, n_members=2, n_epochs=1)
    weights, about = committee.state()
    again = Committee.from_state(weights, json.loads(json.dumps(about)))
    assert torch.equal(again.predict(mixed.structures).forces, committee.predict(mixed.structures).forces)
    assert again.domain == committee.domain
    assert again.state()[1] == about


def test_without_its_package_the_error_names_the_package(network, mixed, monkeypatch):
    weights, about = Committee([network, network]).state()
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(PACKAGE)])
    message = (
        "of the architecture 'pair_network' of the package pair-potentials 1.0, which this installation does not have"
    )
    with pytest.raises(ValueError, match=message):
        Committee.from_state(weights, about)
    with pytest.raises(ValueError, match="unknown potential 'pair_network'; registered: none"):
        plugin("pair_network")


def test_another_revision_of_it_is_refused(package, network, monkeypatch):
    weights, about = Committee([network, network]).state()
    monkeypatch.setattr(package.PairNetwork, "revision", 2)
    with pytest.raises(ValueError, match="another revision of 'pair_network' than 2; train it again"):
        Committee.from_state(weights, about)


def test_hyperparameters_that_would_not_rebuild_it_are_refused_before_weights_are_written(network):
    for hyperparameters, problem in [
        ({**PARAMETERS, "n_gaussians": 9}, r"other weights \(centres, network.0.weight\)"),
        ({**PARAMETERS, "size": 3}, "unexpected keyword argument 'size'"),
        ({**PARAMETERS, "dtype": torch.float32}, "dtype is not JSON serializable"),
    ]:
        network.hyperparameters = hyperparameters
        with pytest.raises(ValueError, match=problem):
            Committee([network, network]).state()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("pair_net", {}, r"unknown potential 'pair_net', did you mean 'pair_network'\?"),
        ("pair_network", {"size": 3}, r"'pair_network' does not accept parameters \{'size': 3\}"),
        ("misnamed", {}, "whose kind is 'pair_network'; the name of the entry point and `kind` must be the same"),
        ("no_module", {}, "is registered as no_such_module:Network, which cannot be imported"),
        ("no_class", {}, "is registered as builtins:dict, which is not a subclass of sparring.Architecture"),
    ],
)
def test_a_name_or_parameters_that_do_not_fit_are_errors(package, name, parameters, message):
    with pytest.raises(ValueError, match=message):
        plugin(name, parameters)


@pytest.mark.parametrize("example", ["double_well_1d", "ammonia", "alanine_dipeptide"])
def test_any_system_takes_a_plugin_and_a_configuration_of_it_is_written_and_read(example, tmp_path):
    config = load(HERE.parent / "examples" / f"{example}.yaml", overrides=CHANGES)
    section = config.committee.potential
    assert (section.kind, section.name, section.parameters) == ("plugin", "pair_network", PARAMETERS)
    (tmp_path / "again.yaml").write_text(dump(config), encoding="utf-8")
    assert load(tmp_path / "again.yaml").committee == config.committee


def test_a_check_finds_a_package_that_is_not_there_and_elements_that_it_does_not_have(
    package, molecules_file, sparring
):
    unknown = {"committee.potential": {"kind": "plugin", "name": "gap"}}
    checked = sparring("check", molecules_file(unknown))
    assert (checked.exit_code, "unknown potential 'gap'" in checked.err) == (2, True)
    of_water = {"committee.potential": {**CHANGES["committee.potential"], "parameters": {"elements": ["H", "O"]}}}
    checked = sparring("check", molecules_file(of_water))
    assert (checked.exit_code, "has the elements H, O, the data set also has N" in checked.err) == (2, True)


def test_a_configuration_gives_a_plugin_no_program():
    changes = {"committee.potential": {"kind": "plugin", "name": "mine", "parameters": {"command": "touch x"}}}
    with pytest.raises(ConfigError, match="command = 'touch x' names a program"):
        load(HERE.parent / "examples" / "ammonia.yaml", overrides=changes)


def test_members_with_other_buffers_stay_members_of_their_own(network, ammonia):
    one, other = cast(network, dtype=torch.float64), cast(network, dtype=torch.float64)
    other.set_reference_energies(torch.ones(100, dtype=torch.float64))
    prediction = Committee([one, other]).predict(Structures.from_atoms([ammonia]), differentiable=False)
    assert float(prediction.energy[1, 0] - prediction.energy[0, 0]) == pytest.approx(4.0)
