"""Last-layer prediction rigidity against its closed formula, and its physics."""

import pytest
import torch
from ase.build import molecule

from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import PaiNN
from sparring.potentials.stacking import cast
from sparring.training.llpr import Posterior, llpr, simplex
from sparring.training.readouts import precision, rows_of
from sparring.uncertainty import energy_variance, force_variance


@pytest.fixture
def backbone():
    network = PaiNN(n_features=8, n_interactions=2, n_radial=5, cutoff=3.0)
    network.initialise(torch.Generator().manual_seed(0))
    return cast(network, dtype=torch.float64)


@pytest.fixture
def known(rattled, ammonia, water):
    """Structures that the backbone is taken to know."""
    return Structures.from_atoms([*rattled(ammonia, 6, stdev=0.05), *rattled(water, 6, stdev=0.05)])


def variances(committee, structures):
    prediction = committee.predict(structures, differentiable=False)
    index, n = structures.structure_index, structures.n_structures
    return energy_variance(prediction.energy), force_variance(prediction.forces, index, n)


def features_of(backbone, structures):
    return torch.cat([rows.features for rows in rows_of(backbone, structures)])


def test_derivatives_of_features_are_those_of_finite_differences(backbone, water, ammonia):
    structures = Structures.from_atoms([water, ammonia])
    (rows,) = rows_of(backbone, structures, n_directions=10)
    step = 1e-5
    for index in (0, 4, 9):
        nudge = step * rows.directions[index]
        above, below = (
            features_of(backbone, structures.with_positions(structures.positions + sign * nudge)) for sign in (1, -1)
        )
        wanted = (above - below) / (2 * step)
        torch.testing.assert_close(rows.derivatives[:, index], wanted, rtol=1e-6, atol=1e-8)


def test_fewer_directions_than_there_are_coordinates_have_their_sum_of_squares_on_average(backbone, water):
    structures = Structures.from_atoms([water])
    (every,) = rows_of(backbone, structures, n_directions=None)
    assert every.derivatives.shape == (1, 9, 8)
    wanted = every.derivatives[0].T @ every.derivatives[0]
    some = [next(rows_of(backbone, structures, n_directions=4, seed=seed)).derivatives[0] for seed in range(60)]
    assert some[0].shape == (4, 8)
    mean = torch.stack([rows.T @ rows for rows in some]).mean(0)
    torch.testing.assert_close(mean, wanted, rtol=0, atol=0.2 * float(wanted.trace()))
    forces = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(every.along(forces), forces.reshape(1, 9))


def test_the_precision_is_the_sum_over_rows_however_structures_are_divided(backbone, known, monkeypatch):
    together = precision(rows_of(backbone, known), energy_weight=2.0, force_weight=3.0)
    (rows,) = rows_of(backbone, known)
    wanted = 2 * rows.features.T @ rows.features
    wanted += 3 * torch.einsum("svf,svg->fg", rows.derivatives, rows.derivatives)
    torch.testing.assert_close(together, wanted)
    monkeypatch.setattr("sparring.training.readouts.N_ATOMS", 5)
    torch.testing.assert_close(precision(rows_of(backbone, known), energy_weight=2.0, force_weight=3.0), wanted)


def test_as_many_members_as_there_are_directions_have_the_variances_of_the_equation(backbone, known, rattled, ammonia):
    committee = llpr(backbone, known, n_members=None, scale=0.3)
    assert committee.n_members == 9
    far = Structures.from_atoms(rattled(ammonia, 3, stdev=0.2, seed=5))
    energy, forces = variances(committee, far)
    matrix = precision(rows_of(backbone, known))
    z = float(torch.linalg.eigvalsh(matrix).max()) / 1e8
    inverse = torch.linalg.inv(matrix + z * torch.eye(8, dtype=torch.float64))
    (rows,) = rows_of(backbone, far)
    torch.testing.assert_close(
        energy, 0.09 * torch.einsum("sf,fg,sg->s", rows.features, inverse, rows.features), rtol=1e-6, atol=0
    )
    of_components = 0.09 * torch.einsum("svf,fg,svg->sv", rows.derivatives, inverse, rows.derivatives)
    torch.testing.assert_close(forces, of_components.mean(1), rtol=1e-6, atol=0)
    of_atoms = committee.predict(far, differentiable=False).summary(far.structure_index).atom_variance
    torch.testing.assert_close(of_atoms, of_components.reshape(-1, 3).mean(1), rtol=1e-6, atol=0)


