import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation

from sparring import read_committee, write_committee
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import ConfigError, load
from sparring.potentials import ARCHITECTURES, PaiNN, Potential
from sparring.potentials.repulsion import pair_repulsion, smooth_envelope
from sparring.potentials.stacking import cast
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.testing import check_derivatives, check_extensivity, check_potential
from sparring.training.fitting import fit

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
@pytest.mark.parametrize(("repulsion", "tolerance"), [(False, 1e-6), (True, 1e-4)])
def test_it_keeps_the_contract_of_potentials(repulsion, tolerance, ammonia, water, salt, rattled):
    network = painn(repulsion=repulsion)
    (distorted,) = rattled(ammonia, 1)
    pair = Atoms("OH", positions=[[0, 0, 0], [0.3, 0.4, 0.5]])
    molecules = [distorted, water, Atoms("O"), pair, CARBON_DIOXIDE, PLANAR_AMMONIA]
    check_potential(network, molecules, tolerance=tolerance)
    check_potential(network, [salt], tolerance=tolerance)
    check_extensivity(network, [ammonia, water])


@pytest.mark.parametrize("atoms", [PLANAR_AMMONIA, CARBON_DIOXIDE], ids=["planar ammonia", "carbon dioxide"])
def test_curvature_is_finite_where_vectors_vanish_by_symmetry(atoms):
    network = painn()
    structures = batch(network, atoms)

    def energy(positions):
        return network(replace(structures, positions=positions)).sum()

    hessian = torch.autograd.functional.hessian(energy, structures.positions)
    assert torch.isfinite(hessian).all()
    assert hessian.abs().max() > 1e-4
    check_derivatives(network, [atoms])


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


def test_a_mirror_image_has_the_same_energy(rattled):
    (chiral,) = rattled(Atoms("NHOF", positions=[[0, 0, 0], [1, 0, 0], [0, 1.1, 0], [0, 0.2, 1.2]]), 1)
    mirrored = chiral.copy()
    mirrored.positions[:, 2] *= -1
    network = painn()
    torch.testing.assert_close(energy_of(network, mirrored), energy_of(network, chiral), rtol=0, atol=1e-12)


def test_an_angle_between_atoms_that_do_not_interact_changes_the_energy_in_one_layer(schnet):
    # The hydrogen atoms are beyond the cutoff: all distances that the networks know stay as they are.
    network, scalars_only = painn(n_interactions=1, cutoff=1.3), schnet(cutoff=1.3)
    bent, straight = (
        Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [math.cos(angle), math.sin(angle), 0]])
        for angle in (1.8, math.pi)
    )
    assert abs(energy_of(network, bent) - energy_of(network, straight)).item() > 1e-6
    assert abs(energy_of(scalars_only, bent) - energy_of(scalars_only, straight)).item() < 1e-14


def test_a_crystal_does_not_depend_on_where_it_is_cut_and_adds_up(salt):
    network, wrapped = painn(), salt.copy()
    wrapped.positions += 1.234
    wrapped.wrap()
    wrapped.rotate(37, "xyz", rotate_cell=True)
    torch.testing.assert_close(energy_of(network, wrapped), energy_of(network, salt), rtol=0, atol=1e-11)
    torch.testing.assert_close(energy_of(network, salt * (1, 2, 1)), 2 * energy_of(network, salt), rtol=1e-12, atol=0)


def test_one_pass_over_all_members_is_one_member_after_another(ammonia, water, salt):
    members = [painn(seed) for seed in range(3)]
    for frames in ([ammonia, water, Atoms("O")], [salt, ammonia], [Atoms("O")]):
        together, apart = (
            Committee(members, stacked=stacked).predict(Structures.from_atoms(frames)) for stacked in (True, False)
        )
        torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-12)


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


def test_atoms_beyond_the_cutoff_do_not_interact():
    network = painn()
    alone = energy_of(network, Atoms("O")) + energy_of(network, Atoms("H"))
    apart = [Atoms("OH", positions=[[0, 0, 0], [0, 0, distance]]) for distance in (2.9, 3.0 + 1e-9)]
    near, far = (energy_of(network, atoms) - alone for atoms in apart)
    assert far.abs().item() < 1e-14
    assert near.abs().item() > 1e-9


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


def test_atoms_that_merge_repel_each_other_only_with_the_repulsion():
    with_it, without = painn(repulsion=True), painn()
    merging = Atoms("O2", positions=[[0, 0, 0], [0, 0, 0.3]])
    assert (energy_of(with_it, merging) - energy_of(without, merging)).item() > 100


def test_elements_have_the_energies_they_are_given(ammonia):
    network, plain = painn(), painn(reference_energies=False)
    energies = torch.zeros(100, dtype=torch.float64)
    energies[1], energies[7] = -13.6, -1485.0
    for one in (network, plain):
        one.set_reference_energies(energies)
    assert (energy_of(network, ammonia) - energy_of(plain, ammonia)).item() == pytest.approx(-1485 - 3 * 13.6, abs=1e-9)


