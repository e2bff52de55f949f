import pytest
import torch

from sparring.committee import Committee
from sparring.potentials.stacking import stack, stacked_energies
from sparring.training.minibatches import PackedDataset

CHOSEN = torch.tensor([[4, 0, 2], [1, 1, 3]])


@pytest.fixture
def datasets(ammonia, water, salt, particle, rattled, with_random_labels):
    return {
        "one molecule": with_random_labels(rattled(ammonia, 5)),
        "molecules of different size": with_random_labels(
            [*rattled(ammonia, 2), *rattled(water, 2), *rattled(water + ammonia, 1)]
        ),
        "isomers": with_random_labels([*rattled(ammonia, 3), *rattled(ammonia[[1, 2, 3, 0]], 2)]),
        "crystals": with_random_labels([*rattled(salt, 3), *rattled(salt * (2, 1, 1), 2)]),
        "molecules and crystals": with_random_labels([*rattled(ammonia, 2), *rattled(salt, 2), *rattled(water, 1)]),
        "atoms": with_random_labels([ammonia[:1], water, ammonia[1:2], water[:1], ammonia]),
        "particles": with_random_labels([particle(0.1 * k, 0.2) for k in range(5)]),
    }


KINDS = (
    "one molecule",
    "molecules of different size",
    "isomers",
    "crystals",
    "molecules and crystals",
    "atoms",
    "particles",
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_minibatch_holds_for_every_member_what_its_structures_are_alone(datasets, schnet, mlp, kind):
    dataset = datasets[kind]
    networks = [(mlp if kind == "particles" else schnet)(seed) for seed in range(2)]
    data = PackedDataset.of(dataset, cutoff=networks[0].cutoff, dtype=torch.float64, device="cpu")
    batch = data.gather(CHOSEN)
    positions = batch.per_member["positions"].requires_grad_()
    energy = stacked_energies(
        networks[0], stack(networks), batch.structures, {**batch.per_member, "positions": positions}
    )
    (gradient,) = torch.autograd.grad(energy.sum(), positions)
    for member, network in enumerate(networks):
        first = 0
        for column, index in enumerate(CHOSEN[member].tolist()):
            alone = dataset.take([index])
            atoms = slice(first, first + alone.structures.n_atoms)
            expected = Committee([network]).predict(alone.structures, differentiable=False)
            torch.testing.assert_close(energy[member, column], expected.energy[0, 0])
            torch.testing.assert_close(gradient[member, atoms], -expected.forces[0])
            assert batch.energy[member, column] == alone.energy[0]
            assert (batch.forces[member, atoms] == alone.forces).all()
            weight = torch.full((alone.structures.n_atoms,), 1 / (3 * alone.structures.n_atoms), dtype=torch.float64)
            torch.testing.assert_close(batch.weight[member, atoms], weight)
            first = atoms.stop
        # Padding has no weight.
        assert (batch.weight[member, first:] == 0).all()
        assert torch.isfinite(gradient[member]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_data_set_of_one_molecule_shares_its_topology_between_members(datasets, kind):
    data = PackedDataset.of(datasets[kind], cutoff=3.0, dtype=torch.float64, device="cpu")
    assert data.uniform == (kind in {"one molecule", "particles"})
    assert ("edges" in data.gather(CHOSEN).per_member) != data.uniform


def test_precision_is_that_asked_for_and_energies_stay_in_double(datasets):
    batch = PackedDataset.of(datasets["crystals"], cutoff=3.0, dtype=torch.float32, device="cpu").gather(CHOSEN)
    assert batch.energy.dtype == torch.float64
    assert batch.per_member["positions"].dtype == batch.forces.dtype == batch.weight.dtype == torch.float32
