import copy
import json

import numpy as np
import pytest
import torch
from ase import Atoms
from safetensors.torch import load, save

from sparring.atoms.dataset import Dataset
from sparring.atoms.neighbors import with_edges
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.potentials import ACE, CoordinateMLP, PaiNN, SchNet, WithPrior
from sparring.testing import check_potential
from sparring.training.fitting import fit
from sparring.training.jobs import jobs_of, members_of, packed
from sparring.training.loss import Loss
from sparring.training.trainer import modules_of
from sparring.uncertainty import force_variance

NETWORKS = {
    "schnet": lambda: SchNet(n_features=8, n_filters=8, n_interactions=2, n_gaussians=8, cutoff=3.0),
    "painn": lambda: PaiNN(n_features=4, n_interactions=2, cutoff=3.0),
    "ace": lambda: ACE(n_features=3, cutoff=3.0, mean_neighbors=6.0),
}
FEW = {"n_members": 3, "n_epochs": 2, "batch_size": 5, "seed": 0}


@pytest.fixture
def data(ammonia, rattled, with_random_labels):
    return with_random_labels(rattled(ammonia, 12))


@pytest.fixture
def with_springs():
    """Labels of springs between all atoms, at rest in the first structure."""

    def make(frames):
        rest = frames[0].get_all_distances()
        for atoms in frames:
            vectors = atoms.get_all_distances(vector=True)
            stretch = np.linalg.norm(vectors, axis=2) - rest
            np.fill_diagonal(stretch, 0.0)
            length = rest + stretch + np.eye(len(atoms))
            atoms.info["REF_energy"] = float((stretch**2).sum() * 2.5)
            atoms.arrays["REF_forces"] = (10.0 * (stretch / length)[..., None] * vectors).sum(1)
        return Dataset.from_atoms(frames)

    return make


@pytest.fixture(params=NETWORKS)
def network(request):
    return NETWORKS[request.param]()


@pytest.fixture
def committee(network, data):
    return fit(network, data, prior_scale=1.0, dtype=torch.float64, **FEW)[0]


def prior_forces(member, structures):
    positions = structures.positions.detach().requires_grad_()
    energy = member._prior_energy(structures.with_positions(positions))
    return -torch.autograd.grad(energy.sum(), positions)[0]


def test_priors_stay_as_they_were_drawn_have_the_size_of_the_forces_and_differ(network, data):
    arguments = {**FEW, "dtype": torch.float64, "prior_scale": 0.5}
    short, long = (fit(network, data, **{**arguments, "n_epochs": n})[0] for n in (1, 4))
    structures = short.prepare(data.structures)
    forces = [prior_forces(member, structures) for member in short.members]
    for one, other, force in zip(short.members, long.members, forces, strict=True):
        torch.testing.assert_close(one.prior.state_dict(), other.prior.state_dict(), rtol=0, atol=0)
        wanted = 0.5 * data.forces.square().mean().sqrt()
        torch.testing.assert_close(force.square().mean().sqrt(), wanted, rtol=1e-4, atol=0)
    assert (forces[0] - forces[1]).abs().max() > 0.1 * forces[0].abs().max()


def test_the_prior_of_an_isolated_atom_is_zero(committee):
    atoms = committee.prepare(Structures.from_atoms([Atoms("H"), Atoms("N"), Atoms("Fe")]))
    for member in committee.members:
        assert member._prior_energy(atoms).abs().max() < 1e-4
        torch.testing.assert_close(member(atoms), member.network(atoms), rtol=0, atol=1e-4)


def test_a_network_that_has_reference_energies_gets_the_same_prior_as_one_without(network, ammonia):
    trained = copy.deepcopy(network)
    trained.set_reference_energies(-100.0 * torch.arange(100, dtype=torch.float64))
    plain, other = WithPrior.of(network), WithPrior.of(trained)
    for made in (plain, other):
        made.initialise(torch.Generator().manual_seed(0))
    structures = with_edges(Structures.from_atoms([Atoms("N"), ammonia], dtype=torch.float32), 3.0)
    torch.testing.assert_close(other._prior_energy(structures), plain._prior_energy(structures))


