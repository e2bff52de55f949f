import math

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.potentials import ARCHITECTURES, PaiNN, Potential
from sparring.potentials.repulsion import pair_repulsion, smooth_envelope
from sparring.potentials.stacking import cast

CARBON_DIOXIDE = Atoms("OCO", positions=[[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
PLANAR_AMMONIA = Atoms("NH3", positions=[[0, 0, 0], *([math.cos(a), math.sin(a), 0] for a in np.arange(3) * 2.0944)])
KCAL_PER_MOL = 0.0433641


def painn(seed=0, *, dtype=torch.float64, **changes):
    network = PaiNN(**{"n_features": 8, "n_interactions": 2, "n_radial": 5, "cutoff": 3.0, **changes})
    network.initialise(torch.Generator().manual_seed(seed))
    return cast(network, dtype=dtype)


def batch(network, *atoms):
    return with_edges(Structures.from_atoms(atoms), network.cutoff)


def energy_of(network, atoms):
    return network(batch(network, atoms))


def slow_energy(network, atoms):
    """PaiNN for one molecule as its paper writes it: atom by atom, pair by pair."""

    def dense(layer, x):
        return layer.weight @ x + layer.bias

    def two_layers(layers, x):
        x = dense(layers[0], x)
        return dense(layers[2], x / (1 + torch.exp(-x)))

    n = network.n_features
    s = [network.embedding.weight[number] for number in atoms.numbers]
    v = [torch.zeros(3, n, dtype=torch.float64) for _ in s]
    for message, update in zip(network.messages, network.updates, strict=True):
        delta_s, delta_v = [torch.zeros_like(x) for x in s], [torch.zeros_like(x) for x in v]
        for i in range(len(atoms)):
            for j in range(len(atoms)):
                r = torch.tensor(atoms.positions[j] - atoms.positions[i])
                d = float(r.norm())
                if i == j or d > network.cutoff:
                    continue
                x = d / network.cutoff
                envelope = 1 - 84 * x**6 + 216 * x**7 - 189 * x**8 + 56 * x**9
                orders = torch.arange(1, network.n_radial + 1, dtype=torch.float64)
                basis = math.sqrt(2 / network.cutoff) * torch.sin(orders * math.pi * x) / d
                filters = dense(message.filter, basis) * envelope
                of_s, of_vv, of_vs = (two_layers(message.phi, s[j]) * filters).split(n)
                delta_s[i] = delta_s[i] + of_s
                delta_v[i] = delta_v[i] + v[j] * of_vv + torch.outer(r / d, of_vs)
        s, v = ([a + b for a, b in zip(*pair, strict=True)] for pair in ((s, delta_s), (v, delta_v)))
        u_matrix, v_matrix = update.mix.weight.split(n)
        for i in range(len(atoms)):
            u, w = v[i] @ u_matrix.T, v[i] @ v_matrix.T
            norm = (1 + (w**2).sum(0)).sqrt() - 1
            a_ss, a_sv, a_vv = two_layers(update.a, torch.cat([s[i], norm])).split(n)
            s[i] = s[i] + a_ss + a_sv * (u * w).sum(0)
            v[i] = v[i] + a_vv * u
    atomic = sum(float(network.atomic_energy[number]) for number in atoms.numbers)
    return sum(two_layers(network.readout, x).item() for x in s) * KCAL_PER_MOL + atomic


def test_it_is_a_potential_and_can_be_found_by_name():
    assert isinstance(painn(), Potential)
    assert ARCHITECTURES["painn"] is PaiNN


def test_it_computes_what_its_paper_writes(rattled):
    network = painn(cutoff=2.0)
    network.set_reference_energies(torch.linspace(-10, -20, 100, dtype=torch.float64))
    for atoms in rattled(molecule("CH3CH2OH"), 2):
        assert energy_of(network, atoms).item() == pytest.approx(slow_energy(network, atoms), rel=1e-9, abs=1e-7)


# The fourth derivative of the repulsion is large, and with it the error of finite differences.
def test_vector_features_turn_with_the_molecule_and_scalars_do_not(ammonia, rattled):
    network, turn = painn(), torch.as_tensor(Rotation.random(rng=1).as_matrix())
    (distorted,) = rattled(ammonia, 1)
    turned = distorted.copy()
    turned.positions = turned.positions @ turn.numpy().T + [3.0, -7.0, 11.0]
    scalars, vectors = network.features(batch(network, distorted))
    scalars_after, vectors_after = network.features(batch(network, turned))
    torch.testing.assert_close(scalars_after, scalars, rtol=0, atol=1e-12)
    torch.testing.assert_close(vectors_after, turn @ vectors, rtol=0, atol=1e-12)
    assert vectors.abs().max() > 1e-2


def test_the_envelope_has_three_continuous_derivatives():
    x = torch.tensor([0.0, 0.5, 1.0 - 1e-9, 1.0, 1.5], dtype=torch.float64, requires_grad=True)
    value = derivative = smooth_envelope(x)
    assert value[0] == 1.0
    assert 0 < value[1] < 1
    expected = 1 - 84 * x**6 + 216 * x**7 - 189 * x**8 + 56 * x**9
    torch.testing.assert_close(value[:4], expected[:4])
    for _ in range(4):
        assert derivative[2:].abs().max() < 1e-5
        assert derivative[4] == 0.0
        (derivative,) = torch.autograd.grad(derivative.sum(), x, create_graph=True)


def test_nuclei_repel_as_ziegler_biersack_and_littmark_say():
    structures = with_edges(Structures.from_atoms([Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.2]])]), 3.0)
    x = 0.2 * (8**0.23 + 1) / (0.8854 * 0.529177)
    screening = sum(
        a * math.exp(-b * x) for a, b in ((0.1818, 3.2), (0.5099, 0.9423), (0.2802, 0.4028), (0.02817, 0.2016))
    )
    expected = 14.3996 * 8 / 0.2 * screening * smooth_envelope(torch.tensor([0.2 / (0.66 + 0.31)]).double()).item()
    assert pair_repulsion(structures).tolist() == pytest.approx([expected / 2] * 2, rel=1e-6)


def test_nuclei_do_not_repel_at_a_bond_length_of_their_covalent_radii():
    structures = with_edges(Structures.from_atoms([Atoms("OH", positions=[[0, 0, 0], [0, 0, 0.98]])]), 3.0)
    assert pair_repulsion(structures).tolist() == [0.0, 0.0]
