"""Training of architectures that cannot be stacked, as those of other packages: one member after another."""

import numpy as np
import pytest
import torch

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.atoms.neighbors import edge_vectors
from sparring.committee import Committee, digest
from sparring.evaluation import evaluate
from sparring.potentials import Architecture
from sparring.potentials.base import N_ELEMENTS
from sparring.potentials.stacking import stack
from sparring.training.fitting import fit
from sparring.training.jobs import check_architecture, initial_references, jobs_of, members_of, packed
from sparring.training.loss import Loss
from sparring.training.replay import aligned_replay
from sparring.training.splits import Splits


class Pairwise(Architecture):
    """Energies of pairs by a small network of the distance, written as other packages write theirs.

    It has a loop over structures in Python, a table of reference energies, and a constant that is not saved.
    """

    kind = "pairwise"
    supports_vmap = False
    casts_buffers = True

    def __init__(self, cutoff=4.0, n_units=16):
        super().__init__()
        self.hyperparameters = {"cutoff": cutoff, "n_units": n_units}
        self.cutoff = cutoff
        self.network = torch.nn.Sequential(torch.nn.Linear(24, n_units), torch.nn.SiLU(), torch.nn.Linear(n_units, 1))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("references", torch.zeros(N_ELEMENTS, dtype=torch.float64))
        self.register_buffer("constant", torch.tensor(2.0), persistent=False)

    def initialise(self, generator):
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(0.3 * torch.randn(weight.shape, generator=generator))

    def for_data(self, dataset):
        made = Pairwise(**self.hyperparameters)
        made.scale.fill_(float(dataset.forces.square().mean().sqrt()))
        return made

    def set_reference_energies(self, energies):
        self.references.copy_(energies)

    def get_reference_energies(self):
        return self.references.double()

    def forward(self, structures):
        lengths = edge_vectors(structures).square().sum(1).sqrt()
        envelope = (1 - (lengths / self.cutoff).clamp(max=1) ** 2) ** 4
        charges = structures.atomic_numbers.to(lengths.dtype)
        product = (charges[structures.edges.source] * charges[structures.edges.target]).sqrt() / 3
        gaussians = torch.exp(-8 * (lengths.unsqueeze(1) - torch.linspace(0.7, 2.8, 8).to(lengths)) ** 2)
        features = torch.cat(
            [gaussians, gaussians * product.unsqueeze(1), gaussians * product.unsqueeze(1) ** 2], dim=1
        )
        pair = self.network(features).squeeze(1) * envelope * self.scale / self.constant
        owner = structures.structure_index[structures.edges.target]
        totals = [pair[owner == index].sum() for index in range(structures.n_structures)]
        atoms = self.references.double()[structures.atomic_numbers]
        return torch.stack(totals).double().index_add(0, structures.structure_index, atoms)


def springs(atoms, *, k=3.0, zero=-5.0):
    """Springs between all pairs of atoms, at rest in the geometry beside each, and an energy for each atom."""
    labelled = []
    for one, at_rest in atoms:
        vectors = one.positions[:, None] - one.positions[None]
        lengths = np.linalg.norm(vectors, axis=2) + np.eye(len(one))
        stretch = (
            lengths - np.linalg.norm(at_rest.positions[:, None] - at_rest.positions[None], axis=2) - np.eye(len(one))
        )
        one.info[ENERGY] = 0.25 * k * float((stretch**2).sum()) + zero * len(one)
        one.arrays[FORCES] = -k * (stretch[:, :, None] * vectors / lengths[:, :, None]).sum(1)
        labelled.append(one)
    return Dataset.from_atoms(labelled)


