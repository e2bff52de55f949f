import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import ACE
from sparring.potentials.ace.layers import Moments
from sparring.potentials.neighborhoods import DenseTable, EdgeList, dense_or_edges
from sparring.potentials.stacking import cast
from sparring.proposers.objectives import force_variance
from sparring.training.fitting import fit


def ace(seed=0, *, dtype=torch.float64, **changes):
    settings = {"n_features": 4, "n_interactions": 2, "n_radial": 5, "cutoff": 3.0, "mean_neighbors": 4.0}
    network = ACE(**{**settings, **changes})
    network.initialise(torch.Generator().manual_seed(seed))
    return cast(network, dtype=dtype)


def batch(network, *atoms):
    return with_edges(Structures.from_atoms(atoms), network.cutoff)


def numbers_of(network):
    return {name: weight.detach().numpy() for name, weight in network.named_parameters()}


def slow_energy(network, atoms):
    """ACE for one molecule, atom by atom and feature by feature, with matrices of NumPy."""
    weights, k, elements = numbers_of(network), network.embedding.shape[1], atoms.numbers
    s, v, energy = weights["embedding"][elements], np.zeros((len(atoms), 3, k)), 0.0
    features = []
    for number in range(len(network.layers)):
        layer = {name.split(".", 2)[2]: w for name, w in weights.items() if name.startswith(f"layers.{number}.")}
        a, vectors, t = (np.zeros((len(atoms), *shape, k)) for shape in ((), (3,), (3, 3)))
        for i, j in np.ndindex(len(atoms), len(atoms)):
            d = atoms.get_distance(i, j)
            if i == j or d > network.cutoff:
                continue
            u, x = (atoms.positions[j] - atoms.positions[i]) / d, d / network.cutoff
            basis = math.sqrt(2 / network.cutoff) * np.sin(np.arange(1, network.n_radial + 1) * math.pi * x) / d
            basis *= 1 - 84 * x**6 + 216 * x**7 - 189 * x**8 + 56 * x**9
            r = (basis @ layer["radial"]).reshape(-1, k)
            sent = s[j] @ layer["send"]
            for f in range(k):
                a[i, f] += r[0, f] * sent[f]
                vectors[i, :, f] += r[1, f] * sent[f] * u
                t[i, :, :, f] += r[2, f] * sent[f] * traceless(np.outer(u, u))
                if number:
                    w = (v[j] @ layer["send_vectors"])[:, f]
                    a[i, f] += r[4, f] * (w @ u)
                    vectors[i, :, f] += r[3, f] * w
                    t[i, :, :, f] += r[4, f] * traceless((np.outer(w, u) + np.outer(u, w)) / 2)
        n = network.layers[number].mean_neighbors
        a = a / n @ layer["mix_a"]
        vectors = math.sqrt(3) * vectors / n @ layer["mix_v"]
        t = math.sqrt(9 / 2) * t / n @ layer["mix_t"]
        scalars, new_vectors = np.zeros((len(atoms), k)), np.zeros((len(atoms), 3, k))
        for i, f in np.ndindex(len(atoms), k):
            x, y, z = a[i, f], vectors[i, :, f], t[i, :, :, f]
            yy, zz = y @ y, (z * z).sum()
            products = [x, x * x, yy, zz, x**3, x * yy, x * zz, y @ z @ y, np.linalg.det(z)]
            scalars[i, f] = np.dot(layer["scalar_products"][elements[i]].reshape(9, k)[:, f], products)
            if "vector_products" in layer:
                products = [y, x * y, z @ y, x * x * y, yy * y, x * z @ y, z @ z @ y, zz * y]
                chosen = layer["vector_products"][elements[i]].reshape(8, k)[:, f]
                new_vectors[i, :, f] = sum(w * one for w, one in zip(chosen, products, strict=True))
        v = new_vectors @ layer["update_vectors"] if "update_vectors" in layer else None
        s = scalars @ layer["update"] + s @ layer["keep"]
        features.append(s)
    hidden = s @ weights["hidden"]
    features[-1] = hidden / (1 + np.exp(-hidden))
    energy = (np.concatenate(features, axis=1) @ weights["readout"]).sum() * network.energy_scale
    return energy + network.atomic_energy.numpy()[elements].sum()


def traceless(matrix):
    return matrix - np.trace(matrix) / 3 * np.eye(3)


def test_it_computes_what_its_equations_say(rattled):
    network = ace(cutoff=2.0, energy_scale=3.0)
    network.set_reference_energies(torch.linspace(-10, -20, 100, dtype=torch.float64))
    for atoms in rattled(molecule("CH3CH2OH"), 2):
        found = network(batch(network, atoms)).item()
        assert found == pytest.approx(slow_energy(network, atoms), rel=1e-9, abs=1e-7)


