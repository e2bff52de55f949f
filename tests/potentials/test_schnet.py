import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import ARCHITECTURES, Potential, SchNet
from sparring.potentials.schnet import polynomial_envelope


def energy_of(network, atoms):
    return network(with_edges(Structures.from_atoms([atoms]), network.cutoff))


def pair(distance):
    return Atoms("OH", positions=[[0, 0, 0], [distance, 0, 0]])


def slow_energy(network, atoms):
    """SchNet for one molecule as its paper writes it: atom by atom, pair by pair."""

    def softplus(x):
        return torch.log(0.5 * torch.exp(x) + 0.5)

    def dense(layer, x):
        return layer.weight @ x + layer.bias

    features = [network.embedding.weight[number] for number in atoms.numbers]
    for interaction in network.interactions:
        (gaussians, first, _), second = interaction.seen, interaction.filter
        new = []
        for i, feature in enumerate(features):
            message = torch.zeros_like(feature)
            for j, other in enumerate(features):
                d = float(np.linalg.norm(atoms.positions[i] - atoms.positions[j]))
                if i == j or d > network.cutoff:
                    continue
                seen = torch.exp(-((d - gaussians.centres) ** 2) / (2 * gaussians.widths**2))
                x = d / network.cutoff
                envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8 if network.envelope else 1.0
                message = (
                    message + dense(interaction.node, other) * dense(second, softplus(dense(first, seen))) * envelope
                )
            before, _, after = interaction.update
            new.append(feature + dense(after, softplus(dense(before, message))))
        features = new
    before, _, after = network.readout
    atomic = [float(network.atomic_energy[number]) for number in atoms.numbers]
    kcal_per_mol = 0.0433641
    readout = [dense(after, softplus(dense(before, feature))).item() * kcal_per_mol for feature in features]
    return sum(readout) + sum(atomic)


def test_at_the_papers_size_there_are_886401_parameters():
    assert sum(parameter.numel() for parameter in SchNet().parameters()) == 886_401


def test_it_is_a_potential_and_can_be_found_by_name(schnet):
    assert isinstance(schnet(), Potential)
    assert ARCHITECTURES["schnet"] is SchNet


@pytest.mark.parametrize("envelope", [True, False])
def test_it_computes_what_its_paper_writes(schnet, envelope, rattled):
    network = schnet(envelope=envelope, cutoff=2.0)
    network.set_reference_energies(torch.linspace(-10, -20, 100, dtype=torch.float64))
    for atoms in rattled(molecule("CH3CH2OH"), 2):
        assert energy_of(network, atoms).item() == pytest.approx(slow_energy(network, atoms), rel=1e-7, abs=1e-7)


def test_energies_do_not_change_when_a_molecule_moves_or_turns(schnet, ammonia):
    moved = ammonia.copy()
    moved.positions = moved.positions @ Rotation.random(rng=1).as_matrix().T + [3.0, -7.0, 11.0]
    torch.testing.assert_close(energy_of(schnet(), moved), energy_of(schnet(), ammonia), rtol=0, atol=1e-12)


def test_energies_do_not_change_when_like_atoms_change_places(schnet, rattled, ammonia):
    (distorted,) = rattled(ammonia, 1)
    torch.testing.assert_close(
        energy_of(schnet(), distorted[[2, 0, 3, 1]]), energy_of(schnet(), distorted), rtol=0, atol=1e-12
    )


def test_unlike_atoms_are_told_apart(schnet, ammonia):
    swapped = ammonia.copy()
    swapped.numbers = [1, 7, 1, 1]
    assert abs(energy_of(schnet(), swapped) - energy_of(schnet(), ammonia)).item() > 1e-4


def test_energies_of_a_crystal_do_not_depend_on_where_it_is_cut(schnet, salt):
    wrapped = salt.copy()
    wrapped.positions += 1.234
    wrapped.wrap()
    wrapped.rotate(37, "xyz", rotate_cell=True)
    torch.testing.assert_close(energy_of(schnet(), wrapped), energy_of(schnet(), salt), rtol=0, atol=1e-12)


def test_a_crystal_twice_as_large_has_twice_the_energy(schnet, salt):
    torch.testing.assert_close(energy_of(schnet(), salt * (1, 2, 1)), 2 * energy_of(schnet(), salt), rtol=1e-12, atol=0)


