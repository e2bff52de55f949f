"""Stresses in the loss: what is learnt from them, and what they cost where there are none."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.strain import strained
from sparring.evaluation import evaluate
from sparring.potentials import ACE, PaiNN, SchNet, WithPrior
from sparring.potentials.stacking import cast
from sparring.training.fitting import fit
from sparring.training.loss import Loss
from sparring.training.minibatches import PackedDataset
from sparring.training.trainer import SecondStage

ALPHA_E, ALPHA_F, ALPHA_S = 0.3, 0.7, 2.0
SMALL = {"cutoff": 3.0, "n_interactions": 2}


class PlainSchNet(SchNet):
    """SchNet without its analytic derivatives."""

    def stacked_model(self, weights):
        return None


class LoopedSchNet(PlainSchNet):
    """SchNet as a module that vmap cannot transform."""

    supports_vmap = False


def with_prior():
    network = WithPrior.of(ACE(n_features=4, mean_neighbors=10.0, energy_scale=1.0, **SMALL), 1.0)
    network.initialise(torch.Generator().manual_seed(0))
    network.amplitude = torch.full_like(network.amplitude, 0.5)
    return network


NETWORKS = {
    "schnet": lambda: SchNet(n_features=6, n_filters=5, n_gaussians=6, **SMALL),
    "ace": lambda: ACE(n_features=4, mean_neighbors=10.0, energy_scale=1.0, **SMALL),
    "painn": lambda: PaiNN(n_features=6, **SMALL),
    "in one pass by vmap": lambda: PlainSchNet(n_features=6, n_filters=5, n_gaussians=6, **SMALL),
    "one member after another": lambda: LoopedSchNet(n_features=6, n_filters=5, n_gaussians=6, **SMALL),
    "with a prior": with_prior,
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return cast(NETWORKS[request.param](), dtype=torch.float64)


@pytest.fixture
def weights(network):
    rows = []
    for seed in range(2):
        if "amplitude" not in dict(network.named_buffers()):
            network.initialise(torch.Generator().manual_seed(seed))
        rows.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    return torch.stack(rows) + 0.01 * torch.arange(2).unsqueeze(1)


@pytest.fixture
def dataset(salt, water, rattled, with_random_labels):
    """Crystals of two sizes with stresses, one without, and a molecule."""
    atoms = with_random_labels([*rattled(salt, 2), *rattled(salt * (2, 1, 1), 2), *rattled(water, 2)]).to_atoms()
    generator = np.random.default_rng(0)
    for index in (0, 2, 3):
        atoms[index].info[STRESS] = 0.05 * generator.normal(size=6)
    return Dataset.from_atoms(atoms)


def loss_of(dataset, network, **changes):
    padded = network.supports_vmap and isinstance(network, PlainSchNet)
    data = PackedDataset.of(dataset, cutoff=3.0, dtype=torch.float64, device="cpu", padded=padded)
    weights = {"energy_weight": ALPHA_E, "force_weight": ALPHA_F, "stress_weight": ALPHA_S, **changes}
    return Loss(network, data, references=torch.zeros(2, 100, dtype=torch.float64), **weights)


def slow_losses(network, dataset):
    """The loss of each structure as it is written, by the derivative in a strain of the positions and the cell."""
    losses = []
    for index in range(len(dataset)):
        one = dataset.take([index])
        structures = with_edges(one.structures, 3.0)
        strain = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
        moved = replace(strained(structures, (strain + strain.mT) / 2), edges=structures.edges)
        energy = network(moved)
        slopes, virial = torch.autograd.grad(energy.sum(), (moved.positions, strain))
        loss = ALPHA_E * (energy - one.energy).square().sum() + ALPHA_F * (slopes + one.forces).square().mean()
        if one.stress is not None:
            wanted = structures.cells.det().abs() * one.stress
            loss = loss + ALPHA_S * ((virial - wanted) / structures.n_atoms).square().mean()
        losses.append(loss.item())
    return losses


def test_virials_of_each_atom_are_compared_where_there_is_a_stress(network, weights, dataset):
    loss, module = loss_of(dataset, network), cast(network)
    found = loss.losses_of(weights, torch.arange(6).expand(2, 6))
    for row, own in zip(weights, found, strict=True):
        torch.nn.utils.vector_to_parameters(row, module.parameters())
        np.testing.assert_allclose(own, slow_losses(module, dataset), rtol=1e-9)


def test_the_gradient_in_the_weights_follows_finite_differences(network, weights, dataset):
    loss, chosen = loss_of(dataset, network), torch.tensor([[0, 4, 2], [3, 1, 5]])
    share = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.4, 0.0]], dtype=torch.float64)
    for of_batch in (None, share):
        losses, gradient = loss.gradient(weights, chosen, of_batch)
        each = loss.losses_of(weights, chosen)
        torch.testing.assert_close(losses, each.mean(1) if of_batch is None else (each * share).sum(1))
        direction = torch.randn(weights.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        step = 1e-5
        up, down = (loss.gradient(weights + sign * step * direction, chosen, of_batch)[0] for sign in (1, -1))
        torch.testing.assert_close((gradient * direction).sum(1), (up - down) / (2 * step), rtol=1e-6, atol=1e-7)


def test_supercells_weigh_as_much_as_their_cells(salt, rattled, with_random_labels, schnet):
    (small,) = with_random_labels(rattled(salt, 1)).to_atoms()
    small.info[STRESS] = [0.1, 0.2, -0.1, 0.05, 0.0, 0.3]
    large = small.repeat((2, 1, 1))
    large.arrays[FORCES] = np.tile(small.arrays[FORCES], (2, 1))
    large.info = {ENERGY: 2 * small.info[ENERGY], STRESS: small.info[STRESS]}
    network = schnet()
    loss = loss_of(Dataset.from_atoms([small, large]), network, energy_weight=0.0)
    row = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    found = loss.losses_of(row.expand(2, -1), torch.arange(2).expand(2, 2))
    torch.testing.assert_close(found[0, 0], found[0, 1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_no_derivative_in_the_strain_is_taken_where_none_is_learnt(network, weights, dataset, monkeypatch, weight):
    alone = dataset if weight == 0 else replace(dataset, stress=None)
    loss, chosen = loss_of(alone, network, stress_weight=weight), torch.arange(6).expand(2, 6)
    asked, grad = [], torch.autograd.grad

    def spied(outputs, inputs, *arguments, **keywords):
        asked.extend([inputs] if isinstance(inputs, torch.Tensor) else inputs)
        return grad(outputs, inputs, *arguments, **keywords)

    monkeypatch.setattr(torch.autograd, "grad", spied)
    loss.gradient(weights, chosen)
    loss.losses_of(weights, chosen)
    assert asked
    assert not any(values.shape[-2:] == (3, 3) for values in asked if values.dim() == 4)


def test_stresses_of_the_second_stage_have_a_weight_of_their_own(dataset, schnet):
    def learnt(first, second):
        stage = SecondStage(n_epochs=1, learning_rate=1e-3, energy_weight=1.0, stress_weight=second)
        network = schnet(dtype=torch.float32)
        options = {"n_members": 2, "n_epochs": 1, "seed": 0, "second_stage": stage, "stress_weight": first}
        return fit(network, dataset, **options)[1].train_loss

    none, first, second = learnt(0.0, 0.0), learnt(1.0, 0.0), learnt(0.0, 1.0)
    assert (none[0] != first[0]).all()
    assert (none[0] == second[0]).all()
    assert (none[1] != second[1]).all()


@pytest.fixture
def copper():
    """Rattled and strained cells of copper with labels of EMT."""

    def make(n, seed):
        generator, frames = np.random.default_rng(seed), []
        for _ in range(n):
            atoms = bulk("Cu", cubic=True)
            strain = generator.normal(scale=0.02, size=(3, 3))
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + (strain + strain.T) / 2), scale_atoms=True)
            atoms.positions += generator.normal(scale=0.08, size=(len(atoms), 3))
            atoms.calc = EMT()
            atoms.info = {ENERGY: atoms.get_potential_energy(), STRESS: atoms.get_stress()}
            atoms.arrays[FORCES] = atoms.get_forces()
            atoms.calc = None
            frames.append(atoms)
        return Dataset.from_atoms(frames)

    return make


def test_stresses_are_learnt_and_forces_are_not_spoilt(copper):
    network, data, held_out = ACE(n_features=4, n_interactions=1, cutoff=3.5), copper(20, 0), copper(12, 1)
    options = {"n_members": 2, "n_epochs": 30, "batch_size": 6, "learning_rate": 1e-2, "seed": 0}
    without, learnt = (evaluate(fit(network, data, stress_weight=w, **options)[0], held_out) for w in (0.0, 1.0))
    assert learnt.stress_rmse < 0.7 * without.stress_rmse
    assert learnt.force_rmse < 1.1 * without.force_rmse
