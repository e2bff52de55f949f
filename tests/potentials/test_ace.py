import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import ACE
from sparring.potentials.ace.layers import Moments
from sparring.potentials.neighborhoods import DenseTable, EdgeList, dense_or_edges
from sparring.potentials.stacking import cast


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


def test_a_table_that_would_be_mostly_empty_is_not_made(water):
    crowd = Atoms("H40", positions=np.random.default_rng(0).normal(size=(40, 3)))
    network = ace()
    assert isinstance(dense_or_edges(batch(network, water, water)), DenseTable)
    assert isinstance(dense_or_edges(batch(network, crowd, *[water] * 30)), EdgeList)
    assert isinstance(dense_or_edges(batch(network, Atoms("O"))), EdgeList)


def test_a_network_takes_its_scales_from_the_data(ammonia, rattled, with_random_labels):
    dataset = with_random_labels(rattled(ammonia, 5))
    network = ACE(n_features=4, cutoff=1.4).for_data(dataset)  # hydrogen atoms do not see each other
    assert network.hyperparameters["mean_neighbors"] == pytest.approx(1.5)
    assert network.energy_scale == pytest.approx(dataset.forces.square().mean().sqrt().item())
    chosen = ACE(n_features=4, mean_neighbors=7.0, energy_scale=2.0).for_data(dataset)
    assert (chosen.hyperparameters["mean_neighbors"], chosen.energy_scale) == (7.0, 2.0)


def test_readouts_are_linear_in_the_features(ammonia, water):
    network = ace(energy_scale=2.0)
    structures = batch(network, ammonia, water)
    energy, features = network.energy_and_features(structures)
    atoms = 2.0 * (features @ network.readout).squeeze(-1)
    summed = energy.new_zeros(2).index_add(0, structures.structure_index, atoms)
    torch.testing.assert_close(energy, summed, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(energy, network(structures), rtol=0, atol=0)
