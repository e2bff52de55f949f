import copy
import dataclasses
import logging
import math

import numpy as np
import pytest
import torch

from sparring.atoms.dataset import ENERGY, FORCES, Dataset
from sparring.committee import Committee, digest
from sparring.evaluation import evaluate
from sparring.potentials import CoordinateMLP, SchNet
from sparring.potentials.schnet_fast import tiles
from sparring.potentials.stacking import cast, stack
from sparring.support.seeds import derive
from sparring.training import trainer
from sparring.training.fitting import fit, reference_energies
from sparring.training.low_energies import low_energy_weights
from sparring.training.splits import Splits
from sparring.training.trainer import SecondStage


@pytest.fixture
def network():
    return SchNet(n_features=8, n_filters=8, n_interactions=2, n_gaussians=8, cutoff=3.0)


@pytest.fixture
def datasets(ammonia, water, salt, rattled, with_random_labels):
    return {
        "one molecule": with_random_labels(rattled(ammonia, 10)),
        "molecules of different size": with_random_labels([*rattled(ammonia, 5), *rattled(water, 5)]),
        "crystals and molecules": with_random_labels([*rattled(salt, 4), *rattled(water, 3), *rattled(ammonia, 3)]),
    }


@pytest.fixture
def tiny(datasets):
    """A data set that is quick to fit, where what is learnt does not matter."""
    return datasets["one molecule"]


def well(n_points):
    """The double well 5x⁴ - 10x² + 1.5x."""
    x = np.linspace(-1.3, 1.3, n_points)
    return x, 5 * x**4 - 10 * x**2 + 1.5 * x, -(20 * x**3 - 20 * x + 1.5)


def weights_of(committee):
    return stack(list(committee.members))


def slow_loss(network, dataset, factors, *, energy_weight, force_weight):
    """Eq. 3 as it is written, one structure at a time, differentiable in the weights; each has a factor of its own."""
    total = 0.0
    for index, factor in enumerate(factors):
        one = dataset.take([index])
        structures = Committee([network]).prepare(one.structures)
        positions = structures.positions.clone().requires_grad_()
        energy = network(dataclasses.replace(structures, positions=positions))
        (gradient,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        total = total + factor * energy_weight * (energy[0] - one.energy[0]) ** 2
        total = total + factor * force_weight * (-gradient - one.forces).square().mean()
    return total / len(dataset)


def slow_factors(dataset, energy_scale):
    """How much less a structure weighs that lies above the lowest of its formula."""
    if energy_scale is None:
        return [1.0] * len(dataset)
    formulas = [atoms.get_chemical_formula() for atoms in dataset.to_atoms()]
    energies = dataset.energy.tolist()
    lowest = [min(e for e, other in zip(energies, formulas, strict=True) if other == one) for one in formulas]
    return [1 / (1 + (e - low) / energy_scale) ** 2 for e, low in zip(energies, lowest, strict=True)]


def slow_alignment(network, dataset, factors):
    """Reference energies that explain what the network leaves of the energies it trains on."""
    committee = Committee([network])
    predicted = torch.cat([committee.predict(dataset.take([i]).structures).energy[0] for i in range(len(dataset))])
    error = dataset.energy - predicted.detach()
    network.set_reference_energies(
        network.atomic_energy + reference_energies(dataset.structures, error, torch.tensor(factors))
    )


def slow_average(average, network, n_steps, decay):
    """A step of the exponential moving average of the weights, with the usual warm-up."""
    decay = min(decay, (1 + n_steps) / (10 + n_steps))
    with torch.no_grad():
        for mean, value in zip(average.parameters(), network.parameters(), strict=True):
            mean.copy_(decay * mean + (1 - decay) * value)


def slow_fit(
    architecture,
    dataset,
    splits,
    member,
    *,
    seed,
    n_epochs,
    batch_size,
    learning_rate,
    ema_decay,
    energy_scale,
    amsgrad,
    second_stage=None,
    **weights,
):
    """A member trained alone, by PyTorch's own Adam, on the same minibatches."""
    factors = slow_factors(dataset, energy_scale)
    architecture.set_reference_energies(torch.zeros(100, dtype=torch.float64))
    architecture.initialise(torch.Generator().manual_seed(derive(seed, "weights", member)))
    network = cast(architecture, dtype=torch.float64)
    slow_alignment(network, dataset.take(splits.train[member]), [factors[i] for i in splits.train[member]])
    held_out = splits.validation[member]

    def validation():
        alone = [slow_loss(judged, dataset.take([index]), [factors[index]], **weights).item() for index in held_out]
        return np.mean(np.sqrt(alone)) ** 2

    adam = torch.optim.Adam(network.parameters(), lr=learning_rate, amsgrad=amsgrad)
    judged, n_steps, best, best_epoch = copy.deepcopy(network) if ema_decay else network, 0, np.inf, 0
    train_curve, validation_curve, states = [], [], []
    for epoch in range(n_epochs + (second_stage.n_epochs if second_stage else 0)):
        if epoch == n_epochs:
            adam.param_groups[0]["lr"], best = second_stage.learning_rate, np.inf
            weights = {"energy_weight": second_stage.energy_weight, "force_weight": second_stage.force_weight}
        ids = torch.tensor(splits.train[member])
        order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(derive(seed, "order", member, epoch)))
        total = 0.0
        for chosen in ids[order].split(batch_size):
            adam.zero_grad()
            loss = slow_loss(network, dataset.take(chosen.tolist()), [factors[i] for i in chosen], **weights)
            loss.backward()
            adam.step()
            n_steps += 1
            if ema_decay:
                slow_average(judged, network, n_steps, ema_decay)
            total += loss.item() * len(chosen) / len(ids)
        train_curve.append(total)
        validation_curve.append(validation())
        states.append({name: value.clone() for name, value in judged.state_dict().items()})
        if validation_curve[-1] < best:
            best, best_epoch = validation_curve[-1], epoch
    network.load_state_dict(states[best_epoch])
    slow_alignment(network, dataset.take(splits.train[member]), [factors[i] for i in splits.train[member]])
    return train_curve, validation_curve, best_epoch, network.state_dict()