@pytest.fixture
def molecules(ammonia, water, rattled):
    pairs = [(one, at_rest) for at_rest in (ammonia, water) for one in rattled(at_rest, 14, stdev=0.08)]
    return springs(pairs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_training_lowers_the_loss_of_modules_that_cannot_be_stacked(molecules, dtype):
    recipe = {"n_epochs": 25, "batch_size": 5, "learning_rate": 0.02, "ema_decay": 0.9}
    committee, report = fit(Pairwise(), molecules, seed=0, n_members=3, dtype=dtype, **recipe)
    assert not committee.stacked
    assert {weight.dtype for member in committee.members for weight in member.parameters()} == {dtype}
    assert (report.validation_loss[report.best_epoch, range(3)] < 0.5 * report.validation_loss[0]).all()
    assert evaluate(committee, molecules).energy_mae < 1.0  # the zero of energy is that of the labels


def test_the_network_is_made_for_the_data(molecules):
    committee, _ = fit(Pairwise(), molecules, seed=0, n_members=2, n_epochs=1)
    root = molecules.forces.square().mean().sqrt()
    assert [float(member.scale) for member in committee.members] == pytest.approx([float(root)] * 2)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(molecules):
    def weights(seed):
        committee, _ = fit(Pairwise(), molecules, seed=seed, n_members=2, n_epochs=3, batch_size=5)
        return digest(stack(committee.members))

    assert weights(0) == weights(0)
    assert weights(0) != weights(1)


@pytest.fixture
def loss(molecules, salt, rattled):
    """The loss of members on a mixture of crystals and molecules, and weights for them."""

    def make(dataset=molecules, modules=()):
        jobs = jobs_of([dataset], [0], None, 2)
        members = members_of(jobs)
        data = packed(jobs, Pairwise(), None, torch.float64, "cpu")
        references = initial_references(jobs, members, modules)
        generator = torch.Generator().manual_seed(0)
        n_weights = sum(weight.numel() for weight in Pairwise().parameters())
        weights = 0.3 * torch.randn(2, n_weights, generator=generator, dtype=torch.float64)
        return Loss(Pairwise(), data, 0.7, 1.3, references, modules), weights

    return make


def test_the_gradient_in_the_weights_follows_finite_differences(loss):
    of_members, weights = loss()
    chosen = torch.tensor([[0, 15, 3], [20, 4, 1]])
    share = torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]], dtype=torch.float64)
    _, gradient = of_members.gradient(weights, chosen, share)
    direction = torch.randn(weights.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-5
    plus, minus = ((of_members.gradient(weights + s * direction, chosen, share)[0]) for s in (step, -step))
    expected = (plus - minus) / (2 * step)
    torch.testing.assert_close((gradient * direction).sum(1), expected, rtol=1e-7, atol=1e-9)


def test_a_minibatch_of_one_member_has_no_padding(loss):
    of_members, _ = loss()
    part = of_members.parts(3)[0][1]
    batch = part.data.gather(torch.tensor([[0, 15]]))  # ammonia and water
    assert batch.positions.shape == (1, 7, 3)
    assert of_members.members_at_once(3) == 1


def test_the_losses_are_those_of_one_structure_after_another(loss, molecules):
    of_members, weights = loss()
    rows = torch.tensor([[0, 20, 5], [15, 2, 27]])
    found = of_members.losses_of(weights, rows)
    for row, (member_weights, chosen) in enumerate(zip(weights, rows, strict=True)):
        module = Pairwise().double()
        torch.nn.utils.vector_to_parameters(member_weights, module.parameters())
        for column, index in enumerate(chosen.tolist()):
            one = molecules.take([index])
            prediction = Committee([module]).predict(one.structures)
            expected = 0.7 * (prediction.energy[0, 0] - one.energy[0]) ** 2
            expected = expected + 1.3 * (prediction.forces[0] - one.forces).square().mean()
            torch.testing.assert_close(found[row, column], expected.detach(), rtol=1e-9, atol=1e-12)


# --- fine-tuning ----------------------------------------------------------------------------------------------------


def test_fine_tuning_begins_with_the_weights_and_the_constants_of_the_modules(molecules):
    trained, _ = fit(Pairwise(), molecules, seed=0, n_members=2, n_epochs=2, dtype=torch.float64)
    first, second = trained.members
    second.scale.fill_(7.0)
    tuned, _ = fit(first, molecules, seed=1, n_members=3, start_from=[first, second], n_epochs=1, learning_rate=1e-12)
    for member, source in zip(tuned.members, [first, second, first], strict=True):
        assert member.scale == source.scale
        for new, old in zip(member.parameters(), source.parameters(), strict=True):
            torch.testing.assert_close(new, old.float(), rtol=1e-6, atol=1e-9)


def test_members_that_start_from_one_module_still_differ(molecules):
    module = fit(Pairwise(), molecules, seed=0, n_members=2, n_epochs=2)[0].members[0]
    tuned, _ = fit(module, molecules, seed=1, n_members=3, start_from=[module], n_epochs=3, learning_rate=1e-3)
    assert len({digest(stack([member])) for member in tuned.members}) == 3


def test_bootstrap_samples_alone_make_members_differ(molecules):
    """Members have the same weights, training set and minibatch, of all structures, so that they learn the same."""
    module = fit(Pairwise(), molecules, seed=0, n_members=2, n_epochs=2)[0].members[0]
    splits = Splits.draw(len(molecules), n_members=3, seed=0, shared=True)
    recipe = {"splits": splits, "start_from": [module], "n_epochs": 4, "learning_rate": 1e-2, "dtype": torch.float64}

    def forces(bootstrap, seed=1):
        committee, _ = fit(module, molecules, seed=seed, bootstrap=bootstrap, **recipe)
        return committee.predict(molecules.structures, differentiable=False).forces

    alike, different = forces(False), forces(True)
    assert alike.std(0).max() < 1e-9
    assert different.std(0).max() > 1e-4
    assert torch.equal(different, forces(True))
    assert not torch.equal(different, forces(True, seed=2))


def test_a_fine_tuned_model_is_better_than_one_from_scratch_where_labels_are_few(ammonia, rattled):
    """Trained on one stiffness and zero of energy before, tuned on twelve labels of a slightly stiffer potential."""
    pairs = [(one, ammonia) for one in rattled(ammonia, 60, stdev=0.08)]
    few = springs([(one, ammonia) for one in rattled(ammonia, 12, stdev=0.08, seed=5)], k=3.3, zero=-700.0)
    unseen = springs([(one, ammonia) for one in rattled(ammonia, 20, stdev=0.08, seed=9)], k=3.3, zero=-700.0)
    recipe = {"batch_size": 4, "ema_decay": 0.9, "n_members": 2}
    pretrained, _ = fit(Pairwise(), springs(pairs), seed=0, n_epochs=20, learning_rate=0.02, **recipe)
    tune = {"start_from": pretrained.members, "learning_rate": 2e-3, **recipe}
    tuned, _ = fit(pretrained.members[0], few, seed=1, n_epochs=15, **tune)
    scratch, _ = fit(Pairwise(), few, seed=1, n_epochs=15, learning_rate=0.02, **recipe)
    assert evaluate(tuned, unseen).force_mae < 0.5 * evaluate(scratch, unseen).force_mae
    assert evaluate(tuned, unseen).energy_mae < 0.05  # of -2800 eV


@pytest.mark.parametrize(("architecture", "cutoffs"), [(4.0, (4.0, 3.0)), (3.0, (4.0, 4.0))])
def test_a_start_from_modules_that_are_not_all_of_the_architecture_is_refused(molecules, architecture, cutoffs):
    with pytest.raises(ValueError, match="modules of one architecture with the same hyperparameters"):
        fit(Pairwise(cutoff=architecture), molecules, seed=0, start_from=[Pairwise(cutoff=c) for c in cutoffs])


def test_a_module_that_is_no_architecture_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="got Linear; make your module one: a subclass with kind, hyperparameters"):
        check_architecture(torch.nn.Linear(1, 1))


