import pytest
import torch
from ase import Atoms

from sparring.committee import Committee
from sparring.neighbors import distances, with_edges
from sparring.potentials.slots import Slots
from sparring.structures import Structures


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
    energy, forces = committee.predict(moved)
    weights = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in (energy, forces)]
    total = (energy * weights[0]).sum() + (forces * weights[1]).sum()
    gradients = torch.autograd.grad(total, (positions, cells), allow_unused=True)
    return [energy.detach(), forces.detach(), *(x for x in gradients if x is not None)]


@pytest.mark.parametrize("kind", ["alike", "different", "lonely", "crystals"])
@pytest.mark.parametrize("changes", [{}, {"envelope": False, "cutoff": 2.0}, {"reference_energies": False}])
def test_what_is_written_out_is_what_automatic_differentiation_finds(networks, batches, kind, changes):
    members = networks(**changes)
    structures = Structures.from_atoms(batches[kind])
    by_hand = derivatives(Committee(members), structures)
    automatic = derivatives(Committee(members, stacked=False), structures)
    assert len(by_hand) == len(automatic) == (4 if kind == "crystals" else 3)
    for one, other in zip(by_hand, automatic, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_the_slope_is_the_finite_difference_of_the_energy_and_the_bend_that_of_the_slope(networks, batches):
    committee = Committee(networks())
    structures = committee.prepare(Structures.from_atoms(batches["different"]))
    network, slots = committee.members[0].written_out(committee._weights), Slots.of(structures)
    distance = distances(structures).expand(3, -1)
    direction = torch.randn(distance.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reverse = {(int(s), int(t)): e for e, (s, t) in enumerate(zip(*structures.edges[:2], strict=True))}
    partner = torch.tensor([reverse[t, s] for s, t in reverse])
    direction = (direction + direction[partner]).expand(3, -1)

    def at(step):
        energy, narrow, forward = network.forward(distance + step * direction, structures, slots)
        slope, back = network.slope(narrow, forward, slots)
        return energy, slope, network.bend(narrow, forward, back, slots, direction)

    (energy, slope, bend), (below, slope_below, _), (above, slope_above, _) = at(0.0), at(-1e-4), at(1e-4)
    along = torch.zeros_like(energy).index_add(
        1, structures.structure_index[structures.edges.target], slope * direction
    )
    torch.testing.assert_close((above - below) / 2e-4, along, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close((slope_above - slope_below) / 2e-4, bend, rtol=1e-6, atol=1e-6)


def test_distances_far_from_every_gaussian_give_no_numbers_that_processors_are_slow_with(networks):
    committee = Committee([member.float() for member in networks(n_gaussians=32)])
    structures = committee.prepare(Structures.from_atoms([Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.7]])]))
    _, narrow, _ = (
        committee.members[0]
        .written_out(committee._weights)
        .forward(distances(structures).expand(3, -1), structures, Slots.of(structures))
    )
    assert (narrow.gaussian >= torch.finfo(torch.float32).tiny).all()


def test_edges_of_molecules_are_laid_out_once_and_those_of_other_structures_anew(networks, ammonia, water):
    committee = Committee(networks())
    for atoms in (ammonia, water, ammonia):
        one = Structures.from_atoms([atoms])
        alone = Committee(networks()).predict(one).energy
        torch.testing.assert_close(committee.predict(one).energy, alone, rtol=0, atol=0)


def test_a_third_derivative_is_refused_rather_than_wrong(networks, ammonia):
    structures = Structures.from_atoms([ammonia])
    positions = structures.positions.clone().requires_grad_()

    def gradient_of(committee):
        forces = committee.predict(structures.with_positions(positions)).forces
        return torch.autograd.grad(forces.square().sum(), positions, create_graph=True)[0]

    gradient = gradient_of(Committee(networks()))
    assert torch.autograd.grad(gradient_of(Committee(networks(), written_out=False)).sum(), positions)
    with pytest.raises(RuntimeError, match=r"third derivatives .* written_out=False"):
        torch.autograd.grad(gradient.sum(), positions)