SECOND = SecondStage(n_epochs=2, learning_rate=3e-3, energy_weight=5.0, force_weight=0.2)


@pytest.mark.parametrize(
    ("ema_decay", "energy_scale", "amsgrad", "second_stage"),
    [(None, None, False, None), (0.3, None, True, None), (None, 0.2, False, SECOND), (0.3, None, True, SECOND)],
)
@pytest.mark.parametrize("kind", ["one molecule", "molecules of different size", "crystals and molecules"])
def test_members_learn_together_what_each_learns_alone_one_structure_at_a_time(
    datasets, network, kind, ema_decay, energy_scale, amsgrad, second_stage
):
    # Six structures in minibatches of four: the last one of every epoch is smaller, and counts. Of the average's decay
    # the first two of six steps are in the warm-up.
    dataset, splits = datasets[kind], Splits.draw(10, n_members=2, seed=1)
    options = {
        "seed": 5,
        "n_epochs": 3,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "energy_weight": 0.3,
        "force_weight": 0.7,
        "ema_decay": ema_decay,
        "energy_scale": energy_scale,
        "amsgrad": amsgrad,
        "second_stage": second_stage,
    }
    committee, report = fit(network, dataset, splits=splits, dtype=torch.float64, **options)
    for member in range(2):
        train, validation, best_epoch, state = slow_fit(network, dataset, splits, member, **options)
        np.testing.assert_allclose(report.train_loss[:, member], train, rtol=1e-8)
        np.testing.assert_allclose(report.validation_loss[:, member], validation, rtol=1e-8)
        assert report.best_epoch[member] == best_epoch
        for name, value in committee.members[member].state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=1e-6, atol=1e-9, msg=name)


