import itertools
import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import minimize_rotation_and_translation, molecule
from scipy.spatial.transform import Rotation

from sparring.atoms.geometry import angle, dihedral, distances, rmsd_matrix, turn

AMMONIA = np.array([7, 1, 1, 1])


def aligned_rmsd(one, other, *, reflect=False):
    return rmsd_matrix(np.stack([one, other]), reflect=reflect)[0, 1]


def rotate_about_bond(positions, j, k, moving, angle):
    axis = (positions[..., k, :] - positions[..., j, :]).unsqueeze(-2)
    vectors = positions - positions[..., k, :].unsqueeze(-2)
    shift = turn(vectors, axis.expand_as(vectors), angle.unsqueeze(-1).expand(vectors.shape[:-1]))
    return torch.where(moving[:, None], positions + shift, positions)


def random_geometries(n_structures, n_atoms, seed=0):
    return np.random.default_rng(seed).normal(size=(n_structures, n_atoms, 3))


def moved(positions, seed=0):
    generator = np.random.default_rng(seed)
    return positions @ Rotation.random(rng=generator).as_matrix().T + generator.normal(size=3)


def slow_permuted_rmsd(a, b, numbers):
    orders = (order for order in itertools.permutations(range(len(a))) if (numbers[list(order)] == numbers).all())
    return min(aligned_rmsd(a, b[list(order)]) for order in orders)


@pytest.fixture
def chain():
    return torch.from_numpy(random_geometries(3, 6, seed=4))


def test_distances_are_those_of_ase(chain):
    reference = Atoms("X6", positions=chain[0].numpy()).get_all_distances()[np.triu_indices(6, k=1)]
    np.testing.assert_allclose(distances(chain)[0], reference, atol=1e-14)


def test_angles_and_dihedrals_are_those_of_ase(chain):
    atoms = Atoms("X6", positions=chain[1].numpy())
    assert math.degrees(angle(chain, 0, 1, 2)[1]) == pytest.approx(atoms.get_angle(0, 1, 2))
    assert math.degrees(dihedral(chain, 0, 1, 2, 3)[1]) % 360 == pytest.approx(atoms.get_dihedral(0, 1, 2, 3))


@pytest.mark.parametrize("degrees", [-179.0, -90.0, 0.0, 60.0, 180.0])
def test_the_sign_of_a_dihedral_is_clockwise_along_the_bond(degrees):
    turn = math.radians(degrees)
    # Seen from j to k, which is along z, clockwise is from x to y.
    positions = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [math.cos(turn), math.sin(turn), 1]]
    found = dihedral(torch.tensor(positions, dtype=torch.float64), 0, 1, 2, 3)
    assert math.degrees(found) == pytest.approx(degrees)


@pytest.mark.parametrize(
    "shape", [lambda x: distances(x), lambda x: angle(x, 0, 1, 2), lambda x: dihedral(x, 0, 1, 2, 3)]
)
def test_shapes_follow_their_finite_differences_twice(chain, shape):
    positions = chain.clone().requires_grad_()
    assert torch.autograd.gradcheck(shape, positions)
    assert torch.autograd.gradgradcheck(shape, positions)


def test_turning_about_a_bond_adds_to_the_dihedral_and_leaves_the_rest_alone(chain):
    moving = torch.tensor([False, False, False, True, True, True])
    turn = torch.tensor([0.3, -1.2, 3.0], dtype=torch.float64)
    turned = rotate_about_bond(chain, 1, 2, moving, turn)
    gained = dihedral(turned, 0, 1, 2, 3) - dihedral(chain, 0, 1, 2, 3)
    torch.testing.assert_close(gained.sin(), turn.sin())
    torch.testing.assert_close(gained.cos(), turn.cos())
    assert torch.equal(turned[:, :3], chain[:, :3])
    torch.testing.assert_close(distances(turned[:, 2:]), distances(chain[:, 2:]))


def test_turning_about_a_bond_is_differentiable_in_positions_and_angle(chain):
    moving = torch.tensor([False, False, False, True, True, True])
    turn = torch.tensor([0.3, -1.2, 3.0], dtype=torch.float64, requires_grad=True)
    positions = chain.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a: rotate_about_bond(x, 1, 2, moving, a), (positions, turn))


def test_a_moved_molecule_has_no_distance_from_itself():
    ammonia = molecule("NH3").positions
    assert aligned_rmsd(ammonia, moved(ammonia)) == pytest.approx(0, abs=1e-14)


