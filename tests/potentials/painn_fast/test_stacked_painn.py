import copy
import math
from dataclasses import replace

import pytest
import torch
from ase import Atoms

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import PaiNN
from sparring.potentials.painn_fast import tiles
from sparring.potentials.painn_fast.pair_table import PairTable
from sparring.potentials.schnet_fast.blocks import cut_into_blocks
from sparring.potentials.stacking import cast
from sparring.proposers.objectives import force_variance
from sparring.training.fitting import fit

KINDS = ["alike", "alike and odd", "pairs", "planar and linear", "different", "lonely", "crystals"]


@pytest.fixture
def batches(ammonia, water, salt, rattled):
    """Molecules of one kind with an even and an odd number of atoms, symmetric ones, mixtures, atoms, crystals."""
    planar = Atoms("NH3", positions=[[0, 0, 0], *([math.cos(a), math.sin(a), 0] for a in (0.0, 2.0944, 4.1888))])
    linear = Atoms("C2H2", positions=[[0, 0, z] for z in (-0.6, 0.6, -1.66, 1.66)])
    return {
        "alike": rattled(ammonia, 3),
        "alike and odd": rattled(water, 2),
        "pairs": rattled(Atoms("OH", positions=[[0, 0, 0], [0.3, 0.4, 0.5]]), 2),
        "planar and linear": [planar, linear],
        "different": [*rattled(ammonia, 2), *rattled(water, 2), Atoms("He")],
        "lonely": [Atoms("He"), Atoms("Ne")],
        "crystals": [*rattled(salt, 2), *rattled(water, 1)],
    }


def networks(*, dtype=torch.float64, **changes):
    """Members with biases that are not zero."""
    members = []
    for seed in range(3):
        network = PaiNN(**{"n_features": 7, "n_interactions": 3, "n_radial": 4, "cutoff": 3.0, **changes})
        generator = torch.Generator().manual_seed(seed)
        network.initialise(generator)
        for parameter in network.parameters():
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
        network.set_reference_energies(torch.linspace(-10, -20, 100, dtype=torch.float64))
        members.append(cast(network, dtype=dtype))
    return members


