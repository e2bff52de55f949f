"""What holds for every network that knows directions: PaiNN and ACE."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from sparring import read_committee, write_committee
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.config import ConfigError, load
from sparring.potentials import ACE, ARCHITECTURES, PaiNN, Potential, stacked
from sparring.potentials.neighborhoods import DenseTable, EdgeList
from sparring.potentials.stacking import cast
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.testing import check_derivatives, check_extensivity, check_potential
from sparring.training.fitting import fit

CARBON_DIOXIDE = Atoms("OCO", positions=[[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]])
PLANAR_AMMONIA = Atoms("NH3", positions=[[0, 0, 0], *([math.cos(a), math.sin(a), 0] for a in np.arange(3) * 2.0944)])
SMALL = {
    PaiNN: {"n_features": 8, "n_interactions": 2, "n_radial": 5, "cutoff": 3.0},
    ACE: {"n_features": 4, "n_interactions": 2, "n_radial": 5, "cutoff": 3.0, "mean_neighbors": 5.0},
}


@pytest.fixture(params=[PaiNN, ACE])
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    """A small network of each kind."""

    def network(seed=0, *, dtype=torch.float64, **changes):
        made = kind(**SMALL[kind] | changes)
        made.initialise(torch.Generator().manual_seed(seed))
        return cast(made, dtype=dtype)

    return network


def batch(network, *atoms):
    return with_edges(Structures.from_atoms(atoms), network.cutoff)


def energy_of(network, atoms):
    return network(batch(network, atoms))


def test_it_is_a_potential_and_can_be_found_by_name(make, kind):
    assert isinstance(make(), Potential)
    assert ARCHITECTURES[kind.kind] is kind


@pytest.mark.parametrize(("repulsion", "tolerance"), [(False, 1e-6), (True, 1e-4)])
def test_it_keeps_the_contract_of_potentials(make, repulsion, tolerance, ammonia, water, salt, rattled):
    network = make(repulsion=repulsion)
    (distorted,) = rattled(ammonia, 1)
    pair = Atoms("OH", positions=[[0, 0, 0], [0.3, 0.4, 0.5]])
    molecules = [distorted, water, Atoms("O"), pair, CARBON_DIOXIDE, PLANAR_AMMONIA]
    check_potential(network, molecules, tolerance=tolerance)
    check_potential(network, [salt], tolerance=tolerance)
    check_extensivity(network, [ammonia, water])


@pytest.mark.parametrize("atoms", [PLANAR_AMMONIA, CARBON_DIOXIDE], ids=["planar ammonia", "carbon dioxide"])
def test_curvature_is_finite_where_vectors_vanish_by_symmetry(make, atoms):
    network = make()
    structures = batch(network, atoms)

    def energy(positions):
        return network(replace(structures, positions=positions)).sum()

    hessian = torch.autograd.functional.hessian(energy, structures.positions)
    assert torch.isfinite(hessian).all()
    assert hessian.abs().max() > 1e-4
    check_derivatives(network, [atoms])


def test_a_mirror_image_has_the_same_energy(make, rattled):
    (chiral,) = rattled(Atoms("NHOF", positions=[[0, 0, 0], [1, 0, 0], [0, 1.1, 0], [0, 0.2, 1.2]]), 1)
    mirrored = chiral.copy()
    mirrored.positions[:, 2] *= -1
    network = make()
    torch.testing.assert_close(energy_of(network, mirrored), energy_of(network, chiral), rtol=0, atol=1e-12)


def test_an_angle_between_atoms_that_do_not_interact_changes_the_energy_in_one_layer(make, schnet):
    # The hydrogen atoms are beyond the cutoff: all distances that the networks know stay as they are.
    network, scalars_only = make(n_interactions=1, cutoff=1.3), schnet(cutoff=1.3)
    bent, straight = (
        Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [math.cos(angle), math.sin(angle), 0]])
        for angle in (1.8, math.pi)
    )
    assert abs(energy_of(network, bent) - energy_of(network, straight)).item() > 1e-6
    assert abs(energy_of(scalars_only, bent) - energy_of(scalars_only, straight)).item() < 1e-14


def test_a_crystal_does_not_depend_on_where_it_is_cut_and_adds_up(make, salt):
    network, wrapped = make(), salt.copy()
    wrapped.positions += 1.234
    wrapped.wrap()
    wrapped.rotate(37, "xyz", rotate_cell=True)
    torch.testing.assert_close(energy_of(network, wrapped), energy_of(network, salt), rtol=0, atol=1e-11)
    torch.testing.assert_close(energy_of(network, salt * (1, 2, 1)), 2 * energy_of(network, salt), rtol=1e-12, atol=0)


def test_one_pass_over_all_members_is_one_member_after_another(make, ammonia, water, salt):
    members = [make(seed) for seed in range(3)]
    for frames in ([ammonia, water, Atoms("O")], [salt, ammonia], [Atoms("O")]):
        together, apart = (
            Committee(members, stacked=stacked).predict(Structures.from_atoms(frames)) for stacked in (True, False)
        )
        torch.testing.assert_close(together, apart, rtol=1e-10, atol=1e-12)


def test_atoms_beyond_the_cutoff_do_not_interact(make):
    network = make()
    alone = energy_of(network, Atoms("O")) + energy_of(network, Atoms("H"))
    apart = [Atoms("OH", positions=[[0, 0, 0], [0, 0, distance]]) for distance in (2.9, 3.0 + 1e-9)]
    near, far = (energy_of(network, atoms) - alone for atoms in apart)
    assert far.abs().item() < 1e-14
    assert near.abs().item() > 1e-9


def test_atoms_that_merge_repel_each_other_only_with_the_repulsion(make):
    with_it, without = make(repulsion=True), make()
    merging = Atoms("O2", positions=[[0, 0, 0], [0, 0, 0.3]])
    assert (energy_of(with_it, merging) - energy_of(without, merging)).item() > 100


def test_elements_have_the_energies_they_are_given(make, ammonia):
    network, plain = make(), make(reference_energies=False)
    energies = torch.zeros(100, dtype=torch.float64)
    energies[1], energies[7] = -13.6, -1485.0
    for one in (network, plain):
        one.set_reference_energies(energies)
    assert (energy_of(network, ammonia) - energy_of(plain, ammonia)).item() == pytest.approx(-1485 - 3 * 13.6, abs=1e-9)


def test_millielectronvolts_survive_beside_the_energies_of_cores_in_single_precision(make, ammonia):
    network = make(dtype=torch.float32)
    network.set_reference_energies(torch.full((100,), -1e6, dtype=torch.float64))
    stretched = ammonia.copy()
    stretched.positions *= 1.01
    structures = with_edges(Structures.from_atoms([ammonia, stretched], dtype=torch.float32), network.cutoff)
    difference = network(structures).diff()
    network.set_reference_energies(torch.zeros(100, dtype=torch.float64))
    torch.testing.assert_close(difference, network(structures).diff(), rtol=0, atol=1e-8)


def test_the_same_seed_draws_the_same_weights(make):
    same = zip(make(1).parameters(), make(1).parameters(), strict=True)
    other = zip(make(1).parameters(), make(2).parameters(), strict=True)
    assert all((one == two).all() for one, two in same)
    assert any((one != two).any() for one, two in other)


@pytest.mark.parametrize("repulsion", [False, True])
def test_an_evaluation_never_waits_for_the_device(make, repulsion, ammonia, water, never_asks):
    committee = Committee([make(seed, repulsion=repulsion) for seed in range(2)])
    structures = committee.prepare(Structures.from_atoms([ammonia, water]))
    positions = structures.positions.clone().requires_grad_()
    committee.predict(structures)  # neighbours are laid out once, for which it waits
    with never_asks():
        prediction = committee.predict(replace(structures, positions=positions))
        (gradient,) = torch.autograd.grad(prediction.forces.square().sum(), positions)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("what", ["molecules", "crystals"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_lowers_its_loss(make, ammonia, water, salt, rattled, with_random_labels, dtype, what):
    frames = [*rattled(ammonia, 5), *rattled(water, 5)]
    if what == "crystals":
        frames = [*rattled(salt, 6), *rattled(salt * (2, 1, 1), 4)]
    committee, report = fit(
        make(), with_random_labels(frames), seed=1, n_members=2, n_epochs=30, learning_rate=0.01, dtype=dtype
    )
    assert np.isfinite(report.train_loss).all()
    assert (np.median(report.train_loss[-10:], axis=0) < 0.9 * report.train_loss[0]).all()  # some epochs jump
    assert committee.dtype == dtype


def test_a_committee_is_read_as_it_was_written(make, kind, ammonia, tmp_path):
    committee = Committee([make(seed, repulsion=True) for seed in range(2)])
    write_committee(tmp_path / "committee", committee)
    again = read_committee(tmp_path / "committee")
    assert isinstance(again.members[0], kind)
    structures = Structures.from_atoms([ammonia])
    torch.testing.assert_close(again.predict(structures), committee.predict(structures), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ammonia", "salt"])
def test_the_gradient_of_the_force_variance_follows_finite_differences(make, name, request, rattled, copies, slope):
    committee = Committee([make(seed) for seed in range(3)])
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


def test_an_attack_raises_the_force_variance(make, ammonia):
    committee = Committee([make(seed, dtype=torch.float32) for seed in range(3)])
    seeds = Structures.from_atoms([PLANAR_AMMONIA, ammonia])
    result = attack(committee, seeds, force_variance, n_steps=10, learning_rate=0.01, seed=0)
    before, after = (force_variance(committee.predict(one), one) for one in (seeds, result.structures))
    assert (after > before).all()


def test_a_run_of_it_is_configured_trained_attacked_and_reads_again(kind, molecules_file, sparring, tmp_path):
    section = {"kind": kind.kind, "n_features": 8, "n_interactions": 1, "n_radial": 4, "cutoff": "3 Å"}
    config = molecules_file({"committee.potential": section})
    for _ in range(2):  # the second time there is nothing to do
        run = sparring("run", config, "--folder", tmp_path / "run")
        assert run.exit_code == 0, run.err
    committee = read_committee(tmp_path / "run" / "generation-02")
    assert isinstance(committee.members[0], kind)
    assert committee.members[0].hyperparameters["n_radial"] == 4


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"n_features": 5000}, "n_features: must be at most 4,096, got 5000"),
        ({"n_features": 4096, "n_interactions": 60}, "take a smaller network"),
        ({"n_gaussians": 8}, "n_gaussians"),
    ],
)
def test_a_section_out_of_limits_is_an_error(kind, molecules_file, section, message):
    with pytest.raises(ConfigError, match=message):
        load(molecules_file(), overrides={"committee.potential": {"kind": kind.kind, **section}})


def test_a_particle_in_a_well_has_no_distances(kind, well_file):
    with pytest.raises(
        ConfigError, match=f"{kind.kind} depends on distances, and system double_well_1d is a single particle"
    ):
        load(well_file(), overrides={"committee.potential": {"kind": kind.kind}})


def test_energies_need_edges(make, kind, water):
    with pytest.raises(ValueError, match=rf"{kind.__name__} needs edges; call neighbors\.with_edges"):
        make()(Structures.from_atoms([water]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cutoff": 0.0}, "the cutoff must be positive, got 0.0 Å"),
        ({"cutoff": math.inf}, "the cutoff must be positive"),
        ({"n_radial": 0}, "one radial basis function, got n_features=[48], n_interactions=2, n_radial=0"),
        ({"n_interactions": 0}, "at least one feature, one interaction"),
    ],
)
def test_a_network_that_cannot_be_is_an_error(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize("name", ["molecules alike", "molecules of different size", "crystals", "single atoms"])
def test_a_dense_table_gives_the_sums_of_the_edges(make, name, ammonia, water, salt, rattled):
    frames = {
        "molecules alike": rattled(ammonia, 3),
        "molecules of different size": [ammonia, water, *rattled(water, 1)],
        "crystals": [salt, *rattled(salt, 1)],
        "single atoms": [Atoms("O"), water],
    }[name]
    network = make()
    structures = batch(network, *frames)
    edges, n_atoms = structures.edges, structures.n_atoms
    n_slots = int(torch.bincount(edges.target, minlength=n_atoms).max())
    table = DenseTable.of(edges, n_atoms, n_slots)
    dense, flat = (network(structures, None, one) for one in (table, EdgeList(edges, n_atoms)))
    torch.testing.assert_close(dense, flat, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("repulsion", [False, True])
def test_members_in_one_pass_have_the_derivatives_of_each_by_itself(make, repulsion, ammonia, water, rattled):
    members = [make(seed, repulsion=repulsion) for seed in range(3)]
    structures = Structures.from_atoms([*rattled(ammonia, 2), water])
    gradients = []
    for at_once in (True, False):
        positions = structures.positions.clone().requires_grad_()
        moved = structures.with_positions(positions)
        variance = force_variance(Committee(members, stacked=at_once).predict(moved), moved)
        gradients.append(torch.autograd.grad(variance.sum(), positions)[0])
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("what", ["one molecule", "different molecules"])
def test_training_in_one_pass_is_training_by_automatic_differentiation(
    make, kind, what, ammonia, water, rattled, with_random_labels, monkeypatch
):
    frames = rattled(ammonia, 12) if what == "one molecule" else [*rattled(ammonia, 6), *rattled(water, 6)]
    dataset, options = with_random_labels(frames), {"seed": 2, "n_members": 2, "n_epochs": 3, "learning_rate": 1e-2}
    network = make()
    fast, report = fit(network, dataset, dtype=torch.float64, **options)
    monkeypatch.setattr(kind, "stacked_model", lambda self, weights: None)
    slow, expected = fit(network, dataset, dtype=torch.float64, **options)
    np.testing.assert_allclose(report.train_loss, expected.train_loss, rtol=1e-8)
    for one, other in zip(fast.members, slow.members, strict=True):
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-6, atol=1e-8, msg=name)


def test_derivatives_in_the_weights_follow_finite_differences(make, ammonia, rattled):
    network = make()
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


@pytest.mark.parametrize("block_bytes", [1, 2**40])
def test_how_a_batch_is_cut_into_blocks_changes_nothing(
    block_bytes, make, ammonia, water, salt, rattled, with_random_labels, monkeypatch
):
    committee = Committee([make(seed) for seed in range(2)])
    frames = [*rattled(ammonia, 3), water, Atoms("O"), *rattled(salt, 2)]
    structures = Structures.from_atoms(frames)
    expected = Committee(committee.members, stacked=False).predict(structures)
    monkeypatch.setitem(stacked.BLOCK_BYTES, "cpu", block_bytes)
    for differentiable in (True, False):
        found = committee.predict(structures, differentiable=differentiable)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-11)
    dataset = with_random_labels(rattled(ammonia, 8))
    _, report = fit(make(), dataset, seed=0, n_members=2, n_epochs=2, dtype=torch.float64)
    monkeypatch.undo()
    _, whole = fit(make(), dataset, seed=0, n_members=2, n_epochs=2, dtype=torch.float64)
    np.testing.assert_allclose(report.validation_loss, whole.validation_loss, rtol=1e-9)


def test_a_prediction_without_a_graph_holds_one_block_and_refuses_second_derivatives(make, ammonia, monkeypatch):
    monkeypatch.setitem(stacked.BLOCK_BYTES, "cpu", 1)
    network, sizes = make(), []
    weights = {name: weight.detach().unsqueeze(0) for name, weight in network.state_dict().items()}
    structures = batch(network, *[ammonia] * 20)
    positions = structures.positions.unsqueeze(0).requires_grad_()
    for create_graph in (True, False):
        energy = network.stacked_model(weights)(structures, positions, create_graph)
        sizes.append(len(nodes(energy.grad_fn)))
    assert sizes[1] < 0.1 * sizes[0]
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
    with pytest.raises(RuntimeError, match=r"once_differentiable|does not require grad"):
        torch.autograd.grad(gradient.sum(), positions)


def nodes(root):
    """All operations of a graph."""
    seen, left = set(), [root]
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            seen.add(node)
            left += [one for one, _ in node.next_functions]
    return seen


def test_strained_cells_are_seen_with_the_edges_that_there_are(make, salt):
    network = make()
    weights = {name: weight.detach().unsqueeze(0) for name, weight in network.state_dict().items()}
    model, structures = network.stacked_model(weights), batch(network, salt)
    strain = torch.eye(3, dtype=torch.float64) + 0.001
    strained = replace(structures, positions=structures.positions @ strain, cells=structures.cells @ strain)
    for one in (structures, strained):
        found = model(one, one.positions.unsqueeze(0), False)[0]
        torch.testing.assert_close(found, network(one), rtol=1e-10, atol=1e-11)
