"""Closeness of atoms in units of their covalent radii."""

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import covalent_radii
from ase.neighborlist import neighbor_list

from sparring.atoms import cell_lists, neighbors
from sparring.atoms.closeness import closest_pairs, soft_closeness
from sparring.atoms.structures import Structures


def pair(distance, symbols="O2"):
    return Atoms(symbols, positions=[[0, 0, 0], [0, 0, distance]])


def rattled_oxide(*, seed=0):
    atoms = bulk("MgO", "rocksalt", a=4.2).repeat((2, 1, 1))
    atoms.rattle(0.15, seed=seed)
    return atoms


@pytest.mark.parametrize("distance", [0.3, 0.7, 1.0])
def test_the_closeness_of_a_single_close_pair_is_one_minus_its_scaled_distance(distance):
    wanted = 1 - distance / (2 * covalent_radii[8])
    found = soft_closeness(Structures.from_atoms([pair(distance)]), sharpness=400.0)
    torch.testing.assert_close(found, torch.tensor([wanted]), rtol=0, atol=0.005)


def test_atoms_far_from_each_other_and_single_atoms_have_no_closeness_and_a_gradient_of_zero():
    structures = Structures.from_atoms([pair(10.0), Atoms("O")])
    positions = structures.positions.clone().requires_grad_()
    found = soft_closeness(structures.with_positions(positions))
    (gradient,) = torch.autograd.grad(found.sum(), positions)
    assert found.tolist() == [0.0, 0.0]
    assert not gradient.any()


@pytest.mark.parametrize("atoms", [rattled_oxide(), molecule("CH3CH2OH")], ids=["crystal", "molecule"])
def test_the_derivatives_of_closeness_are_those_of_finite_differences(atoms, slope, copies):
    structures = Structures.from_atoms([atoms])
    direction = torch.randn(structures.positions.shape, generator=torch.Generator().manual_seed(1)).double()

    def value(points):
        return soft_closeness(copies(structures, len(points)).with_positions(points.flatten(0, 1)), reach=1.3)

    def along(points):
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(value(points).sum(), points)
        return (gradient * direction).sum((1, 2))

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(value(positions.unsqueeze(0)).sum(), positions, create_graph=True)
    (curvature,) = torch.autograd.grad((gradient * direction).sum(), positions)

    def reshaped(function):
        return lambda points: function(points.reshape(-1, *structures.positions.shape))

    step = 2e-4
    torch.testing.assert_close(
        gradient.detach(), slope(reshaped(value), structures.positions, step=step), rtol=1e-6, atol=1e-9
    )
    torch.testing.assert_close(curvature, slope(reshaped(along), structures.positions, step=step), rtol=1e-5, atol=1e-6)


def test_the_third_derivative_has_no_jump_where_a_pair_leaves_the_reach():
    def third(distance):
        x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
        positions = torch.stack([torch.zeros(3, dtype=torch.float64), x * torch.tensor([0.0, 0.0, 1.0]).double()])
        structures = Structures.from_atoms([pair(distance)]).with_positions(positions)
        value = soft_closeness(structures, sharpness=1.0, reach=1.5).sum()
        for _ in range(3):
            (value,) = torch.autograd.grad(value, x, create_graph=True)
        return float(value.detach())

    end = 1.5 * 2 * covalent_radii[8]
    assert abs(third(end - 0.3)) > 0.1
    assert third(end - 1e-5) == pytest.approx(third(end + 1e-5), abs=1e-2)


def test_closeness_has_the_symmetries_of_space_and_sees_periodic_images():
    atoms = rattled_oxide(seed=3)
    other = atoms[[3, 1, 0, 2]]
    other.rotate(40, (1, 2, 3), rotate_cell=True)
    other.positions += (0.3, -0.2, 5.0)
    other.wrap()
    both = soft_closeness(Structures.from_atoms([atoms, other]))
    torch.testing.assert_close(both[0], both[1])
    without = atoms.copy()
    without.pbc = False
    assert float(soft_closeness(Structures.from_atoms([without]))) < float(both[0])


@pytest.mark.parametrize(("cutoff", "n_searches"), [(6.0, 0), (4.0, 1)])
def test_neighbours_of_a_crystal_are_searched_again_only_where_they_do_not_reach_far_enough(
    cutoff, n_searches, monkeypatch
):
    structures = Structures.from_atoms([rattled_oxide(seed=seed) for seed in range(2)])
    wanted = soft_closeness(structures)
    searches, search = [], cell_lists.by_vesin
    known = neighbors.with_edges(structures, cutoff)
    monkeypatch.setattr(neighbors, "FINDERS", {"vesin": lambda *given: searches.append(given) or search(*given)})
    torch.testing.assert_close(soft_closeness(known), wanted, rtol=1e-12, atol=0)
    assert len(searches) == n_searches


def test_the_closest_pair_is_that_of_ases_neighbour_list():
    frames = [rattled_oxide(seed=seed) for seed in range(4)] + [molecule("CH3CH2OH"), Atoms("O")]
    found = closest_pairs(Structures.from_atoms(frames))
    for index, atoms in enumerate(frames[:-1]):
        first, second, distance = neighbor_list("ijd", atoms, 5.0)
        scaled = distance / (covalent_radii[atoms.numbers[first]] + covalent_radii[atoms.numbers[second]])
        best = scaled.argmin()
        assert {int(found.first[index]), int(found.second[index])} == {first[best], second[best]}
        assert float(found.distance[index]) == pytest.approx(distance[best])
        assert float(found.scaled[index]) == pytest.approx(scaled[best])
    assert (int(found.first[-1]), float(found.scaled[-1])) == (-1, float("inf"))
