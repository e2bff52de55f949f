"""Training on crystals: members one after another, by the evaluation of a whole committee."""

from dataclasses import replace

import pytest
import torch

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import ACE, PaiNN, SchNet, WithPrior
from sparring.potentials.stacking import cast
from sparring.training.loss import Loss
from sparring.training.minibatches import PackedDataset

SMALL = {"cutoff": 3.0, "n_interactions": 2}
NETWORKS = {
    "schnet": lambda: SchNet(n_features=6, n_filters=5, n_gaussians=6, **SMALL),
    "ace": lambda: ACE(n_features=4, mean_neighbors=10.0, energy_scale=1.0, **SMALL),
    "painn": lambda: PaiNN(n_features=6, **SMALL),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    return cast(NETWORKS[request.param](), dtype=torch.float64)


@pytest.fixture
def weights(network):
    rows = []
    for seed in range(2):
        network.initialise(torch.Generator().manual_seed(seed))
        rows.append(torch.cat([parameter.detach().flatten() for parameter in network.parameters()]))
    return torch.stack(rows)


def test_members_with_edges_of_their_own_have_the_gradient_of_plain_networks_in_one_pass(
    network, weights, salt, water, rattled, with_random_labels
):
    dataset = with_random_labels([*rattled(salt, 3), *rattled(salt * (2, 1, 1), 2), *rattled(water, 1)])
    chosen, references = torch.tensor([[4, 0, 5], [1, 2, 3]]), torch.zeros(2, 100, dtype=torch.float64)
    found = []
    for padded in (False, True):
        data = PackedDataset.of(dataset, cutoff=3.0, dtype=torch.float64, device="cpu", padded=padded)
        loss = Loss(network, data, 0.3, 0.7, references)
        part = loss.parts(3)[0][1]
        assert (part.stacked_model(weights[:1]) is not None) != padded
        found.append((*loss.gradient(weights, chosen), loss.losses_of(weights, chosen)))
    for fast, plain in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("prior", [False, True])
def test_gradients_of_a_loss_of_derivatives_in_cells_follow_finite_differences(network, weights, salt, rattled, prior):
    if prior:
        network = cast(WithPrior.of(network, 1.0), dtype=torch.float64)
        network.initialise(torch.Generator().manual_seed(0))
        network.amplitude = torch.full_like(network.amplitude, 0.5)
    structures = with_edges(Structures.from_atoms(rattled(salt, 2)), 3.0)
    positions, cells = structures.positions.unsqueeze(0), structures.cells.unsqueeze(0)
    target = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(members, rows, atoms, energy, slope, of_cells):
        return (of_cells - target[rows]).square().sum((-1, -2))

    def total(values):
        gradient = {name: torch.zeros_like(value) for name, value in values.items()}
        model = network.stacked_model(values)
        return model.accumulate_gradient(structures, positions, loss, gradient, cells).sum().item(), gradient

    named = {name: weight.detach().unsqueeze(0) for name, weight in network.state_dict().items()}
    found, gradient = total(named)
    lattice = structures.cells.clone().requires_grad_()
    (of_cells,) = torch.autograd.grad(network(replace(structures, cells=lattice)).sum(), lattice)
    assert found == pytest.approx((of_cells - target).square().sum().item(), rel=1e-9)
    generator, step = torch.Generator().manual_seed(3), 1e-5
    for name, _ in network.named_parameters():
        direction = torch.randn(named[name].shape, generator=generator, dtype=torch.float64)
        ends = [total({**named, name: named[name] + sign * step * direction})[0] for sign in (1, -1)]
        assert (gradient[name] * direction).sum().item() == pytest.approx(
            (ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-5
        ), name
