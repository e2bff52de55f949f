import pytest
import torch

from sparring.uncertainty import atom_variance, energy_variance, force_variance, is_familiar, sum_over_atoms

SIZES = (3, 1, 4)
STRUCTURE = torch.repeat_interleave(torch.arange(len(SIZES)), torch.tensor(SIZES))


def random_forces(n_members=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n_members, sum(SIZES), 3, generator=generator, dtype=torch.float64)


def slow_energy_variance(energy):
    """Eq. 5, one number at a time."""
    n_members, n_structures = energy.shape
    variances = []
    for k in range(n_structures):
        mean = sum(float(energy[m, k]) for m in range(n_members)) / n_members
        variances.append(sum((float(energy[m, k]) - mean) ** 2 for m in range(n_members)) / (n_members - 1))
    return torch.tensor(variances, dtype=torch.float64)


def slow_force_variance(forces):
    """Eq. 7, one number at a time."""
    n_members, variances, first = len(forces), [], 0
    for n in SIZES:
        total = 0.0
        for atom in range(first, first + n):
            for axis in range(3):
                mean = sum(float(forces[m, atom, axis]) for m in range(n_members)) / n_members
                total += sum((float(forces[m, atom, axis]) - mean) ** 2 for m in range(n_members)) / (3 * n)
        variances.append(total / (n_members - 1))
        first += n
    return torch.tensor(variances, dtype=torch.float64)


@pytest.mark.parametrize("n_members", [2, 3, 5])
def test_variances_are_those_of_the_formulas_read_one_number_at_a_time(n_members):
    forces = random_forces(n_members)
    energy = forces[:, :3, 0]
    torch.testing.assert_close(energy_variance(energy), slow_energy_variance(energy), rtol=1e-13, atol=0)
    torch.testing.assert_close(force_variance(forces, STRUCTURE, 3), slow_force_variance(forces), rtol=1e-13, atol=0)


def slow_atom_variance(forces):
    """The variance of each atom, one number at a time."""
    n_members, n_atoms, _ = forces.shape
    variances = []
    for atom in range(n_atoms):
        total = 0.0
        for axis in range(3):
            mean = sum(float(forces[m, atom, axis]) for m in range(n_members)) / n_members
            total += sum((float(forces[m, atom, axis]) - mean) ** 2 for m in range(n_members))
        variances.append(total / 3 / (n_members - 1))
    return torch.tensor(variances, dtype=torch.float64)


@pytest.mark.parametrize("n_members", [2, 3, 5])
def test_the_variance_of_an_atom_is_that_of_the_formula_and_its_mean_over_a_structure_is_equation_7(n_members):
    forces = random_forces(n_members)
    of_atoms = atom_variance(forces)
    torch.testing.assert_close(of_atoms, slow_atom_variance(forces), rtol=1e-13, atol=0)
    means = torch.stack([part.mean() for part in of_atoms.split(SIZES)])
    torch.testing.assert_close(force_variance(forces, STRUCTURE, 3), means, rtol=1e-13, atol=0)


def test_only_the_atom_that_members_disagree_about_has_a_variance_whichever_way_it_is_turned():
    forces = random_forces(1).expand(3, -1, -1).clone()
    forces[:, 4] += torch.tensor([[-2.0, 0, 0], [0.0, 0, 0], [2.0, 0, 0]])
    turned = forces @ torch.linalg.qr(random_forces()[0, :3])[0]
    for given in (forces, turned):
        wanted = torch.zeros(8, dtype=torch.float64)
        wanted[4] = 8 / 2 / 3  # M - 1 = 2, three components
        torch.testing.assert_close(atom_variance(given), wanted, rtol=1e-12, atol=1e-12)


def test_the_gradient_of_the_variance_of_an_atom_is_that_of_the_formula():
    forces = random_forces(4).requires_grad_()
    (slope,) = torch.autograd.grad(atom_variance(forces)[5], forces)
    wanted = torch.zeros_like(forces)
    wanted[:, 5] = 2 * (forces - forces.mean(0))[:, 5] / 3 / 3
    torch.testing.assert_close(slope, wanted.detach())
    assert torch.autograd.gradcheck(atom_variance, forces)


def test_two_members_divide_by_one():
    energy = torch.tensor([[1.0], [3.0]], dtype=torch.float64)
    assert energy_variance(energy).item() == 2.0  # (1 + 1) / (2 - 1)


def test_thousands_of_electronvolts_do_not_blur_a_disagreement_of_millielectronvolts():
    energy = torch.tensor([[0.0], [1e-3], [2e-3]], dtype=torch.float64) - 100_000.0
    assert energy_variance(energy).item() == pytest.approx(1e-6, rel=1e-6)


def test_members_that_agree_give_zero_variance_and_a_finite_gradient():
    forces = random_forces(1).expand(4, -1, -1).clone().requires_grad_()
    variance = force_variance(forces, STRUCTURE, 3) + energy_variance(forces[:, :3, 0])
    variance.sum().backward()
    assert (variance == 0).all()
    assert (forces.grad == 0).all()


def test_disagreement_does_not_depend_on_the_order_of_members():
    forces = random_forces()
    torch.testing.assert_close(force_variance(forces, STRUCTURE, 3), force_variance(forces.flip(0), STRUCTURE, 3))


def test_one_member_cannot_disagree():
    forces = random_forces(1)
    with pytest.raises(ValueError, match="at least two members, got 1"):
        force_variance(forces, STRUCTURE, 3)
    with pytest.raises(ValueError, match="at least two members, got 1"):
        energy_variance(forces[:, :3, 0])
    with pytest.raises(ValueError, match="at least two members, got 1"):
        atom_variance(forces)


def test_atoms_add_up_to_their_structures():
    values = torch.arange(8.0, dtype=torch.float64)
    assert sum_over_atoms(values, STRUCTURE, 3).tolist() == [0 + 1 + 2, 3, 4 + 5 + 6 + 7]


def test_what_is_below_the_threshold_is_familiar_and_what_is_at_it_is_not():
    variance = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert is_familiar(variance, 0.2).tolist() == [True, False, False]
