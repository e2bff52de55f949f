import pytest
import torch
from torch import nn

from sparring.atoms.structures import Structures
from sparring.potentials import ARCHITECTURES, CoordinateMLP, Potential


def test_at_the_papers_size_it_has_four_layers_of_1024_units_that_share_no_weights():
    network = CoordinateMLP()
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [
        (2, 1024),
        (1024, 1024),
        (1024, 1024),
        (1024, 1024),
        (1024, 1),
    ]
    assert len({layer.weight.data_ptr() for layer in layers}) == 5
    assert sum(parameter.numel() for parameter in network.parameters()) == 3 * 1024 + 3 * (1024**2 + 1024) + 1025


def test_it_is_a_potential_and_can_be_found_by_name(mlp):
    assert isinstance(mlp(), Potential)
    assert ARCHITECTURES["coordinate_mlp"] is CoordinateMLP


@pytest.mark.parametrize("n_coordinates", [1, 2, 3])
def test_forces_are_minus_the_slope_of_the_energy_and_act_along_its_coordinates_only(
    mlp, particle, slope, copies, n_coordinates
):
    network = mlp(n_coordinates=n_coordinates)
    structures = Structures.from_atoms([particle(0.3, -0.7, 1.1), particle(-1.2, 0.4, 0.2)])

    def energy(points):
        moved = copies(structures, len(points)).with_positions(points.flatten(0, 1))
        return network(moved).reshape(len(points), -1).sum(1)

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(energy(positions.unsqueeze(0)).sum(), positions)
    torch.testing.assert_close(gradient, slope(energy, structures.positions), rtol=1e-8, atol=1e-10)
    assert (gradient[:, :n_coordinates] != 0).all()
    assert (gradient[:, n_coordinates:] == 0).all()


def test_particles_of_one_structure_do_not_see_each_other(mlp, particle):
    network = mlp()
    one, other = particle(0.3, 0.1), particle(-1.0, 0.8)
    apart = network(Structures.from_atoms([one, other]))
    torch.testing.assert_close(network(Structures.from_atoms([one + other])), apart.sum(0, keepdim=True))


def test_the_same_seed_draws_the_same_weights(mlp):
    same = zip(mlp(seed=1).parameters(), mlp(seed=1).parameters(), strict=True)
    other = zip(mlp(seed=1).parameters(), mlp(seed=2).parameters(), strict=True)
    assert all((one == two).all() for one, two in same)
    assert any((one != two).any() for one, two in other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_coordinates": 4}, "1 to 3 coordinates, got n_coordinates=4"),
        ({"n_coordinates": 0}, "1 to 3 coordinates, got n_coordinates=0"),
        ({"n_layers": 0}, "got n_layers=0"),
        ({"n_units": 0}, "n_units=0"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        CoordinateMLP(**changes)