def test_the_rmsd_of_two_bonds_is_half_their_difference():
    assert aligned_rmsd(np.array([[0, 0, 0], [0, 0, 1.0]]), np.array([[5, 0, 0], [6.2, 0, 0]])) == pytest.approx(0.1)


def test_a_mirror_image_is_another_geometry_unless_reflections_are_allowed():
    chiral = random_geometries(1, 5)[0]
    image = chiral * [1, 1, -1]
    assert aligned_rmsd(chiral, image) > 0.1
    assert aligned_rmsd(chiral, image, reflect=True) == pytest.approx(0, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_the_aligned_rmsd_is_that_of_ase(seed):
    a, b = random_geometries(2, 7, seed)
    first, second = Atoms("X7", positions=a), Atoms("X7", positions=b)
    minimize_rotation_and_translation(first, second)
    reference = np.sqrt(((first.positions - second.positions) ** 2).sum(axis=1).mean())
    assert aligned_rmsd(a, b) == pytest.approx(reference, abs=1e-10)


def test_the_matrix_holds_the_rmsd_of_every_pair():
    geometries = random_geometries(6, 5)
    matrix = rmsd_matrix(geometries)
    assert (matrix == matrix.T).all()
    assert (matrix.diagonal() == 0).all()
    for i, j in itertools.combinations(range(6), 2):
        assert matrix[i, j] == pytest.approx(aligned_rmsd(geometries[i], geometries[j]), abs=1e-14)


def test_without_alignment_the_rmsd_of_single_points_is_their_distance():
    points = random_geometries(5, 1)
    reference = np.linalg.norm(points[:, None, 0] - points[None, :, 0], axis=-1)
    np.testing.assert_allclose(rmsd_matrix(points, align=False), reference, atol=1e-15)


@pytest.mark.parametrize("max_permutations", [5000, 1], ids=["exact", "assignment"])
def test_exchanged_and_moved_hydrogens_make_no_difference_when_permuted(max_permutations):
    ammonia = molecule("NH3").positions + random_geometries(1, 4)[0] * 0.1
    copies = np.stack(
        [moved(ammonia[[0, *order]], seed) for seed, order in enumerate(itertools.permutations([1, 2, 3]))]
    )
    matrix = rmsd_matrix(copies, AMMONIA, permute=True, max_permutations=max_permutations)
    assert matrix.max() < 1e-13
    assert rmsd_matrix(copies, AMMONIA).max() > 0.05


def test_permuted_rmsd_is_the_best_over_all_exchanges_one_by_one():
    geometries, numbers = random_geometries(5, 6, seed=2), np.array([8, 1, 6, 1, 8, 1])
    matrix = rmsd_matrix(geometries, numbers, permute=True)
    for i, j in itertools.combinations(range(5), 2):
        assert matrix[i, j] == pytest.approx(slow_permuted_rmsd(geometries[i], geometries[j], numbers), abs=1e-13)


def test_assignment_without_alignment_is_as_exact_as_trying_all_permutations():
    geometries, numbers = random_geometries(6, 7, seed=3), np.array([6, 1, 1, 1, 1, 1, 8])
    exact = rmsd_matrix(geometries, numbers, align=False, permute=True)
    assigned = rmsd_matrix(geometries, numbers, align=False, permute=True, max_permutations=1)
    np.testing.assert_allclose(assigned, exact, atol=1e-14)


def test_assignment_finds_the_exact_distance_of_distorted_copies():
    generator = np.random.default_rng(1)
    ethanol = molecule("CH3CH2OH")
    hydrogens = np.flatnonzero(ethanol.numbers == 1)
    copies = []
    for seed in range(4):
        order = np.arange(9)
        order[hydrogens] = generator.permutation(hydrogens)
        copies.append(moved((ethanol.positions + generator.normal(scale=0.03, size=(9, 3)))[order], seed))
    exact = rmsd_matrix(np.stack(copies), ethanol.numbers, permute=True)
    assigned = rmsd_matrix(np.stack(copies), ethanol.numbers, permute=True, max_permutations=1)
    assert exact.max() < 0.1
    np.testing.assert_allclose(assigned, exact, atol=1e-12)


def test_permutations_need_atomic_numbers():
    with pytest.raises(ValueError, match="give atomic_numbers, got None"):
        rmsd_matrix(random_geometries(2, 4), permute=True)


def test_a_single_structure_has_a_matrix_of_one_zero():
    assert rmsd_matrix(random_geometries(1, 4), AMMONIA, permute=True).tolist() == [[0.0]]
