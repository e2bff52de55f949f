import numpy as np
import pytest
import torch

from sparring.potentials import CoordinateMLP, SchNet
from sparring.potentials.stacking import stack
from sparring.training import trainer
from sparring.training.fitting import TrainingError, fit, fit_many
from sparring.training.minibatches import Rows
from sparring.training.splits import Splits

OPTIONS = {"n_members": 2, "n_epochs": 4, "batch_size": 4, "learning_rate": 2e-3, "dtype": torch.float64}


@pytest.fixture
def cases(ammonia, water, particle, rattled, with_random_labels):
    """Architectures with data sets of different size, on which committees are trained at once."""
    schnet = SchNet(n_features=6, n_filters=6, n_interactions=1, n_gaussians=6, cutoff=3.0)
    mlp = CoordinateMLP(n_coordinates=2, n_layers=2, n_units=8)

    def wells(*sizes):
        points = np.random.default_rng(0).normal(size=(sum(sizes), 2))
        sets = np.split(points, np.cumsum(sizes)[:-1])
        return [with_random_labels([particle(x, y) for x, y in one], seed=k) for k, one in enumerate(sets)]

    def molecules(*sets):
        return [with_random_labels(atoms, seed=k) for k, atoms in enumerate(sets)]

    return {
        "wells of one size": (mlp, wells(12, 12)),
        "wells of three sizes": (mlp, wells(9, 17, 13)),
        "one molecule": (schnet, molecules(rattled(ammonia, 9), rattled(ammonia, 15))),
        "different molecules": (schnet, molecules(rattled(ammonia, 12), [*rattled(water, 5), *rattled(ammonia, 5)])),
    }


@pytest.mark.parametrize("kind", ["wells of one size", "wells of three sizes", "one molecule", "different molecules"])
@pytest.mark.parametrize("more", [{}, {"ema_decay": 0.9, "energy_scale": 0.5, "patience": 1, "factor": 0.7}])
def test_committees_trained_at_once_are_those_trained_one_after_another(cases, kind, more):
    network, datasets = cases[kind]
    seeds = [3, 5, 7][: len(datasets)]
    options = {**OPTIONS, **more}
    for dataset, seed, (committee, report) in zip(
        datasets, seeds, fit_many(network, datasets, seeds=seeds, **options), strict=True
    ):
        alone, expected = fit(network, dataset, seed=seed, **options)
        for name in ("train_loss", "validation_loss", "learning_rate"):
            np.testing.assert_allclose(getattr(report, name), getattr(expected, name), rtol=1e-8)
        assert (report.best_epoch == expected.best_epoch).all()
        assert committee.domain == alone.domain
        weights, wanted = stack(committee.members), stack(alone.members)
        for name, values in weights.items():
            torch.testing.assert_close(values, wanted[name], rtol=1e-7, atol=1e-9, msg=name)


def test_splits_of_any_size_may_be_given_and_committees_of_different_size(cases):
    network, datasets = cases["wells of three sizes"]
    splits = [Splits.draw(len(one), n_members=n, seed=n) for n, one in zip((2, 4, 3), datasets, strict=True)]
    options = {key: value for key, value in OPTIONS.items() if key != "n_members"}
    results = fit_many(network, datasets, seeds=[0, 0, 1], splits=splits, **options)
    assert [committee.n_members for committee, _ in results] == [2, 4, 3]
    alone, _ = fit(network, datasets[1], seed=0, splits=splits[1], **options)
    one, other = (c.predict(datasets[1].structures, differentiable=False).forces for c in (results[1][0], alone))
    torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


def test_one_committee_that_diverges_is_named_by_its_data(cases, monkeypatch):
    network, datasets = cases["wells of one size"]
    monkeypatch.setattr(
        trainer.Trainer,
        "validate",
        lambda self, weights, after_batch: torch.tensor([1.0, 1.0, np.inf, np.inf], dtype=torch.float64),
    )
    with pytest.raises(TrainingError, match="2 of 2 members diverged twice by epoch 2"):
        fit_many(network, datasets, seeds=[0, 1], **OPTIONS)


@pytest.mark.parametrize(("n_datasets", "seeds"), [(0, []), (2, [1])])
def test_there_must_be_a_seed_for_each_data_set(cases, n_datasets, seeds):
    network, datasets = cases["wells of one size"]
    with pytest.raises(ValueError, match=rf"as many seeds and splits as data sets, got {len(seeds)}, none and"):
        fit_many(network, datasets[:n_datasets], seeds=seeds, **OPTIONS)


def test_rows_are_filled_up_and_padding_has_no_weight():
    rows = Rows.of([[5, 6, 7, 8, 9], [1, 2, 3], [4]], torch.device("cpu"))
    batches = list(rows.batches(2))
    assert [chosen.tolist() for chosen, _ in batches] == [[[5, 6], [1, 2], [4, 4]], [[7, 8], [3, 1]], [[9]]]
    assert [None if share is None else share.tolist() for _, share in batches] == [
        [[0.5, 0.5], [0.5, 0.5], [1.0, 0.0]],
        [[0.5, 0.5], [1.0, 0.0]],
        None,
    ]