def test_members_have_the_mean_of_the_backbone_and_on_average_the_covariance_of_the_posterior(backbone, known):
    posterior = Posterior.of(precision(rows_of(backbone, known)))
    samples = [posterior.members(4, torch.Generator().manual_seed(seed)) for seed in range(2000)]
    for weights in samples[:3]:
        assert float(weights.mean(0).abs().max()) < 1e-12 * float(weights.abs().max())
    inverse = torch.linalg.inv(posterior.root)
    white = torch.stack([inverse @ torch.cov(weights.T) @ inverse.T for weights in samples]).mean(0)
    torch.testing.assert_close(white, torch.eye(8, dtype=torch.float64), rtol=0, atol=0.1)
    water = Structures.from_atoms([molecule("H2O")])
    prediction = llpr(backbone, known).predict(water, differentiable=False, stress=True)
    mean = Committee([backbone]).predict(water, differentiable=False, stress=True)
    for got, wanted in zip(prediction, mean, strict=True):
        torch.testing.assert_close(got.mean(0), wanted[0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 9])
def test_the_points_of_a_simplex_have_zero_mean_and_unit_covariance(n):
    points = simplex(n)
    torch.testing.assert_close(points.mean(0), torch.zeros(n - 1, dtype=torch.float64))
    torch.testing.assert_close(points.T @ points / (n - 1), torch.eye(n - 1, dtype=torch.float64))


def test_the_uncertainty_grows_away_from_the_known_structures(backbone, known, rattled, ammonia):
    committee = llpr(backbone, known, n_members=None)
    means = [
        [
            float(values.mean())
            for values in variances(committee, Structures.from_atoms(rattled(ammonia, 20, stdev=s, seed=3)))
        ]
        for s in (0.05, 0.15, 0.3)
    ]
    for quantity in (0, 1):
        assert means[0][quantity] < means[1][quantity] < means[2][quantity]
    more = llpr(backbone, [*known.to_atoms(), *rattled(ammonia, 20, stdev=0.3, seed=4)], n_members=None)
    far = Structures.from_atoms(rattled(ammonia, 20, stdev=0.3, seed=3))
    for before, after in zip(variances(committee, far), variances(more, far), strict=True):
        assert after.mean() < 0.5 * before.mean()


def test_the_uncertainty_does_not_depend_on_the_order_of_atoms_nor_on_motions(backbone, known, ammonia):
    committee = llpr(backbone, known)
    ammonia.rattle(0.1, seed=7)
    moved = ammonia[[2, 0, 3, 1]]
    moved.rotate(70, (1, 2, 3))
    moved.translate((1, 0, -2))
    first, second = (variances(committee, Structures.from_atoms([one])) for one in (ammonia, moved))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=0)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(backbone, known):
    weights = [torch.stack([m.weight for m in llpr(backbone, known, seed=s).members]) for s in (1, 1, 2)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[0], weights[2])


def test_the_gradient_of_the_force_variance_is_that_of_finite_differences(backbone, known, ammonia, slope):
    committee = llpr(backbone, known)
    ammonia.rattle(0.1, seed=8)
    structures = Structures.from_atoms([ammonia])

    def variance(positions):
        batch = structures.take([0] * (positions.numel() // structures.positions.numel()))
        prediction = committee.predict(batch.with_positions(positions.reshape(-1, 3)))
        return force_variance(prediction.forces, batch.structure_index, batch.n_structures)

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions).sum(), positions)
    wanted = slope(lambda points: variance(points).detach(), structures.positions)
    torch.testing.assert_close(gradient, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 0.0}, "scale must be positive"),
        ({"regularisation": -1.0}, "regularisation must be positive"),
        ({"n_members": 1}, "at least two members"),
    ],
)
def test_arguments_out_of_range_are_refused(backbone, known, changes, message):
    with pytest.raises(ValueError, match=message):
        llpr(backbone, known, **changes)


def test_a_potential_without_features_is_refused(known):
    with pytest.raises(ValueError, match="has no features of atoms"):
        llpr(torch.nn.Identity(), known)


def test_an_element_that_the_backbone_does_not_know_is_refused(backbone, known):
    backbone.elements = ("H", "N")
    with pytest.raises(ValueError, match=r"structure 6 \(H2O\) has O"):
        llpr(backbone, known)