def test_a_member_trained_alone_is_the_one_trained_with_others(tiny, network, monkeypatch):
    splits = Splits.draw(len(tiny), n_members=3, seed=0)
    options = {"seed": 7, "n_epochs": 4, "batch_size": 4, "learning_rate": 1e-3, "dtype": torch.float64}
    together, report = fit(network, tiny, splits=splits, **options)
    for member in range(3):
        own = Splits(
            test=splits.test, train=splits.train[member : member + 1], validation=splits.validation[member : member + 1]
        )
        # Alone it is the first of its committee; it keeps the random numbers that it has among the others.
        monkeypatch.setattr(trainer, "derive", lambda seed, what, _, *rest, m=member: derive(seed, what, m, *rest))
        alone, own_report = fit(network, tiny, splits=own, **options)
        monkeypatch.undo()
        np.testing.assert_allclose(own_report.validation_loss[:, 0], report.validation_loss[:, member], rtol=1e-10)
        for name, value in alone.members[0].state_dict().items():
            torch.testing.assert_close(value, together.members[member].state_dict()[name], rtol=1e-9, atol=1e-12)


def test_the_same_seed_gives_the_same_bits_and_another_seed_another_committee(tiny, network):
    one, same, other = (
        digest(weights_of(fit(network, tiny, seed=seed, n_members=2, n_epochs=3)[0])) for seed in (1, 1, 2)
    )
    assert one == same
    assert one != other


def test_members_start_from_different_weights_and_the_architecture_is_left_alone(tiny, network):
    before = digest(network.state_dict())
    committee, _ = fit(network, tiny, seed=0, n_members=3, n_epochs=1)
    assert committee.n_members == 3
    embeddings = weights_of(committee)["embedding.weight"]
    assert (embeddings[0] != embeddings[1]).any()
    assert (embeddings[1] != embeddings[2]).any()
    assert digest(network.state_dict()) == before


@pytest.fixture
def double_well(particle):
    atoms = []
    for x, energy, force in zip(*well(60), strict=True):
        atoms.append(particle(x))
        atoms[-1].info[ENERGY], atoms[-1].arrays[FORCES] = float(energy), [[force, 0.0, 0.0]]
    return Dataset.from_atoms(atoms)


def test_a_toy_well_is_learnt(double_well):
    committee, report = fit(
        CoordinateMLP(n_coordinates=1, n_layers=2, n_units=64),
        double_well,
        seed=0,
        n_members=2,
        n_epochs=300,
        batch_size=20,
        learning_rate=1e-2,
    )
    test = double_well.take(Splits.draw(60, n_members=2, seed=derive(0, "splits")).test)
    energy, forces, _ = committee.predict(test.structures, differentiable=False)
    assert (energy.mean(0) - test.energy).square().mean().sqrt().item() < 0.1
    assert (forces.mean(0) - test.forces).square().mean().sqrt().item() < 0.5
    assert (report.train_loss[-1] < 0.01 * report.train_loss[0]).all()


# What follows scripts the validation losses, to see what the trainer makes of them.


@pytest.fixture
def scripted(tiny, network, monkeypatch):
    """Fit with validation losses that are given, one row an epoch and one column a member."""

    def run(losses, **options):
        rows, starts = [torch.tensor(row, dtype=torch.float64) for row in losses], []
        original = trainer.Trainer.epoch

        def spied(self, state, *how):
            starts.append(state.weights.clone())
            return original(self, state, *how)

        monkeypatch.setattr(trainer.Trainer, "epoch", spied)
        monkeypatch.setattr(trainer.Trainer, "validate", lambda self, weights, after_batch: rows[len(starts) - 1])
        options = {"n_epochs": len(losses), **options}
        committee, report = fit(network, tiny, seed=0, n_members=len(losses[0]), **options)
        return committee, report, starts

    return run


