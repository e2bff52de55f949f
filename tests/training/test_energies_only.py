"""Structures that have an energy and no forces: what is learnt from them, and what their errors are."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from sparring.assembly.planning import plan
from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.config import load
from sparring.evaluation import Differences, errors, predict_structures
from sparring.potentials import SchNet
from sparring.potentials.stacking import stack
from sparring.reporting import report
from sparring.reporting.terminal import GenerationTable
from sparring.runs import loop
from sparring.runs.folder import RunFolder, read_metrics
from sparring.starting_data.base import Starting
from sparring.training.fitting import fit
from sparring.training.loss import Loss
from sparring.training.minibatches import PackedDataset
from sparring.validation.errors.compute import error_report

ALPHA_E, ALPHA_F = 0.3, 0.7


@pytest.fixture(params=["one molecule", "molecules of different size", "crystals and molecules"])
def dataset(request, ammonia, water, salt, rattled, with_random_labels):
    """Every other structure has an energy only."""
    atoms = {
        "one molecule": rattled(ammonia, 8),
        "molecules of different size": [*rattled(ammonia, 4), *rattled(water, 4)],
        "crystals and molecules": [*rattled(salt, 4), *rattled(water, 4)],
    }[request.param]
    return without_forces(with_random_labels(atoms), range(0, 8, 2))


def without_forces(dataset, indices):
    atoms = dataset.to_atoms()
    for index in indices:
        atoms[index].arrays.pop(FORCES, None)
    return Dataset.from_atoms(atoms)


def loss_of(dataset, network):
    data = PackedDataset.of(dataset, cutoff=network.cutoff, dtype=torch.float64, device="cpu")
    references = torch.zeros(2, 100, dtype=torch.float64)
    return Loss(network, data, ALPHA_E, ALPHA_F, references)


def flat(members):
    return torch.stack([torch.cat([p.detach().flatten() for p in one.parameters()]) for one in members])


def test_a_structure_without_forces_is_learnt_by_its_energy_alone(dataset, schnet, committee):
    loss, members = loss_of(dataset, schnet()), committee(2).members
    found = loss.losses_of(flat(members), torch.arange(8).expand(2, 8))
    for member, network in enumerate(members):
        predicted = predict_structures(type(committee(2))([network]), dataset.structures)
        energy = (torch.as_tensor(predicted.energy) - dataset.energy).square()
        true = dataset.forces.split(dataset.structures.counts.tolist())
        forces = [np.square(one - known.numpy()).mean() for one, known in zip(predicted.forces, true, strict=True)]
        counted = torch.as_tensor(forces) * torch.tensor([0.0, 1.0] * 4)
        torch.testing.assert_close(found[member].detach(), ALPHA_E * energy + ALPHA_F * counted)


def test_the_gradient_of_a_mixed_data_set_is_finite_and_that_of_the_loss(dataset, schnet, committee):
    loss, weights, chosen = loss_of(dataset, schnet()), flat(committee(2).members), torch.arange(8).expand(2, 8)
    _, gradient = loss.gradient(weights, chosen)
    assert gradient.isfinite().all()
    direction = torch.randn(weights.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6
    up, down = (loss.gradient(weights + sign * step * direction, chosen)[0] for sign in (1, -1))
    torch.testing.assert_close((gradient * direction).sum(1), (up - down) / (2 * step), rtol=1e-5, atol=1e-6)


def test_a_label_that_all_forces_have_gives_the_same_bits_as_ever(ammonia, rattled, with_random_labels):
    network = SchNet(n_features=8, n_filters=8, n_interactions=1, n_gaussians=4, cutoff=3.0)
    whole = with_random_labels(rattled(ammonia, 10))
    marked = dataclasses.replace(whole, has_forces=torch.ones(10, dtype=torch.bool))
    one, other = (fit(network, data, seed=0, n_members=2, n_epochs=2)[0] for data in (whole, marked))
    for name, value in stack(list(one.members)).items():
        torch.testing.assert_close(value, stack(list(other.members))[name], rtol=0, atol=0)


def test_errors_of_forces_are_those_of_structures_that_have_some(dataset, committee):
    predicted = predict_structures(committee(2), dataset.structures)
    have = [1, 3, 5, 7]
    whole, some = errors(predicted, dataset), errors(predicted.take(have), dataset.take(have))
    assert whole.n_structures == 8
    assert (whole.force_mae, whole.force_rmse) == (some.force_mae, some.force_rmse)
    assert whole.energy_mae != some.energy_mae
    parts = Differences.of(predicted, dataset).take(np.arange(8) < 4)
    assert len(parts.force) == 3 * int(dataset.structures.counts[[1, 3]].sum())
    assert math.isnan(errors(predicted.take([0, 2]), dataset.take([0, 2])).force_mae)


def test_a_report_of_errors_compares_forces_where_there_are_some(dataset, committee):
    predicted = predict_structures(committee(2), dataset.structures)
    found = error_report(predicted, dataset, n_members=2, training=(predicted, dataset), data="some")
    assert found.forces.error.shape == (4,)
    assert found.energy.error.shape == (8,)
    with pytest.raises(ValueError, match="none of 2 structures has forces"):
        error_report(predicted.take([0, 2]), dataset.take([0, 2]), n_members=2)


def test_a_weight_of_zero_for_energies_leaves_nothing_to_learn_from_energies_only(dataset):
    network = SchNet(n_features=8, n_filters=8, n_interactions=1, n_gaussians=4, cutoff=3.0)
    with pytest.raises(ValueError, match="no structure has forces and energy_weight is 0"):
        fit(network, without_forces(dataset, range(8)), seed=0, n_members=2, energy_weight=0.0)


@pytest.fixture
def energies(molecules):
    """Molecules with an energy each, of which none has forces."""
    atoms = []
    for index, one in enumerate(molecules):
        one = one.copy()
        one.info = {ENERGY: -10.0 * len(one) + 0.1 * index, "source": "file", "frame": index, "charge": 0}
        one.arrays.pop("dft_forces", None)
        atoms.append(one)
    return atoms


def test_a_run_learns_from_energies_only_and_says_so(energies, molecules_file, tmp_path, caplog):
    config = load(molecules_file())
    choices = dataclasses.replace(plan(config, tmp_path), start=lambda: Starting(energies))
    folder = tmp_path / "run"
    with RunFolder(folder, config) as opened:
        loop.run(choices, opened.cached)
        first, second = (opened.cached(g, "data", lambda: pytest.fail("computed before")) for g in (1, 2))
        evaluated = opened.cached(1, "evaluate", lambda: pytest.fail("computed before"))
    assert "no structure has forces: forces are learnt from 12 energies only" in caplog.text
    assert first.dataset.n_with_forces == 0
    assert second.dataset.n_with_forces == len(second.dataset) - 12 > 0
    assert math.isnan(evaluated.errors["test"].force_mae)
    metrics = read_metrics(folder / "generation-01")
    assert metrics["errors"]["test"]["force_mae"] is None
    assert "NaN" not in json.dumps(metrics)
    assert metrics["n_with_forces"] == 0
    heading, row = GenerationTable().row(metrics).splitlines()[1:]
    assert row.split()[heading.split().index("F")] == "-"
    assert report(folder).exists()
