"""Heads on one backbone: trained on labels in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparring.atoms.dataset import ENERGY, FORCES, STRESS, Dataset
from sparring.atoms.strain import strained
from sparring.atoms.structures import Structures
from sparring.committee import Committee
from sparring.evaluation import evaluate
from sparring.potentials import PaiNN
from sparring.potentials.heads.head import Head
from sparring.potentials.stacking import cast
from sparring.training.fitting import fit
from sparring.training.heads import Normal, fit_heads, residuals_of
from sparring.training.llpr import Posterior, llpr
from sparring.training.readouts import precision, rows_of
from sparring.uncertainty import force_variance


@pytest.fixture
def backbone():
    network = PaiNN(n_features=8, n_interactions=2, n_radial=5, cutoff=3.0)
    network.initialise(torch.Generator().manual_seed(0))
    return cast(network, dtype=torch.float64)


def with_labels(frames, teacher, noise=np.zeros):
    structures = Structures.from_atoms(frames)
    prediction = teacher.predict(structures, differentiable=False)
    for index, atoms in enumerate(frames):
        atoms.info[ENERGY] = float(prediction.energy[0, index]) + float(noise(()))
        forces = prediction.forces[0][structures.structure_index == index].numpy()
        atoms.arrays[FORCES] = forces + noise(forces.shape)
    return Dataset.from_atoms(frames)


@pytest.fixture
def labelled(backbone, rattled, ammonia, water):
    """Structures labelled by a head of the backbone, with noise."""

    def make(n, *, noise=0.0, seed=0, strength=0.3):
        generator = np.random.default_rng(seed)
        weight = torch.linspace(-strength, strength, 8).double()
        shifts = torch.arange(100).double()
        teacher = Committee([Head.of(backbone, weight, shifts)])
        frames = [*rattled(ammonia, n, stdev=0.08, seed=seed), *rattled(water, n, stdev=0.08, seed=seed)]
        return with_labels(frames, teacher, lambda shape: noise * generator.normal(size=shape))

    return make


def test_heads_find_the_readout_that_made_the_labels(backbone, labelled):
    committee = fit_heads(backbone, labelled(8), n_members=4)
    errors = evaluate(committee, labelled(5, seed=1))
    before = evaluate(Committee([backbone]), labelled(5, seed=1))
    assert before.energy_mae > 1
    assert before.force_mae > 0.03
    assert errors.energy_mae < 1e-4
    assert errors.force_mae < 1e-4


def test_heads_average_over_noise_and_disagree_where_there_are_no_data(backbone, labelled, rattled, ammonia):
    committee = fit_heads(backbone, labelled(15, noise=0.02), n_members=8)
    assert evaluate(committee, labelled(10, seed=1)).force_mae < 0.02
    variances = []
    for stdev in (0.08, 0.2, 0.35):
        structures = Structures.from_atoms(rattled(ammonia, 10, stdev=stdev, seed=3))
        prediction = committee.predict(structures, differentiable=False)
        variances.append(float(force_variance(prediction.forces, structures.structure_index, 10).mean()))
    assert variances[0] < variances[1] < variances[2]
    assert variances[0] < 0.02**2


def test_a_head_in_closed_form_is_the_minimum_of_its_loss(backbone, labelled):
    """Zero regularisation towards nothing but rounding: the normal equations hold for the loss, by autograd."""
    dataset, z = labelled(5, noise=0.1), 0.3
    committee = fit_heads(backbone, dataset, n_members=2, seed=4, regularisation=z, energy_weight=2.0, force_weight=0.5)
    generator = torch.Generator().manual_seed(4)
    torch.randn(8, generator=generator, dtype=torch.float64)
    counts = torch.bincount(torch.randint(10, (10,), generator=generator), minlength=10).double()
    head = committee.members[0]
    structures = committee.prepare(dataset.structures)
    positions = structures.positions.clone().requires_grad_()
    weight = head.weight.clone().requires_grad_()
    shifts = head.atomic_energy.clone().requires_grad_()
    energy, features = backbone.energy_and_features(replace(structures, positions=positions))
    atoms = features @ weight + shifts[structures.atomic_numbers]
    energy = energy.index_add(0, structures.structure_index, atoms)
    (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
    of_energies = 2.0 * (counts * (energy - dataset.energy).square()).sum()
    of_forces = 0.5 * (counts[structures.structure_index] * (-gradient - dataset.forces).square().sum(1)).sum()
    of_weight, of_shifts = torch.autograd.grad(of_energies + of_forces, (weight, shifts))
    torch.testing.assert_close(of_shifts, torch.zeros_like(shifts), rtol=0, atol=1e-6)
    # What is left is the pull towards the weights that the head was drawn with: z times a normal number.
    prior = weight.detach() + of_weight / (2 * z)
    noise = torch.randn(8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    ratio = prior / noise
    torch.testing.assert_close(ratio, ratio.mean().expand(8), rtol=1e-5, atol=0)
    assert ratio.mean() > 0


def test_structures_without_forces_count_by_their_energies_alone(backbone, labelled):
    dataset = labelled(8)
    has = torch.ones(16, dtype=torch.bool)
    has[::2] = False
    forces = torch.where(has[dataset.structures.structure_index].unsqueeze(1), dataset.forces, 1e3)
    committee = fit_heads(backbone, replace(dataset, forces=forces, has_forces=has), n_members=3)
    assert evaluate(committee, labelled(5, seed=1)).force_mae < 1e-3


@pytest.mark.parametrize("which", ["energies", "energies and half of the forces", "energies and forces", "forces"])
def test_the_noise_of_the_labels_is_found_from_those_that_there_are(backbone, labelled, which):
    dataset = labelled(30, noise=0.1)
    has = torch.ones(60, dtype=torch.bool)
    if which.startswith("energies"):
        has[:: 2 if "half" in which else 1] = "and forces" in which
    parts, _ = residuals_of(backbone, replace(dataset, has_forces=has))
    equations = Normal.of(parts, torch.ones(60), 0.0 if which == "forces" else 1.0, 1.0).without_elements()
    noise, _ = equations.noise_and_regularisation(None)
    assert noise == pytest.approx(0.1, rel=0.2)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(backbone, labelled):
    dataset = labelled(5, noise=0.1)
    states = [fit_heads(backbone, dataset, n_members=3, seed=seed).state()[0] for seed in (1, 1, 2)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.allclose(states[0]["weight"], states[2]["weight"])


def sizes(committee):
    return torch.stack([member.weight for member in committee.members]).norm()


def test_labels_set_the_scale_of_the_prediction_rigidity_and_the_energies_of_elements(backbone, labelled, caplog):
    near, far = (llpr(backbone, labelled(5, noise=noise, strength=0.0)) for noise in (0.01, 1.0))
    assert float(sizes(far) / sizes(near)) == pytest.approx(100, rel=1e-6)
    shifts = near.members[0].atomic_energy
    assert float(2 * shifts[1] + shifts[8]) == pytest.approx(2 * 1 + 8, abs=0.02)
    assert not caplog.records
    for same in (labelled(5).structures, labelled(2), with_labels(labelled(5).to_atoms(), Committee([backbone]))):
        caplog.clear()
        committee = llpr(backbone, same)
        assert "no labels set the scale" in caplog.text
        torch.testing.assert_close(sizes(committee), sizes(llpr(backbone, same, scale=1.0)))


def test_the_scale_is_found_where_labels_are_drawn_from_the_posterior(backbone, rattled, ammonia):
    frames = rattled(ammonia, 20, stdev=0.15, seed=6)
    posterior = Posterior.of(precision(rows_of(backbone, Structures.from_atoms(frames))), scale=0.7, regularisation=1.0)
    unit = sizes(llpr(backbone, frames, regularisation=1.0, scale=1.0))
    squares = []
    for seed in range(6):
        weight = posterior.root @ torch.randn(8, generator=torch.Generator().manual_seed(seed)).double()
        teacher = Committee([Head.of(backbone, weight, torch.zeros(100))])
        found = llpr(backbone, with_labels(frames, teacher), regularisation=1.0)
        squares.append(float(sizes(found) / unit) ** 2)
    assert np.mean(squares) == pytest.approx(0.49, rel=0.5)


def test_the_training_of_whole_networks_refuses_heads_which_share_one(backbone, labelled):
    members = fit_heads(backbone, labelled(5), n_members=2).members
    with pytest.raises(ValueError, match="share their backbone; train the backbone itself"):
        fit(members[0], labelled(5), seed=0, n_members=2, start_from=members)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"n_members": 1}, "at least two members"), ({"regularisation": 0.0}, "regularisation must be positive")],
)
def test_arguments_out_of_range_are_refused(backbone, labelled, changes, message):
    with pytest.raises(ValueError, match=message):
        fit_heads(backbone, labelled(3), **changes)


def test_a_head_in_closed_form_is_the_minimum_of_its_loss_with_stresses(backbone, salt, rattled):
    """The same loss by the derivative in a strain: what is left of its gradient is the pull towards prior weights."""
    generator, frames, z = np.random.default_rng(0), [*rattled(salt, 4), *rattled(salt * (2, 1, 1), 2)], 0.3
    for index, atoms in enumerate(frames):
        atoms.info[ENERGY], atoms.arrays[FORCES] = generator.normal(), generator.normal(size=(len(atoms), 3))
        if index % 3:
            atoms.info[STRESS] = 0.05 * generator.normal(size=6)
    dataset = Dataset.from_atoms(frames)
    weights = {"energy_weight": 2.0, "force_weight": 0.0, "stress_weight": 0.7}
    committee = fit_heads(backbone, dataset, n_members=2, seed=4, regularisation=z, **weights)
    draw = torch.Generator().manual_seed(4)
    noise = torch.randn(8, generator=draw, dtype=torch.float64)
    counts = torch.bincount(torch.randint(6, (6,), generator=draw), minlength=6).double()
    head = committee.members[0]
    structures = committee.prepare(dataset.structures)
    strain = torch.zeros(6, 3, 3, dtype=torch.float64, requires_grad=True)
    weight, shifts = head.weight.clone().requires_grad_(), head.atomic_energy.clone().requires_grad_()
    moved = replace(strained(structures, (strain + strain.mT) / 2), edges=structures.edges)
    energy, features = backbone.energy_and_features(moved)
    atoms = features @ weight + shifts[structures.atomic_numbers]
    energy = energy.index_add(0, structures.structure_index, atoms)
    (virial,) = torch.autograd.grad(energy.sum(), strain, create_graph=True)
    wanted = torch.nan_to_num(dataset.stress * dataset.structures.cells.det().abs()[:, None, None])
    known = dataset.stress.isfinite().all(-1).all(-1)
    of_stress = ((virial - wanted).square().sum((1, 2)) / structures.counts.square() * known * counts).sum()
    loss = 2.0 * (counts * (energy - dataset.energy).square()).sum() + 0.7 * of_stress
    of_weight, of_shifts = torch.autograd.grad(loss, (weight, shifts))
    torch.testing.assert_close(of_shifts, torch.zeros_like(shifts), rtol=0, atol=1e-6)
    ratio = (weight.detach() + of_weight / (2 * z)) / noise
    torch.testing.assert_close(ratio, ratio.mean().expand(8), rtol=1e-5, atol=0)