def derivatives(committee, structures):
    """Energies, forces, and second derivatives along a direction in energies and forces of all members at once."""
    generator = torch.Generator().manual_seed(0)
    structures = structures.to(dtype=committee.dtype)
    positions, cells = (x.clone().requires_grad_() for x in (structures.positions, structures.cells))
    moved = with_edges(replace(structures, positions=positions, cells=cells), committee.cutoff)
    energy, forces = committee.predict(moved)
    weights = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x) for x in (energy, forces)]
    total = (energy * weights[0]).sum() + (forces * weights[1]).sum()
    gradients = torch.autograd.grad(total, (positions, cells), allow_unused=True)
    return [energy.detach(), forces.detach(), *(x for x in gradients if x is not None)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", [{}, {"repulsion": True}, {"n_interactions": 1, "reference_energies": False}])
def test_derivatives_are_those_of_automatic_differentiation(batches, kind, changes):
    members, structures = networks(**changes), Structures.from_atoms(batches[kind])
    written_out = derivatives(Committee(members), structures)
    automatic = derivatives(Committee(members, stacked=False), structures)
    assert len(written_out) == len(automatic) == (4 if kind == "crystals" else 3)
    for one, other in zip(written_out, automatic, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("kind", ["alike", "different", "crystals"])
def test_single_precision_is_as_good_as_that_of_automatic_differentiation(batches, kind):
    structures = Structures.from_atoms(batches[kind])
    exact = derivatives(Committee(networks(), stacked=False), structures)
    for one, other in zip(derivatives(Committee(networks(dtype=torch.float32)), structures), exact, strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=3e-5 * scale)


@pytest.mark.parametrize("kind", ["alike", "different", "crystals"])
@pytest.mark.parametrize("repulsion", [False, True])
def test_the_gradient_of_the_force_variance_follows_finite_differences(batches, kind, repulsion):
    committee = Committee(networks(repulsion=repulsion))
    structures = Structures.from_atoms(batches[kind])
    direction = torch.randn(structures.positions.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def variance(positions):
        moved = structures.with_positions(positions)
        return force_variance(committee.predict(moved), moved).sum()

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions), positions)
    below, above = (variance(structures.positions + step * direction) for step in (-1e-5, 1e-5))
    torch.testing.assert_close((above - below).detach() / 2e-5, (gradient * direction).sum(), rtol=2e-6, atol=1e-8)
    assert gradient.abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tile_bytes", [1, 3000])
def test_how_a_batch_is_cut_into_tiles_changes_nothing(batches, kind, tile_bytes, monkeypatch):
    structures = Structures.from_atoms(batches[kind])
    whole = derivatives(Committee(networks()), structures)
    monkeypatch.setitem(tiles.TILE_BYTES, "cpu", tile_bytes)
    committee = Committee(networks())
    for one, other in zip(derivatives(committee, structures), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    layout = committee._energies.layout(committee.prepare(structures))
    if tile_bytes == 1 and kind != "lonely":
        assert (layout.n_members, len(layout.tiles)) == (1, structures.n_structures)


def test_a_prediction_that_is_not_differentiable_keeps_no_second_derivatives_and_refuses_them(ammonia):
    committee = Committee(networks())
    structures = committee.prepare(Structures.from_atoms([ammonia]))
    positions = structures.positions.expand(3, -1, -1).clone().requires_grad_()
    energy = committee._energies(structures, positions, False)
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives were not kept"):
        torch.autograd.grad(gradient.square().sum(), positions)


def test_a_third_derivative_is_refused_rather_than_wrong(ammonia):
    structures = Structures.from_atoms([ammonia])
    positions = structures.positions.clone().requires_grad_()

    def gradient_of(committee):
        forces = committee.predict(structures.with_positions(positions)).forces
        return torch.autograd.grad(forces.square().sum(), positions, create_graph=True)[0]

    gradient = gradient_of(Committee(networks()))
    assert torch.autograd.grad(gradient_of(Committee(networks(), analytic=False)).sum(), positions)
    with pytest.raises(RuntimeError, match=r"third ones use .* analytic=False"):
        torch.autograd.grad(gradient.sum(), positions)


def test_energies_of_all_members_need_edges(water):
    structures, committee = Structures.from_atoms([water]), Committee(networks())
    with pytest.raises(ValueError, match=r"PaiNN needs edges; call neighbors\.with_edges"):
        committee._energies(structures, structures.positions.expand(3, -1, -1), False)


def some_loss(energy, energy_gradient, structures):
    """Loss of every structure, in which energies and forces have a part, and which differs between structures."""
    count = torch.arange(1.0, energy.shape[1] + 1, dtype=torch.float64)
    squares = energy_gradient.square().sum(-1)
    of_forces = torch.zeros_like(energy).index_add(1, structures.structure_index, squares)
    return (energy - 3.0 * count).square() + count * of_forces


def weight_gradients(members, structures):
    """Losses and their gradient in the weights, by the stacked network."""
    committee = Committee(members)
    structures = committee.prepare(structures)
    gradient = {name: torch.zeros_like(weight) for name, weight in committee._weights.items()}
    whole = torch.arange(structures.n_structures)

    def loss(members, some, atoms, energy, energy_gradient):
        everything = energy.new_zeros(len(energy), len(whole)).index_copy(1, whole[some], energy)
        forces = energy_gradient.new_zeros(len(energy_gradient), structures.n_atoms, 3)
        forces = forces.index_copy(1, torch.arange(structures.n_atoms)[atoms], energy_gradient)
        return some_loss(everything, forces, structures)[:, some]

    positions = structures.positions.expand(len(members), -1, -1)
    return committee._energies.accumulate_gradient(structures, positions, loss, gradient), gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("changes", "tile_bytes"), [({}, 1), ({}, 10**6), ({"repulsion": True}, 10**6)])
def test_derivatives_in_the_weights_are_those_of_automatic_differentiation(
    batches, kind, changes, tile_bytes, monkeypatch
):
    members, structures = networks(**changes), Structures.from_atoms(batches[kind])
    monkeypatch.setitem(tiles.TILE_BYTES, "cpu", tile_bytes)
    losses, gradient = weight_gradients(members, structures)
    prepared = with_edges(structures, members[0].cutoff)
    for number, member in enumerate(members):
        member = copy.deepcopy(member).requires_grad_()
        positions = prepared.positions.clone().requires_grad_()
        energy = member(replace(prepared, positions=positions))
        (energy_gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        loss = some_loss(energy[None], energy_gradient[None], prepared)[0]
        torch.testing.assert_close(losses[number], loss.detach(), rtol=1e-11, atol=1e-11)
        names, weights = zip(*member.named_parameters(), strict=True)
        expected = torch.autograd.grad(loss.sum(), weights, allow_unused=True)
        scale = max(float(one.abs().max()) for one in expected if one is not None)
        for name, weight, one in zip(names, weights, expected, strict=True):
            one = torch.zeros_like(weight) if one is None else one
            torch.testing.assert_close(gradient[name][number], one, rtol=1e-9, atol=1e-12 * scale, msg=name)


def test_derivatives_in_the_weights_follow_finite_differences(batches):
    members, structures = networks(n_interactions=2), Structures.from_atoms(batches["alike"])
    _, gradient = weight_gradients(members, structures)
    for name, parameter in members[1].named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=parameter.dtype)
        losses = []
        for step in (-1e-5, 1e-5):
            parameter.data += step * direction
            losses.append(weight_gradients(members, structures)[0][1].sum())
            parameter.data -= step * direction
        expected = (losses[1] - losses[0]) / 2e-5
        torch.testing.assert_close(expected, (gradient[name][1] * direction).sum(), rtol=2e-6, atol=1e-3, msg=name)


def test_training_gives_the_same_committee_as_automatic_differentiation(
    ammonia, rattled, with_random_labels, monkeypatch
):
    dataset = with_random_labels(rattled(ammonia, 12))

    def trained():
        network = PaiNN(n_features=7, n_interactions=2, n_radial=4, cutoff=3.0)
        arguments = {"n_members": 2, "n_epochs": 5, "learning_rate": 0.01, "dtype": torch.float64}
        return fit(network, dataset, seed=1, **arguments)

    (committee, report) = trained()
    monkeypatch.setattr(PaiNN, "stacked_model", lambda self, weights: None)
    other, other_report = trained()
    torch.testing.assert_close(
        torch.tensor(report.train_loss), torch.tensor(other_report.train_loss), rtol=1e-8, atol=0
    )
    for member, same in zip(committee.members, other.members, strict=True):
        for one, two in zip(member.parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
def test_each_pair_of_a_molecule_has_one_entry(size):
    atoms = Atoms(f"H{size}", positions=[[i, 0.3 * i * i, 0.0] for i in range(size)])
    structures = with_edges(Structures.from_atoms([atoms, atoms]), 50.0)
    (block,) = cut_into_blocks(structures, 10**6)
    table = PairTable.of(block)
    source, target, _ = structures.edges
    pairs = [frozenset((int(source[e]), int(target[e]))) for e in table.edge]
    assert len(pairs) == len(set(pairs)) == size * (size - 1)  # of two molecules
    # Rows read the atoms that the entries' edges join.
    extended = table.extend(table.order(torch.arange(2 * size)).double().unsqueeze(1))
    for row in table.rows:
        edge = table.edge[row.entries]
        assert (row.of_targets(extended).flatten() == target[edge]).all()
        assert (row.of_sources(extended).flatten() == source[edge]).all()