def test_the_learning_rate_follows_pytorchs_plateau_schedule_for_every_member_by_itself(scripted):
    generator = np.random.default_rng(0)
    losses = np.stack([1.0 + 0.1 * generator.normal(size=40), np.linspace(2, 1, 40), np.full(40, 1.0)], axis=1)
    losses[:, 2] -= 1e-6 * np.arange(40)  # too slow to be progress
    _, report, _ = scripted(losses.tolist(), learning_rate=1e-3, patience=3, factor=0.5)
    for member in range(3):
        parameter = torch.nn.Parameter(torch.zeros(1))
        optimizer = torch.optim.SGD([parameter], lr=1e-3)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=3, factor=0.5, eps=0.0)
        expected = []
        for loss in losses[:, member]:
            expected.append(optimizer.param_groups[0]["lr"])
            scheduler.step(loss)
        np.testing.assert_allclose(report.learning_rate[:, member], expected, rtol=1e-12)
    assert (report.learning_rate[-1] < 1e-3).tolist() == [True, False, True]


def test_every_member_keeps_the_weights_of_its_best_epoch(scripted):
    losses = [[3.0, 1.0], [1.0, 2.0], [2.0, 0.99999], [1.5, 4.0]]
    committee, report, starts = scripted(losses)
    assert report.best_epoch.tolist() == [1, 2]
    assert report.validation_loss.tolist() == losses
    for member, best in enumerate(report.best_epoch.tolist()):
        kept = torch.cat([parameter.flatten() for parameter in committee.members[member].parameters()])
        assert (kept == starts[best + 1][member]).all()


def test_an_average_goes_on_from_the_best_weights_when_its_member_has_diverged(scripted):
    # In epoch 2 the member diverges; what it keeps later is near what it had been, not near what it blew up to.
    losses = [[1.0, 1.0], [0.9, 0.9], [0.8, math.nan], [0.7, 0.5], [0.6, 0.6]]
    committee, report, starts = scripted(losses, learning_rate=1e-3, ema_decay=0.999, dtype=torch.float64)
    assert report.rolled_back == (1,)
    assert report.best_epoch.tolist() == [4, 3]
    kept = torch.cat([parameter.flatten() for parameter in committee.members[1].parameters()])
    # An epoch is one step here, and the first after the way back: the average is two parts of eleven of where that
    # began, and the rest of where it led.
    torch.testing.assert_close(kept, (2 * starts[3][1] + 9 * starts[4][1]) / 11, rtol=0, atol=1e-12)
    assert (starts[3][1] - starts[4][1]).abs().max() > 1e-5


def test_errors_of_a_structure_at_the_energy_scale_weigh_half(datasets):
    dataset = datasets["molecules of different size"]
    weights = low_energy_weights(dataset, 0.2)
    np.testing.assert_allclose(weights, slow_factors(dataset, 0.2), rtol=1e-12)
    highest = dataset.take([int(weights.argmin())])
    formula = highest.to_atoms()[0].get_chemical_formula()
    lowest = min(a.info["REF_energy"] for a in dataset.to_atoms() if a.get_chemical_formula() == formula)
    at_half = low_energy_weights(dataset, float(highest.energy) - lowest)
    assert at_half.min().sqrt().item() == pytest.approx(0.5)


@pytest.mark.parametrize("energy_scale", [-0.1, 0.0, math.nan])
def test_an_energy_scale_that_is_none_is_an_error(tiny, network, energy_scale):
    with pytest.raises(ValueError, match="energy_scale must be a positive energy in eV, or None"):
        fit(network, tiny, seed=0, n_epochs=1, energy_scale=energy_scale)


@pytest.mark.parametrize("ema_decay", [-0.1, 0.0, 1.0, math.nan])
def test_a_decay_that_is_none_is_an_error(tiny, network, ema_decay):
    with pytest.raises(ValueError, match="ema_decay must be between 0 and 1, or None"):
        fit(network, tiny, seed=0, n_epochs=1, ema_decay=ema_decay)