def test_members_with_priors_are_evaluated_in_one_pass_as_one_after_another(committee, data, monkeypatch):
    structures = data.structures
    positions = structures.positions.detach().requires_grad_()

    def seen(members):
        prediction = members.predict(structures.with_positions(positions))
        variance = force_variance(prediction.forces, structures.structure_index, len(data)).sum()
        return prediction.energy, prediction.forces, torch.autograd.grad(variance, positions)[0]

    wanted = seen(Committee(committee.members, stacked=False))
    monkeypatch.delattr("sparring.potentials.evaluation.stacked_energies")  # neither by vmap
    for one, other in zip(seen(Committee(committee.members)), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


def test_the_slope_of_the_variance_is_that_of_finite_differences(committee, data):
    structures, step = data.structures.take([0]), 1e-4

    def variance(positions):
        prediction = committee.predict(structures.with_positions(positions))
        return force_variance(prediction.forces, structures.structure_index, 1).sum()

    positions = structures.positions.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(variance(positions), positions)
    for atom, axis in ((0, 0), (1, 2), (3, 1)):
        ahead, behind = positions.detach().clone(), positions.detach().clone()
        ahead[atom, axis] += step
        behind[atom, axis] -= step
        slope = (variance(ahead) - variance(behind)).item() / (2 * step)
        assert gradient[atom, axis].item() == pytest.approx(slope, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("analytic", [True, False])
def test_the_gradient_of_the_loss_in_the_weights_is_that_of_finite_differences(network, data, analytic, monkeypatch):
    jobs = jobs_of([data], [0], None, 2)
    members = members_of(jobs)
    modules = modules_of(WithPrior.of(network).for_data(data), members)
    loss = Loss(
        modules[0], packed(jobs, modules[0], None, torch.float64, "cpu"), 0.1, 1.0, torch.zeros(2, 100), modules
    )
    if not analytic:
        monkeypatch.setattr(WithPrior, "stacked_model", lambda *_: None)
    rows = [torch.cat([p.detach().flatten() for p in module.parameters()]) for module in modules]
    weights, chosen = torch.stack(rows).double(), torch.tensor([[0, 1, 2], [3, 4, 5]])
    _, gradient = loss.gradient(weights, chosen)
    direction = torch.randn(weights.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6
    ahead, behind = (loss.losses_of(weights + s * direction, chosen).mean(1) for s in (step, -step))
    torch.testing.assert_close((gradient * direction).sum(1), (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-6)


def test_a_committee_with_priors_is_read_back_bit_by_bit(committee, data):
    weights, about = committee.state()
    again = Committee.from_state(load(save(weights)), json.loads(json.dumps(about)))
    one, other = (c.predict(data.structures, differentiable=False) for c in (committee, again))
    assert (one.energy == other.energy).all()
    assert (one.forces == other.forces).all()
    single = again.to(dtype=torch.float32)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.predict(data.structures).forces.double(), one.forces, rtol=1e-3, atol=1e-3)


def test_networks_with_a_prior_are_smooth_and_symmetric(network, ammonia, water):
    made = WithPrior.of(network)
    made.initialise(torch.Generator().manual_seed(0))
    check_potential(made, [ammonia, water])


def test_members_disagree_more_away_from_the_data_than_without_a_prior(ammonia, rattled, with_springs):
    data = with_springs(rattled(ammonia, 20, stdev=0.05))
    far = Structures.from_atoms(rattled(ammonia, 10, stdev=0.3, seed=9))
    training = {"n_members": 3, "n_epochs": 30, "batch_size": 12, "learning_rate": 1e-2, "seed": 1}

    def disagreement(**more):
        committee, _ = fit(NETWORKS["schnet"](), data, **training, **more)
        return force_variance(committee.predict(far).forces, far.structure_index, far.n_structures).mean().sqrt()

    assert disagreement(prior_scale=1.0) > 1.5 * disagreement()


def test_the_same_seed_gives_the_same_bits_with_bootstrap_samples_too(network, data):
    arguments = {**FEW, "prior_scale": 1.0, "bootstrap": True}
    one, again, other = (fit(network, data, **{**arguments, "seed": seed})[0].state()[1] for seed in (1, 1, 2))
    assert one == again
    assert one["weights_sha256"] != other["weights_sha256"]


def test_training_goes_on_from_members_with_their_own_priors(committee, data):
    tuned, _ = fit(committee.members[0], data, start_from=committee.members, dtype=torch.float64, **FEW)
    for one, other in zip(tuned.members, committee.members, strict=True):
        torch.testing.assert_close(one.prior.state_dict(), other.prior.state_dict(), rtol=0, atol=0)
        assert one.amplitude == other.amplitude


def test_a_network_of_coordinates_has_a_prior_too(particle, with_random_labels):
    data = with_random_labels([particle(0.1 * index, 0.2) for index in range(10)])
    committee, _ = fit(CoordinateMLP(n_layers=1, n_units=8), data, prior_scale=1.0, **FEW)
    assert committee.stacked
    assert Committee.from_state(*committee.state()).predict(data.structures).energy.isfinite().all()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf")])
def test_a_scale_that_is_none_is_an_error(data, scale):
    with pytest.raises(
        ValueError, match=r"the scale of a prior must be a positive number, got .*; leave the prior out"
    ):
        fit(NETWORKS["ace"](), data, prior_scale=scale, **FEW)


def test_a_module_that_is_no_architecture_gets_no_prior():
    with pytest.raises(ValueError, match=r"a prior is added to a sparring\.Architecture, got Linear"):
        WithPrior.of(torch.nn.Linear(1, 1))


def test_a_prior_of_energies_alone_is_in_electronvolts(ammonia, rattled):
    frames = rattled(ammonia, 12)
    for index, atoms in enumerate(frames):
        atoms.info["REF_energy"] = float(index)
    committee, _ = fit(NETWORKS["ace"](), Dataset.from_atoms(frames), prior_scale=0.3, **FEW)
    assert committee.members[0].hyperparameters["spread"] == 1.0
