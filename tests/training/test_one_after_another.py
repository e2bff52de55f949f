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
from sparring.training.jobs import initial_references, jobs_of, members_of, packed
from sparring.training.loss import Loss


class Pairwise(Architecture):
    """Energies of pairs by a small network of the distance, written as other packages write theirs.

    It has a loop over structures in Python, a table of reference energies, and a constant that is not saved.
    """

    kind = "pairwise"
    supports_vmap = False
    casts_buffers = True

    def __init__(self, cutoff=4.0, n_units=8):
        super().__init__()
        self.hyperparameters = {"cutoff": cutoff, "n_units": n_units}
        self.cutoff = cutoff
        self.network = torch.nn.Sequential(torch.nn.Linear(2, n_units), torch.nn.SiLU(), torch.nn.Linear(n_units, 1))
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
        product = (charges[structures.edges.source] * charges[structures.edges.target]).sqrt() / 8
        pair = self.network(torch.stack([lengths, product], dim=1)).squeeze(1) * envelope * self.scale / self.constant
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


def test_a_fine_tuned_model_is_better_than_one_from_scratch_where_labels_are_few(ammonia, rattled):
    """Pretrained on one stiffness and another zero of energy, tuned on twelve labels of a slightly stiffer potential."""
    pairs = [(one, ammonia) for one in rattled(ammonia, 60, stdev=0.08)]
    few = springs([(one, ammonia) for one in rattled(ammonia, 12, stdev=0.08, seed=5)], k=3.3, zero=-700.0)
    unseen = springs([(one, ammonia) for one in rattled(ammonia, 20, stdev=0.08, seed=9)], k=3.3, zero=-700.0)
    recipe = {"batch_size": 4, "ema_decay": 0.9, "n_members": 2}
    pretrained, _ = fit(Pairwise(), springs(pairs), seed=0, n_epochs=40, learning_rate=0.02, **recipe)
    tuned, _ = fit(
        pretrained.members[0], few, seed=1, start_from=pretrained.members, n_epochs=15, learning_rate=1e-3, **recipe
    )
    scratch, _ = fit(Pairwise(), few, seed=1, n_epochs=15, learning_rate=0.02, **recipe)
    assert evaluate(tuned, unseen).force_mae < 0.7 * evaluate(scratch, unseen).force_mae
    assert evaluate(tuned, unseen).energy_mae < 0.5


def test_modules_of_several_kinds_are_no_start(molecules):
    with pytest.raises(ValueError, match="modules of one architecture with the same hyperparameters"):
        fit(Pairwise(), molecules, seed=0, start_from=[Pairwise(), Pairwise(cutoff=3.0)])