@pytest.mark.parametrize("blown_up", [math.nan, math.inf, 2e4])
def test_a_member_that_diverges_once_goes_on_from_its_best_weights_more_slowly(scripted, caplog, blown_up):
    losses = [[1.0, 1.0], [0.9, 0.5], [0.8, 0.7], [0.7, blown_up], [0.6, 0.6], [0.5, 0.4]]
    with caplog.at_level(logging.WARNING, "sparring.training.fitting"):
        committee, report, starts = scripted(losses, learning_rate=1e-3)
    assert report.rolled_back == (1,)
    assert report.dropped == ()
    assert committee.n_members == 2
    assert (starts[4][1] == starts[2][1]).all()  # after epoch 3 it stands where epoch 1, its best, had left it
    assert (starts[4][0] != starts[2][0]).any()
    np.testing.assert_allclose(report.learning_rate[:, 1], [1e-3] * 4 + [1e-4] * 2)
    np.testing.assert_allclose(report.learning_rate[:, 0], 1e-3)
    assert "member 1 diverged in epoch 4; back to its best weights" in caplog.text


def test_weights_of_the_second_stage_are_kept_unless_it_diverges(scripted):
    # Losses of the first stage are of other weights, so that its lower ones do not count.
    losses = [[0.1, 0.1], [0.2, 0.05], [5.0, math.nan], [4.0, math.nan], [6.0, math.nan]]
    stage = SecondStage(n_epochs=3, learning_rate=1e-4, energy_weight=1.0)
    losses = [[*row, 1.0] for row in losses]
    committee, report, starts = scripted(losses, n_epochs=2, learning_rate=1e-3, second_stage=stage)
    assert report.best_epoch.tolist() == [3, 1, 2]
    assert report.dropped == (1,)
    np.testing.assert_allclose(report.learning_rate[:, 0], [1e-3, 1e-3, 1e-4, 1e-4, 1e-4])
    kept = torch.cat([parameter.flatten() for parameter in committee.members[0].parameters()])
    assert (kept == starts[4][0]).all()


@pytest.mark.parametrize("change", [{"n_epochs": 0}, {"learning_rate": 0.0}])
def test_a_second_stage_without_steps_is_an_error(tiny, network, change):
    stage = dataclasses.replace(SECOND, **change)
    with pytest.raises(ValueError, match="need n_epochs >= 1"):
        fit(network, tiny, seed=0, n_epochs=1, second_stage=stage)


def test_a_member_that_diverges_twice_is_dropped(scripted):
    losses = [[1.0, 1.0, 1.0], [0.9, math.nan, 0.9], [0.8, 0.9, 0.8], [0.7, math.inf, 0.7], [0.6, 0.01, 0.6]]
    committee, report, starts = scripted(losses)
    assert (report.rolled_back, report.dropped) == ((1,), (1,))
    assert committee.n_members == 2
    for kept, member in enumerate((0, 2)):
        assert report.best_epoch[member] == 4
        weights = torch.cat([parameter.flatten() for parameter in committee.members[kept].parameters()])
        assert (weights != starts[4][member]).any()


def test_fewer_than_two_members_left_is_an_error(scripted):
    diverged = [1.0, math.nan, math.nan]
    with pytest.raises(
        RuntimeError, match="2 of 3 members diverged twice by epoch 3, which leaves fewer than two; lower"
    ):
        scripted([[1.0, 1.0, 1.0], diverged, diverged, diverged])


def test_a_learning_rate_that_is_far_too_high_is_an_error(tiny, network):
    with pytest.raises(RuntimeError, match=r"fewer than two; lower learning_rate \(now 1e\+06\)"):
        fit(network, tiny, seed=0, n_members=2, n_epochs=10, learning_rate=1e6)