# --- replay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_replay_is_in_every_training_set_once_with_its_weight_and_in_no_other(molecules, ammonia, rattled, bootstrap):
    old = springs([(one, ammonia) for one in rattled(ammonia, 5, seed=7)], zero=-40.0)
    (job,) = jobs_of([molecules], [0], None, 2, replay=old, bootstrap=bootstrap)
    assert len(job.dataset) == len(molecules) + 5
    assert all([index for index in ids if index >= 28] == list(range(28, 33)) for ids in job.splits.train)
    assert all((len(set(ids)) < len(ids)) == bootstrap for ids in job.splits.train)
    assert all(max((*ids, *job.splits.test)) < 28 for ids in job.splits.validation)
    weights = packed([job], Pairwise(), None, torch.float64, "cpu", 0.25).structure_weight
    assert weights.tolist() == [1.0] * 28 + [0.25] * 5


def test_energies_of_a_replay_get_the_zero_of_the_new_labels(molecules, ammonia, rattled):
    """The same springs with another energy for each atom are the same labels once that is taken out."""
    geometries = rattled(ammonia, 6, seed=7)
    new, old = (springs([(one.copy(), ammonia) for one in geometries], zero=zero) for zero in (-5.0, -40.0))
    shifted = aligned_replay(old, molecules, None)
    # Without a model, what the springs store on average counts as energy of atoms.
    torch.testing.assert_close(shifted.energy - shifted.energy.mean(), new.energy - new.energy.mean())
    assert float((shifted.energy - new.energy).abs().max()) < 0.2
    assert torch.equal(shifted.forces, old.forces)


def test_a_replay_keeps_the_error_on_the_old_data_low(ammonia, water, rattled):
    """Tuned on stiffer ammonia alone, a model of ammonia and water forgets water; with a replay it does not."""

    def of(molecule, seed, n, k=3.0):
        return springs([(one, molecule) for one in rattled(molecule, n, stdev=0.08, seed=seed)], k=k)

    old, new, old_water = of(ammonia, 1, 30) + of(water, 2, 30), of(ammonia, 3, 20, k=5.0), of(water, 4, 15)
    recipe = {"batch_size": 5, "ema_decay": 0.9, "n_members": 2, "learning_rate": 0.02}
    before, _ = fit(Pairwise(), old, seed=0, n_epochs=20, **recipe)
    tune = {"seed": 1, "start_from": before.members, "n_epochs": 20, **recipe}
    without, _ = fit(before.members[0], new, **tune)
    replayed, _ = fit(before.members[0], new, replay=of(water, 2, 30), **tune)
    with pytest.raises(ValueError, match="has O, on which the committee was not trained"):
        evaluate(without, old_water)
    forgotten = evaluate(without.without_domain(), old_water).force_mae
    assert evaluate(replayed, old_water).force_mae < 0.7 * forgotten
