"""The public checks of a potential accept every registered potential, and find each thing that may be wrong."""

from dataclasses import replace

import pytest
import torch

from sparring.atoms.neighbors import distances
from sparring.potentials import ARCHITECTURES
from sparring.testing import (
    check_batches,
    check_derivatives,
    check_extensivity,
    check_longer_edges,
    check_potential,
    check_symmetries,
)

SMALL = {
    "schnet": {"n_features": 6, "n_filters": 6, "n_interactions": 2, "n_gaussians": 6, "cutoff": 3.0},
    "coordinate_mlp": {"n_coordinates": 2, "n_layers": 2, "n_units": 8},
    "ace": {"n_features": 4, "n_interactions": 2, "n_radial": 5, "cutoff": 3.0, "mean_neighbors": 5.0},
    "painn": {"n_features": 6, "n_interactions": 2, "n_radial": 6, "cutoff": 3.0},
}


def pairs(structures):
    """The sum of 1/d over all pairs: a plain function that is a potential."""
    energy = 1 / distances(structures)
    owner = structures.structure_index.index_select(0, structures.edges.target)
    return energy.new_zeros(structures.n_structures).index_add(0, owner, energy)


pairs.cutoff = 3.0


def altered(change):
    """That potential with a mistake in it."""

    def potential(structures):
        return change(structures, pairs(structures))

    potential.cutoff = 3.0
    return potential


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_registered_potential_keeps_the_contract(kind, ammonia, water, salt, particle):
    network = ARCHITECTURES[kind](**SMALL[kind])
    network.initialise(torch.Generator().manual_seed(0))
    if kind == "coordinate_mlp":
        check_potential(network, [particle(0.3, -0.2), particle(1.0, 0.5)], symmetric=False)
        return
    check_potential(network, [ammonia, water, salt])
    check_extensivity(network, [ammonia, water])


def test_a_plain_function_can_be_checked_too(ammonia, water):
    check_potential(pairs, [ammonia, water], tolerance=1e-5)


@pytest.mark.parametrize(
    ("change", "check", "message"),
    [
        (lambda s, e: e.detach(), check_derivatives, "the energy has no graph"),
        (lambda s, e: e + 0.1 * s.positions.detach().square().sum(), check_derivatives, "dE/dx of H3N and finite"),
        (lambda s, e: e + 0.1 * e.sum(), check_batches, "energies of a batch and of its structures alone differ"),
        (lambda s, e: e.sum(), check_batches, r"energies must have shape \(4,\), got \(\)"),
        (lambda s, e: e + 0.1 * s.positions[0, 0], check_symmetries, "before a translation differ"),
        (lambda s, e: e + 0.1 * (s.positions[0] - s.positions[1])[0], check_symmetries, "before a rotation differ"),
        (lambda s, e: e.square(), check_extensivity, "two molecules 100 Å apart and twice that of one differ"),
    ],
)
def test_what_is_wrong_with_a_potential_is_named(change, check, message, ammonia, water):
    with pytest.raises(AssertionError, match=message):
        check(altered(change), [ammonia, water])


def test_a_potential_that_counts_pairs_beyond_its_cutoff_is_found_by_a_crystal(ammonia, salt):
    check_longer_edges(pairs, [ammonia])
    with pytest.raises(AssertionError, match="edges up to the cutoff and with longer ones differ by up to"):
        check_longer_edges(pairs, [ammonia, salt])


def test_a_potential_that_knows_atoms_by_their_place_is_found(ammonia):
    def first_charge(structures, energy):
        return energy + 0.1 * structures.atomic_numbers[0]

    with pytest.raises(AssertionError, match="before a permutation of atoms differ"):
        check_symmetries(altered(first_charge), [ammonia])


def test_forces_without_a_graph_are_found(ammonia):
    class Foreign(torch.autograd.Function):
        """An energy whose derivative is computed elsewhere, and has no graph."""

        @staticmethod
        def forward(ctx, positions, energy, gradient):
            ctx.save_for_backward(gradient)
            return energy.clone()

        @staticmethod
        def backward(ctx, bar):
            return bar.sum() * ctx.saved_tensors[0], None, None

    def foreign(structures):
        positions = structures.positions.detach().requires_grad_()
        energy = pairs(replace(structures, positions=positions))
        (gradient,) = torch.autograd.grad(energy.sum(), positions)
        return Foreign.apply(structures.positions, energy.detach(), gradient)

    foreign.cutoff = 3.0
    with pytest.raises(
        AssertionError, match="the forces on H3N cannot be differentiated: element 0 of tensors does not require"
    ):
        check_derivatives(foreign, [ammonia])