def test_the_others_do_not_notice_a_member_that_diverges(ammonia, rattled, with_random_labels, network):
    # Structure 5 is learnt by the first member only, and spoils its weights in every epoch.
    dataset = with_random_labels(rattled(ammonia, 12))
    broken = dataclasses.replace(dataset, forces=dataset.forces.clone())
    broken.forces[20:24] = torch.nan
    splits = Splits(
        test=(9, 10, 11),
        train=((0, 1, 2, 3, 4, 5), (0, 1, 2, 3, 4, 6), (1, 2, 3, 4, 6, 7)),
        validation=((6, 7, 8), (7, 8, 9), (8, 9, 0)),
    )
    options = {"seed": 0, "splits": splits, "n_epochs": 6, "batch_size": 3}
    (whole, whole_report), (rest, report) = (fit(network, one, **options) for one in (dataset, broken))
    assert report.dropped == (0,)
    np.testing.assert_array_equal(report.validation_loss[:, 1:], whole_report.validation_loss[:, 1:])
    for after, before in zip(rest.members, whole.members[1:], strict=True):
        assert digest(after.state_dict()) == digest(before.state_dict())


def test_elements_get_the_energies_that_explain_the_totals(ammonia, water, with_random_labels):
    atoms = [ammonia, water, ammonia + water, water + water + ammonia]
    dataset = with_random_labels(atoms)
    energies = {1: -13.6, 7: -1485.0, 8: -2041.0}
    total = torch.tensor([sum(energies[number] for number in one.numbers) for one in atoms], dtype=torch.float64)
    found = reference_energies(dataset.structures, total)
    # Ammonia and water cannot tell hydrogen from the rest, but every total is explained.
    for one, expected in zip(atoms, total.tolist(), strict=True):
        assert sum(found[number].item() for number in one.numbers) == pytest.approx(expected, rel=1e-12)
    hydrogen = with_random_labels([*atoms, ammonia[1:]])
    total = torch.cat([total, torch.tensor([3 * -13.6], dtype=torch.float64)])
    found = reference_energies(hydrogen.structures, total)
    for number, expected in energies.items():
        assert found[number].item() == pytest.approx(expected, rel=1e-10)
    assert int((found.abs() > 1e-9).sum()) == 3


def test_reference_energies_follow_the_structures_that_weigh_most(ammonia, rattled, with_random_labels):
    dataset = with_random_labels(rattled(ammonia, 2))
    energy, weight = torch.tensor([1.0, 5.0]).double(), torch.tensor([1.0, 1e-2]).double()
    found = reference_energies(dataset.structures, energy, weight)
    assert (found[7] + 3 * found[1]).item() == pytest.approx((1.0 + 5e-2) / 1.01, rel=1e-9)


def test_after_training_no_member_is_wrong_on_average_about_the_energies_it_has_trained_on(tiny, network):
    splits = Splits.draw(len(tiny), n_members=2, seed=0)
    committee, _ = fit(network, tiny, seed=0, splits=splits, n_epochs=2)
    energy = committee.predict(tiny.structures).energy
    for member, ids in enumerate(splits.train):
        assert (energy[member] - tiny.energy)[list(ids)].mean().item() == pytest.approx(0.0, abs=1e-5)


def test_reference_energies_do_not_look_at_the_test_set(tiny, network):
    splits = Splits.draw(len(tiny), n_members=2, seed=0)
    other = dataclasses.replace(tiny, energy=tiny.energy.clone(), forces=tiny.forces.clone())
    other.energy[list(splits.test)] += 100.0
    for index in splits.test:
        other.forces[4 * index : 4 * index + 4] += 10.0
    one, two = (fit(network, dataset, seed=0, splits=splits, n_epochs=2)[0] for dataset in (tiny, other))
    assert digest(weights_of(one)) == digest(weights_of(two))


def test_total_energies_of_a_thousand_electronvolts_are_learnt_like_any_other(tiny, network):
    shifted = dataclasses.replace(tiny, energy=tiny.energy - 4096.0)
    near, far = (fit(network, dataset, seed=0, n_members=2, n_epochs=3) for dataset in (tiny, shifted))
    np.testing.assert_allclose(far[1].validation_loss, near[1].validation_loss, rtol=1e-4)


