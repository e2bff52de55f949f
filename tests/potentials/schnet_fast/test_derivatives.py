from dataclasses import replace

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from sparring.atoms.neighbors import distances, with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials.schnet_fast import neighbor_table, tiles
from sparring.potentials.schnet_fast.neighbor_table import NeighborTable
from sparring.potentials.schnet_fast.radial import edge_features
from sparring.potentials.stacking import stack


@pytest.fixture
def batches(ammonia, water, salt, rattled):
    """One molecule many times, molecules of different size, atoms without neighbours, crystals among molecules."""
    return {
        "alike": [*rattled(ammonia, 3)],
        "different": [*rattled(ammonia, 2), *rattled(water, 2), Atoms("He")],
        "lonely": [Atoms("He"), Atoms("Ne")],
        "crystals": [*rattled(salt, 2), *rattled(water, 1)],
    }


@pytest.fixture
def networks(schnet):
    """Members whose biases are not zero and whose layers are not of one width."""

    def make(**changes):
        members = [schnet(seed, **{"n_filters": 5, "n_interactions": 3, **changes}) for seed in range(3)]
        for seed, member in enumerate(members):
            generator = torch.Generator().manual_seed(seed)
            for parameter in member.parameters():
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
        return members

    return make


def derivatives(committee, structures):
    """Energies, forces, and second derivatives along a direction in energies and forces of all members at once."""
    generator = torch.Generator().manual_seed(0)
    positions, cells = (x.clone().requires_grad_() for x in (structures.positions, structures.cells))
    moved = with_edges(Structures(**{**structures.__dict__, "positions": positions, "cells": cells}), committee.cutoff)
    energy, forces, _ = committee.predict(moved)
    weights = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in (energy, forces)]
    total = (energy * weights[0]).sum() + (forces * weights[1]).sum()
    gradients = torch.autograd.grad(total, (positions, cells), allow_unused=True)
    return [energy.detach(), forces.detach(), *(x for x in gradients if x is not None)]