def test_structures_in_a_batch_do_not_see_each_other(schnet, ammonia, water, salt):
    network, atoms = schnet(), [ammonia, salt, water, Atoms("O")]
    together = network(with_edges(Structures.from_atoms(atoms), network.cutoff))
    torch.testing.assert_close(together, torch.cat([energy_of(network, one) for one in atoms]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize("name", ["ammonia", "salt"])
def test_forces_are_minus_the_slope_of_the_energy(schnet, request, slope, copies, name, envelope):
    # Without the envelope the energy jumps at the cutoff; no pair of these structures is there.
    network = schnet(envelope=envelope, cutoff=3.1)
    structures = Structures.from_atoms([request.getfixturevalue(name)])

    def energy(points):
        moved = copies(structures, len(points)).with_positions(points.flatten(0, 1))
        return network(with_edges(moved, network.cutoff))

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(positions.unsqueeze(0)).sum(), positions)
    torch.testing.assert_close(gradient, slope(energy, structures.positions), rtol=1e-7, atol=1e-9)
    assert gradient.abs().max() > 1e-3


def test_the_envelope_falls_from_one_to_zero_with_two_continuous_derivatives():
    x = torch.tensor([0.0, 0.5, 1.0 - 1e-9, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = polynomial_envelope(x)
    (first,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), x)
    assert value[0] == 1.0
    for derivative in (value, first, second):
        assert derivative[2:].abs().max() < 1e-6
        assert derivative[4] == 0.0
    assert 0 < value[1] < 1


def test_with_the_envelope_energy_force_and_curvature_are_continuous_at_the_cutoff(schnet):
    network = schnet(cutoff=3.0)

    def derivatives(distance):
        d = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        structures = Structures.from_atoms([pair(1.0)])
        apart = structures.with_positions(torch.stack([torch.zeros(3), torch.eye(3)[0]]).double() * d)
        energy = network(with_edges(apart, network.cutoff)).sum()
        (first,) = torch.autograd.grad(energy, d, create_graph=True)
        (second,) = torch.autograd.grad(first, d)
        return torch.stack([energy, first, second])

    inside, outside, far = derivatives(3.0 - 1e-7), derivatives(3.0 + 1e-7), derivatives(8.0)
    torch.testing.assert_close(inside, outside, rtol=0, atol=1e-4)
    assert (outside == far).all()
    assert (far[1:] == 0).all()


def test_without_the_envelope_atoms_stop_seeing_each_other_at_the_cutoff(schnet):
    network = schnet(cutoff=3.0, envelope=False)
    alone = energy_of(network, Atoms("O")) + energy_of(network, Atoms("H"))
    assert energy_of(network, pair(3.0 + 1e-9)).item() == pytest.approx(alone.item(), abs=1e-14)
    assert abs(energy_of(network, pair(3.0 - 1e-9)) - alone).item() > 1e-5


def test_elements_have_the_energies_they_are_given(schnet, ammonia):
    network, plain = schnet(), schnet(reference_energies=False)
    energies = torch.zeros(100, dtype=torch.float64)
    energies[1], energies[7] = -13.6, -1485.0
    for one in (network, plain):
        one.set_reference_energies(energies)
    shift = energy_of(network, ammonia) - energy_of(plain, ammonia)
    assert shift.item() == pytest.approx(-1485.0 - 3 * 13.6, abs=1e-10)


def test_millielectronvolts_survive_beside_the_energies_of_cores_in_single_precision(schnet, ammonia):
    network = schnet(dtype=torch.float32)
    network.set_reference_energies(torch.full((100,), -1e6, dtype=torch.float64))
    stretched = ammonia.copy()
    stretched.positions *= 1.01
    structures = Structures.from_atoms([ammonia, stretched], dtype=torch.float32)
    energy = network(with_edges(structures, network.cutoff))
    network.set_reference_energies(torch.zeros(100, dtype=torch.float64))
    torch.testing.assert_close(energy.diff(), network(with_edges(structures, network.cutoff)).diff(), rtol=0, atol=1e-8)


def test_the_same_seed_draws_the_same_weights(schnet):
    same = zip(schnet(seed=1).parameters(), schnet(seed=1).parameters(), strict=True)
    other = zip(schnet(seed=1).parameters(), schnet(seed=2).parameters(), strict=True)
    assert all((one == two).all() for one, two in same)
    assert any((one != two).any() for one, two in other)


def test_gaussians_start_evenly_spread_up_to_the_cutoff(schnet):
    gaussians = schnet(n_gaussians=4, cutoff=3.0).interactions[0].seen[0]
    assert gaussians.centres.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert gaussians.widths.tolist() == [1.0] * 4


def test_energies_need_edges(schnet, water):
    with pytest.raises(ValueError, match=r"SchNet needs edges; call neighbors\.with_edges"):
        schnet()(Structures.from_atoms([water]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "the cutoff must be positive, got 0.0 Å"),
        ({"cutoff": -math.inf}, "the cutoff must be positive"),
        ({"n_gaussians": 1}, "at least two Gaussians"),
        ({"n_interactions": 0}, "one feature, filter and interaction"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        SchNet(**changes)