def test_progress_counts_epochs(tiny, network):
    seen = []
    fit(network, tiny, seed=0, n_members=2, n_epochs=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("arguments", [{"n_epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_arguments_that_make_no_sense_are_an_error(tiny, network, arguments):
    with pytest.raises(ValueError, match="need n_epochs >= 1, batch_size >= 1 and learning_rate > 0, got"):
        fit(network, tiny, seed=0, n_members=2, **arguments)


def test_splits_of_another_data_set_are_an_error(tiny, network):
    with pytest.raises(ValueError, match="the splits are of 12 structures, the data set has 10"):
        fit(network, tiny, seed=0, splits=Splits.draw(12, n_members=2, seed=0))


def test_members_with_training_sets_of_different_size_are_an_error(tiny, network):
    splits = Splits(test=(0,), train=((1, 2, 3, 4, 5, 6), (1, 2)), validation=((7, 8, 9), (3, 4)))
    with pytest.raises(ValueError, match="training sets of one size, and validation sets of one size"):
        fit(network, tiny, seed=0, splits=splits)


def test_a_data_set_of_one_point_is_an_error(tiny, network):
    with pytest.raises(ValueError, match="a data set of 1 cannot be divided"):
        fit(network, tiny.take([0]), seed=0)


def test_without_patience_the_learning_rate_never_changes(tiny, network):
    _, report = fit(network, tiny, seed=0, n_members=2, n_epochs=8, learning_rate=1e-9, patience=None)
    assert (report.learning_rate == 1e-9).all()


def test_one_wild_label_in_the_validation_set_does_not_decide_when_learning_ends(double_well):
    wild = double_well.forces.clone()
    wild[7, 0] += 300.0
    validation = tuple(range(2, 60, 5))
    train = tuple(index for index in range(1, 60) if index not in validation)
    assert 7 in validation
    splits = Splits(test=(0,), train=(train, train), validation=(validation, validation))
    network = CoordinateMLP(n_coordinates=1, n_layers=2, n_units=32)
    options = {"seed": 0, "splits": splits, "n_epochs": 150, "learning_rate": 5e-3, "patience": None}
    clean, _ = fit(network, double_well, **options)
    misled, _ = fit(network, dataclasses.replace(double_well, forces=wild), **options)
    others = double_well.take([index for index in validation if index != 7])
    assert evaluate(misled, others).force_rmse < 1.5 * evaluate(clean, others).force_rmse


def test_a_member_whose_squared_gradients_overflow_does_not_pass_for_one_that_learns(tiny, network, monkeypatch):
    original = trainer.Trainer.epoch

    def overflowing(self, state, *how):
        state, loss = original(self, state, *how)
        state.square[0] = torch.inf
        return state, loss

    monkeypatch.setattr(trainer.Trainer, "epoch", overflowing)
    committee, report = fit(network, tiny, seed=0, n_members=3, n_epochs=2)
    assert report.dropped == (0,)
    assert committee.n_members == 2


def test_elements_beyond_the_table_are_refused_by_name(tiny, network):
    numbers = tiny.structures.atomic_numbers.clone()
    numbers[0] = 103
    heavy = dataclasses.replace(tiny, structures=dataclasses.replace(tiny.structures, atomic_numbers=numbers))
    with pytest.raises(ValueError, match=r"up to 99 can be learnt, the data set has atomic number 103"):
        fit(network, heavy, seed=0, n_epochs=1)


@pytest.mark.parametrize("kind", ["one molecule", "crystals and molecules"])
def test_how_many_members_learn_at_once_changes_nothing(datasets, network, kind, monkeypatch):
    curves = []
    for near in (1, 2**40):
        monkeypatch.setattr("sparring.training.loss.CACHE_BYTES", near)
        monkeypatch.setitem(tiles.TILE_BYTES, "cpu", near)
        _, report = fit(network, datasets[kind], seed=0, n_members=3, n_epochs=2, batch_size=4, dtype=torch.float64)
        curves.append(np.concatenate([report.train_loss, report.validation_loss]))
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-9)