def test_millielectronvolts_survive_beside_the_energies_of_cores_in_single_precision(ammonia):
    network = painn(dtype=torch.float32)
    network.set_reference_energies(torch.full((100,), -1e6, dtype=torch.float64))
    stretched = ammonia.copy()
    stretched.positions *= 1.01
    structures = with_edges(Structures.from_atoms([ammonia, stretched], dtype=torch.float32), network.cutoff)
    difference = network(structures).diff()
    network.set_reference_energies(torch.zeros(100, dtype=torch.float64))
    torch.testing.assert_close(difference, network(structures).diff(), rtol=0, atol=1e-8)


def test_the_same_seed_draws_the_same_weights():
    same = zip(painn(1).parameters(), painn(1).parameters(), strict=True)
    other = zip(painn(1).parameters(), painn(2).parameters(), strict=True)
    assert all((one == two).all() for one, two in same)
    assert any((one != two).any() for one, two in other)


@pytest.mark.parametrize("repulsion", [False, True])
def test_an_evaluation_never_waits_for_the_device(repulsion, ammonia, water, never_asks):
    committee = Committee([painn(seed, repulsion=repulsion) for seed in range(2)])
    structures = committee.prepare(Structures.from_atoms([ammonia, water]))
    positions = structures.positions.clone().requires_grad_()
    committee.predict(structures)  # edges are laid out once
    with never_asks():
        prediction = committee.predict(replace(structures, positions=positions))
        (gradient,) = torch.autograd.grad(prediction.forces.square().sum(), positions)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", ["molecules", "crystals"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_lowers_its_loss(ammonia, water, salt, rattled, with_random_labels, dtype, kind):
    frames = [*rattled(ammonia, 5), *rattled(water, 5)]
    if kind == "crystals":
        frames = [*rattled(salt, 6), *rattled(salt * (2, 1, 1), 4)]
    committee, report = fit(
        painn(), with_random_labels(frames), seed=1, n_members=2, n_epochs=30, learning_rate=0.01, dtype=dtype
    )
    assert np.isfinite(report.train_loss).all()
    assert (report.train_loss[-5:].mean(0) < 0.9 * report.train_loss[0]).all()
    assert committee.dtype == dtype


def test_a_committee_is_read_as_it_was_written(ammonia, tmp_path):
    committee = Committee([painn(seed, repulsion=True) for seed in range(2)])
    write_committee(tmp_path / "committee", committee)
    again = read_committee(tmp_path / "committee")
    assert isinstance(again.members[0], PaiNN)
    structures = Structures.from_atoms([ammonia])
    torch.testing.assert_close(again.predict(structures), committee.predict(structures), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ammonia", "salt"])
def test_the_gradient_of_the_force_variance_follows_finite_differences(name, request, rattled, copies, slope):
    committee = Committee([painn(seed) for seed in range(3)])
    structures = Structures.from_atoms(rattled(request.getfixturevalue(name), 1))

    def variance(points):
        moved = copies(structures, len(points)).with_positions(points.flatten(0, 1))
        with torch.enable_grad():
            return force_variance(committee.predict(moved), moved)

    positions = structures.positions.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions.unsqueeze(0)).sum(), positions)
    expected = slope(lambda points: variance(points).detach(), structures.positions)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-10)
    assert gradient.abs().max() > 1e-6


def test_an_attack_raises_the_force_variance(ammonia):
    committee = Committee([painn(seed, dtype=torch.float32) for seed in range(3)])
    seeds = Structures.from_atoms([PLANAR_AMMONIA, ammonia])
    result = attack(committee, seeds, force_variance, n_steps=10, learning_rate=0.01, seed=0)
    before, after = (force_variance(committee.predict(one), one) for one in (seeds, result.structures))
    assert (after > before).all()


def test_a_run_of_it_is_configured_trained_attacked_and_reads_again(molecules_file, sparring, tmp_path):
    section = {"kind": "painn", "n_features": 8, "n_interactions": 1, "n_radial": 4, "cutoff": "3 Å"}
    config = molecules_file({"committee.potential": section})
    for _ in range(2):  # the second time there is nothing to do
        run = sparring("run", config, "--folder", tmp_path / "run")
        assert run.exit_code == 0, run.err
    committee = read_committee(tmp_path / "run" / "generation-02")
    assert isinstance(committee.members[0], PaiNN)
    assert committee.members[0].hyperparameters["n_radial"] == 4


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"n_features": 5000}, "n_features: must be at most 4,096, got 5000"),
        ({"n_features": 4096, "n_interactions": 60}, "take a smaller network"),
        ({"n_gaussians": 8}, "n_gaussians"),
    ],
)
def test_a_section_out_of_limits_is_an_error(molecules_file, section, message):
    with pytest.raises(ConfigError, match=message):
        load(molecules_file(), overrides={"committee.potential": {"kind": "painn", **section}})


def test_a_particle_in_a_well_has_no_distances(well_file):
    with pytest.raises(ConfigError, match="painn depends on distances, and system double_well_1d is a single particle"):
        load(well_file(), overrides={"committee.potential": {"kind": "painn"}})


def test_energies_need_edges(water):
    with pytest.raises(ValueError, match=r"PaiNN needs edges; call neighbors\.with_edges"):
        painn()(Structures.from_atoms([water]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "the cutoff must be positive, got 0.0 Å"),
        ({"cutoff": math.inf}, "the cutoff must be positive"),
        ({"n_radial": 0}, "one radial basis function, got n_features=8, n_interactions=2, n_radial=0"),
        ({"n_interactions": 0}, "at least one feature, one interaction"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        painn(**changes)