@pytest.mark.parametrize("kind", ["alike", "different", "lonely", "crystals"])
@pytest.mark.parametrize("changes", [{}, {"envelope": False, "cutoff": 2.0}, {"reference_energies": False}])
def test_analytic_derivatives_are_those_of_automatic_differentiation(networks, batches, kind, changes):
    members = networks(**changes)
    structures = Structures.from_atoms(batches[kind])
    analytic = derivatives(Committee(members), structures)
    automatic = derivatives(Committee(members, stacked=False), structures)
    assert len(analytic) == len(automatic) == (4 if kind == "crystals" else 3)
    for one, other in zip(analytic, automatic, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_first_and_second_derivatives_in_the_distances_are_finite_differences(networks, batches):
    committee = Committee(networks())
    structures = committee.prepare(Structures.from_atoms(batches["different"]))
    analytic = committee.members[0].stacked_model(stack(committee.members))
    network, (block,) = analytic.of_members(0, 3), analytic.layout(structures).blocks
    distance = distances(structures).expand(3, -1)
    direction = torch.randn(distance.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = {(int(s), int(t)): e for e, (s, t) in enumerate(zip(*structures.edges[:2], strict=True))}
    reverse = torch.tensor([place[t, s] for s, t in place])
    direction = (direction + direction[reverse]).expand(3, -1)

    def at(step):
        moved = distance + step * direction
        energy, *tape = network.forward(moved, block.structures, block.table)
        gradient, back = network.distance_gradient(*tape, block.table)
        return energy, gradient, network.hessian_vector_product(*tape, back, block.table, direction)

    (energy, gradient, product), (below, gradient_below, _), (above, gradient_above, _) = at(0.0), at(-1e-4), at(1e-4)
    along = torch.zeros_like(energy).index_add(1, block.edge_owner, gradient * direction)
    torch.testing.assert_close((above - below) / 2e-4, along, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close((gradient_above - gradient_below) / 2e-4, product, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["alike", "different", "lonely", "crystals"])
@pytest.mark.parametrize("tile_bytes", [1, 3000, 10_000])
def test_how_a_batch_is_cut_into_tiles_changes_nothing(networks, batches, kind, tile_bytes, monkeypatch):
    structures = Structures.from_atoms(batches[kind])
    whole = derivatives(Committee(networks()), structures)
    monkeypatch.setitem(tiles.TILE_BYTES, "cpu", tile_bytes)
    committee = Committee(networks())
    for one, other in zip(derivatives(committee, structures), whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    layout = committee._energies.layout(committee.prepare(structures))
    if tile_bytes == 1 and kind != "lonely":
        assert (layout.n_members, len(layout.blocks)) == (1, structures.n_structures)


def test_a_prediction_that_is_not_differentiable_keeps_no_second_derivatives_and_refuses_them(networks, ammonia):
    committee = Committee(networks())
    structures = committee.prepare(Structures.from_atoms([ammonia]))
    positions = structures.positions.expand(3, -1, -1).clone().requires_grad_()
    energy = committee._energies(structures, positions, False)
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivatives were not kept"):
        torch.autograd.grad(gradient.square().sum(), positions)


def test_distances_far_from_every_gaussian_give_no_numbers_that_processors_are_slow_with(networks):
    smallest = 1e10 * torch.finfo(torch.float32).tiny  # so that weights make no such numbers of them either
    network = networks(n_gaussians=32)[0].float()
    assert (network.interactions[0].seen[0](torch.tensor([0.7, 4.9])) >= smallest).all()
    committee = Committee([network])
    radial = committee.members[0].stacked_model(stack(committee.members)).of_members(0, 1).radial
    features = edge_features(torch.tensor([[0.7, 4.9]]), radial, cutoff=5.0, envelope=True)
    assert (features.gaussian >= smallest).all()


def test_edges_of_molecules_are_laid_out_once_and_those_of_other_structures_anew(networks, ammonia, water):
    committee = Committee(networks())
    for atoms in (ammonia, water, ammonia):
        one = Structures.from_atoms([atoms])
        alone = Committee(networks()).predict(one).energy
        torch.testing.assert_close(committee.predict(one).energy, alone, rtol=0, atol=0)
    prepared = committee.prepare(one)
    moved = prepared.with_positions(prepared.positions + 0.1)
    assert committee._energies.layout(moved) is committee._energies.layout(prepared)


def test_a_third_derivative_is_refused_rather_than_wrong(networks, ammonia):
    structures = Structures.from_atoms([ammonia])
    positions = structures.positions.clone().requires_grad_()

    def gradient_of(committee):
        forces = committee.predict(structures.with_positions(positions)).forces
        return torch.autograd.grad(forces.square().sum(), positions, create_graph=True)[0]

    gradient = gradient_of(Committee(networks()))
    assert torch.autograd.grad(gradient_of(Committee(networks(), analytic=False)).sum(), positions)
    with pytest.raises(RuntimeError, match=r"third ones use .* analytic=False"):
        torch.autograd.grad(gradient.sum(), positions)


def some_loss(energy, energy_gradient, structures):
    """Of every structure, in which energies and forces have a part, and which differs between structures."""
    count = torch.arange(1.0, energy.shape[1] + 1, dtype=torch.float64)
    squares = energy_gradient.square().sum(-1)
    of_forces = torch.zeros_like(energy).index_add(1, structures.structure_index, squares)
    return (energy - 3.0 * count).square() + count * of_forces


def weight_gradients(members, structures, tile_bytes, monkeypatch):
    """Losses and their analytic gradient in the weights."""
    monkeypatch.setitem(tiles.TILE_BYTES, "cpu", tile_bytes)
    committee = Committee(members)
    structures = committee.prepare(structures)
    gradient = {name: torch.zeros_like(weight) for name, weight in stack(committee.members).items()}
    whole = torch.arange(structures.n_structures)

    def loss(members, some, atoms, energy, energy_gradient):
        everything = energy.new_zeros(len(energy), len(whole)).index_copy(1, whole[some], energy)
        forces = energy_gradient.new_zeros(len(energy_gradient), structures.n_atoms, 3)
        forces = forces.index_copy(1, torch.arange(structures.n_atoms)[atoms], energy_gradient)
        return some_loss(everything, forces, structures)[:, some]

    positions = structures.positions.expand(len(members), -1, -1)
    return committee._energies.accumulate_gradient(structures, positions, loss, gradient), gradient


@pytest.mark.parametrize("kind", ["alike", "different", "lonely", "crystals"])
@pytest.mark.parametrize("changes", [{}, {"envelope": False, "cutoff": 2.0}, {"reference_energies": False}])
@pytest.mark.parametrize("tile_bytes", [1, 1_000_000])
def test_derivatives_in_the_weights_are_those_of_automatic_differentiation(
    networks, batches, kind, changes, tile_bytes, monkeypatch
):
    members, structures = networks(**changes), Structures.from_atoms(batches[kind])
    losses, gradient = weight_gradients(members, structures, tile_bytes, monkeypatch)
    for number, member in enumerate(members):
        prepared = with_edges(structures, member.cutoff)
        positions = prepared.positions.clone().requires_grad_()
        energy = member.requires_grad_()(replace(prepared, positions=positions))
        (energy_gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True, allow_unused=True)
        loss = some_loss(
            energy[None], (torch.zeros_like(positions) if energy_gradient is None else energy_gradient)[None], prepared
        )[0]
        torch.testing.assert_close(losses[number], loss.detach(), rtol=1e-11, atol=1e-11)
        names, weights = zip(*member.named_parameters(), strict=True)
        expected = torch.autograd.grad(loss.sum(), weights, allow_unused=True)
        scale = max(float(one.abs().max()) for one in expected if one is not None)
        for name, weight, one in zip(names, weights, expected, strict=True):
            one = torch.zeros_like(weight) if one is None else one
            torch.testing.assert_close(gradient[name][number], one, rtol=1e-9, atol=1e-12 * scale, msg=name)


def test_derivatives_in_the_weights_follow_finite_differences(networks, batches, monkeypatch):
    members, structures = networks(), Structures.from_atoms(batches["different"])
    _, gradient = weight_gradients(members, structures, 3000, monkeypatch)
    for name, parameter in members[1].named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=parameter.dtype)
        losses = []
        for step in (-1e-5, 1e-5):
            parameter.data += step * direction
            losses.append(weight_gradients(members, structures, 3000, monkeypatch)[0][1].sum())
            parameter.data -= step * direction
        expected = (losses[1] - losses[0]) / 2e-5
        torch.testing.assert_close(expected, (gradient[name][1] * direction).sum(), rtol=2e-6, atol=1e-4, msg=name)


@pytest.mark.parametrize("kind", ["alike", "different", "lonely", "crystals", "tiny cell"])
@pytest.mark.parametrize("part_bytes", [1, 200, 10**6])
def test_each_pair_has_one_entry_in_one_part_and_sums_are_those_over_edges(batches, kind, part_bytes, monkeypatch):
    batches["tiny cell"] = [bulk("Cu", "fcc", a=3.6), bulk("Cu", "bcc", a=2.9)]  # atoms beside their own images
    monkeypatch.setitem(neighbor_table.PART_BYTES, "cpu", part_bytes)
    structures = with_edges(Structures.from_atoms(batches[kind]), 5.0)
    source, target, shifts = structures.edges
    table = NeighborTable.of(structures.edges, structures.n_atoms, n_members=2, n_filters=3)
    rows = torch.cat([source[:, None], target[:, None], shifts.long()], dim=1)
    reverse = torch.cat([target[:, None], source[:, None], -shifts.long()], dim=1)
    both = [*map(tuple, rows[table.edge].tolist()), *map(tuple, reverse[table.edge].tolist())]
    assert sorted(both) == sorted(map(tuple, rows.tolist()))
    assert sum(len(part.end) for part in table.parts) == len(target)
    generator = torch.Generator().manual_seed(0)
    x, filters = (torch.rand(2, n, 3, generator=generator) for n in (structures.n_atoms, len(target)))
    products = torch.empty(2, 2 * len(table.edge), 3)
    filters[:, table.edge] = of_pairs = filters[:, table.edge]
    place = {row: number for number, row in enumerate(map(tuple, rows.tolist()))}
    filters[:, [place[row] for row in both[len(table.edge) :]]] = of_pairs
    for part in table.parts:
        part.products(products).copy_(part.at_ends(x) * of_pairs[:, None, part.entries])
    expected = torch.zeros_like(x).index_add(1, target, filters * x[:, source])
    torch.testing.assert_close(table.sum(products), expected)