def test_products_turn_with_the_molecule():
    generator, turn = torch.Generator().manual_seed(0), torch.as_tensor(Rotation.random(rng=1).as_matrix())
    a, v, half = (torch.randn(5, *shape, 2, generator=generator).double() for shape in ((), (3,), (3, 3)))
    t = half + half.transpose(-3, -2)
    weights = [torch.randn(5, n, 2, generator=generator).double() for n in (9, 8)]
    turned = Moments(a, turn @ v, torch.einsum("ij,njkf,lk->nilf", turn, t, turn))
    before, after = (moments.products(*weights) for moments in (Moments(a, v, t), turned))
    torch.testing.assert_close(after[0], before[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after[1], turn @ before[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["molecules alike", "molecules of different size", "crystals", "single atoms"])
def test_a_dense_table_gives_the_sums_of_the_edges(name, ammonia, water, salt, rattled):
    frames = {
        "molecules alike": rattled(ammonia, 3),
        "molecules of different size": [ammonia, water, *rattled(water, 1)],
        "crystals": [salt, *rattled(salt, 1)],
        "single atoms": [Atoms("O"), water],
    }[name]
    network = ace()
    structures = batch(network, *frames)
    edges, n_atoms = structures.edges, structures.n_atoms
    n_slots = int(torch.bincount(edges.target, minlength=n_atoms).max())
    table = DenseTable.of(edges, n_atoms, n_slots)
    dense, flat = (network(structures, None, one) for one in (table, EdgeList(edges, n_atoms)))
    torch.testing.assert_close(dense, flat, rtol=1e-12, atol=1e-12)


def test_a_table_that_would_be_mostly_empty_is_not_made(water):
    crowd = Atoms("H40", positions=np.random.default_rng(0).normal(size=(40, 3)))
    network = ace()
    assert isinstance(dense_or_edges(batch(network, water, water)), DenseTable)
    assert isinstance(dense_or_edges(batch(network, crowd, *[water] * 30)), EdgeList)
    assert isinstance(dense_or_edges(batch(network, Atoms("O"))), EdgeList)


@pytest.mark.parametrize("repulsion", [False, True])
def test_members_in_one_pass_have_the_derivatives_of_each_by_itself(repulsion, ammonia, water, rattled):
    members = [ace(seed, repulsion=repulsion) for seed in range(3)]
    structures = Structures.from_atoms([*rattled(ammonia, 2), water])
    gradients = []
    for stacked in (True, False):
        positions = structures.positions.clone().requires_grad_()
        moved = structures.with_positions(positions)
        variance = force_variance(Committee(members, stacked=stacked).predict(moved), moved)
        gradients.append(torch.autograd.grad(variance.sum(), positions)[0])
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)


def test_a_network_takes_its_scales_from_the_data(ammonia, rattled, with_random_labels):
    dataset = with_random_labels(rattled(ammonia, 5))
    network = ACE(n_features=4, cutoff=1.4).for_data(dataset)  # hydrogen atoms do not see each other
    assert network.hyperparameters["mean_neighbors"] == pytest.approx(1.5)
    assert network.energy_scale == pytest.approx(dataset.forces.square().mean().sqrt().item())
    chosen = ACE(n_features=4, mean_neighbors=7.0, energy_scale=2.0).for_data(dataset)
    assert (chosen.hyperparameters["mean_neighbors"], chosen.energy_scale) == (7.0, 2.0)


@pytest.mark.parametrize("what", ["one molecule", "different molecules"])
def test_training_in_one_pass_is_training_by_automatic_differentiation(
    what, ammonia, water, rattled, with_random_labels, monkeypatch
):
    frames = rattled(ammonia, 12) if what == "one molecule" else [*rattled(ammonia, 6), *rattled(water, 6)]
    dataset, options = with_random_labels(frames), {"seed": 2, "n_members": 2, "n_epochs": 3, "learning_rate": 1e-2}
    network = ace()
    fast, report = fit(network, dataset, dtype=torch.float64, **options)
    monkeypatch.setattr(ACE, "stacked_model", lambda self, weights: None)
    slow, expected = fit(network, dataset, dtype=torch.float64, **options)
    np.testing.assert_allclose(report.train_loss, expected.train_loss, rtol=1e-8)
    for one, other in zip(fast.members, slow.members, strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-6, atol=1e-8, msg=name)


def test_derivatives_in_the_weights_follow_finite_differences(ammonia, rattled):
    network = ace()
    weights = {name: weight.detach().unsqueeze(0) for name, weight in network.state_dict().items()}
    structures = batch(network, *rattled(ammonia, 2))
    target = torch.randn(structures.positions.shape, generator=torch.Generator().manual_seed(1)).double()

    def loss(members, rows, atoms, energy, slope):
        of_atoms = (slope - target).square().sum(-1)
        return energy.square() + energy.new_zeros(energy.shape).index_add(1, structures.structure_index, of_atoms)

    def total(values):
        gradient = {name: torch.zeros_like(value) for name, value in values.items()}
        model = network.stacked_model(values)
        return model.accumulate_gradient(structures, structures.positions.unsqueeze(0), loss, gradient), gradient

    _, gradient = total(weights)
    generator = torch.Generator().manual_seed(3)
    for name, _ in network.named_parameters():
        direction, step = torch.randn(weights[name].shape, generator=generator).double(), 1e-5
        ends = [total({**weights, name: weights[name] + sign * step * direction})[0].sum().item() for sign in (1, -1)]
        expected = (ends[0] - ends[1]) / (2 * step)
        assert (gradient[name] * direction).sum().item() == pytest.approx(expected, rel=1e-5, abs=1e-5), name


def test_readouts_are_linear_in_the_features(ammonia, water):
    network = ace(energy_scale=2.0)
    structures = batch(network, ammonia, water)
    energy, features = network.energy_and_features(structures)
    atoms = 2.0 * (features @ network.readout).squeeze(-1)
    summed = energy.new_zeros(2).index_add(0, structures.structure_index, atoms)
    torch.testing.assert_close(energy, summed, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(energy, network(structures), rtol=0, atol=0)
