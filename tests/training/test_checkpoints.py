import logging
import os
import random
import re
import shutil
import signal

import numpy as np
import pytest
import torch

from sparring.potentials import ACE, CoordinateMLP, PaiNN, SchNet
from sparring.support.stopping import Stopped, stopping_by_signals
from sparring.training import adam, trainer
from sparring.training.fitting import fit
from sparring.training.mixed import fit_mixed
from sparring.training.trainer import SecondStage
from sparring.training.weak_labels import Taylor

SMALL = {"n_features": 4, "n_filters": 4, "n_interactions": 1, "n_gaussians": 4, "cutoff": 3.0}


class Alone(SchNet):
    """A network whose members train one after another."""

    kind = "alone"
    supports_vmap = False

    def stacked_model(self, weights):
        return None


def networks():
    return SchNet(**SMALL), PaiNN(n_features=4, n_interactions=1, n_radial=4, cutoff=3.0)


WAYS = {
    "all members at once": {},
    "one after another": {"architecture": Alone(**SMALL)},
    "two stages, averages and AMSGrad": {
        "second_stage": SecondStage(n_epochs=2, learning_rate=1e-3, energy_weight=1.0),
        "ema_decay": 0.9,
        "amsgrad": True,
    },
    "a fine-tuning with a bootstrap sample": {"start_from": [SchNet(**SMALL)], "bootstrap": True},
    "priors and displaced structures": {"prior_scale": 1.0, "taylor": Taylor()},
    "rates that fall at once": {"patience": 1, "factor": 0.1, "dtype": torch.float64},
    "two architectures": {"architectures": networks()},
    "equivariant": {"architecture": ACE(n_features=4, n_interactions=1, n_radial=4, cutoff=3.0)},
}


@pytest.fixture
def dataset(ammonia, water, rattled, with_random_labels):
    return with_random_labels([*rattled(ammonia, 5), *rattled(water, 5)])


def trained(dataset, way, **more):
    arguments = {"seed": 3, "n_members": 2, "n_epochs": 3, "batch_size": 2, "learning_rate": 0.01, **WAYS[way], **more}
    if "architectures" in arguments:
        return fit_mixed(arguments.pop("architectures"), dataset, **{**arguments, "n_members": 4})
    return fit(arguments.pop("architecture", SchNet(**SMALL)), dataset, **arguments)


class Interrupting:
    """Steps of Adam, one of which sends a signal to this process or fails.

    The state is torn when the step fails, as it is when a process is killed.
    """

    def __init__(self, monkeypatch):
        self.left, self.fails, self.n_steps = 0, False, 0
        monkeypatch.setattr(trainer, "adam", self)

    def __call__(self, state, gradient, **options):
        self.left, self.n_steps = self.left - 1, self.n_steps + 1
        after = adam.adam(state, gradient, **options)
        if self.left == 0 and self.fails:
            raise RuntimeError("killed")
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return after


@pytest.fixture
def interrupting(monkeypatch):
    return Interrupting(monkeypatch)


def same(one, other):
    """True if two results of a training agree in every bit."""
    names = ("train_loss", "validation_loss", "learning_rate", "best_epoch")
    curves = all(np.array_equal(getattr(one[1], name), getattr(other[1], name)) for name in names)
    members = [member.state_dict() for committee, _ in (one, other) for member in committee.members]
    half = len(members) // 2
    return curves and all(
        torch.equal(first[name], second[name])
        for first, second in zip(members[:half], members[half:], strict=True)
        for name in first | second
    )


QUICK = ("one after another", "two stages, averages and AMSGrad")


@pytest.mark.parametrize(
    ("way", "fails"),
    [
        *(pytest.param(way, False, marks=[] if way in QUICK else pytest.mark.slow) for way in WAYS),
        ("all members at once", True),
        pytest.param("two stages, averages and AMSGrad", True, marks=pytest.mark.slow),
    ],
    ids=lambda value: {False: "stopped by a signal", True: "killed"}.get(value, value),
)
def test_a_training_that_is_interrupted_again_and_again_ends_with_the_bits_of_an_unbroken_one(
    way, fails, dataset, interrupting, tmp_path
):
    unbroken, n_steps = trained(dataset, way), interrupting.n_steps
    interrupting.fails, interrupting.n_steps = fails, 0
    draw, n_interrupted = random.Random(way), 0
    while True:
        interrupting.left = draw.randint(2, 7)
        try:
            with stopping_by_signals():
                again = trained(dataset, way, checkpoint=tmp_path, checkpoint_interval=0.0 if fails else 1e6)
            break
        except (Stopped, RuntimeError):
            n_interrupted += 1
    assert n_interrupted
    assert interrupting.n_steps == n_steps + n_interrupted * fails
    assert same(again, unbroken)


def test_the_same_call_after_the_end_takes_no_step(dataset, interrupting, tmp_path):
    first = trained(dataset, "two architectures", checkpoint=tmp_path)
    n_steps = interrupting.n_steps
    assert same(trained(dataset, "two architectures", checkpoint=tmp_path), first)
    assert interrupting.n_steps == n_steps


def test_a_signal_during_the_validation_does_not_wait_for_its_end(dataset, monkeypatch, tmp_path):
    unbroken, validated = trained(dataset, "all members at once"), []
    losses_of = trainer.Loss.losses_of

    def watched(self, weights, chosen):
        validated.append(len(chosen))
        if len(validated) == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        return losses_of(self, weights, chosen)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Loss, "losses_of", watched)
        with pytest.raises(Stopped, match="stopped by SIGUSR1"), stopping_by_signals():
            trained(dataset, "all members at once", checkpoint=tmp_path)
    assert len(validated) == 3
    assert same(trained(dataset, "all members at once", checkpoint=tmp_path), unbroken)


def test_two_checkpoints_are_kept_and_a_damaged_one_is_passed_over_by_name(dataset, tmp_path, caplog):
    whole = tmp_path / "whole"
    unbroken = trained(dataset, "all members at once", checkpoint=whole, checkpoint_interval=0.0)
    older, newest = sorted(file.name for file in whole.iterdir())
    assert re.fullmatch(r"training-\d{6}.safetensors", newest)
    content = (whole / newest).read_bytes()
    for number, damaged in enumerate((content[:-1], content[:50], b"", *flipped(content))):
        folder = tmp_path / str(number)
        shutil.copytree(whole, folder)
        (folder / newest).write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert same(trained(dataset, "all members at once", checkpoint=folder), unbroken)
        assert f"{folder / newest} is damaged and is not used" in caplog.text
        assert f"training goes on from {folder / older}, in epoch" in caplog.text


def flipped(content):
    """The content with one bit flipped, in the header and in the numbers."""
    for place in (10, 60, len(content) // 2, len(content) - 1):
        yield content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


OTHERS = {
    "seed": {"seed": 4},
    "learning rate": {"learning_rate": 0.02},
    "number of epochs": {"n_epochs": 4},
    "weight": {"energy_weight": 0.2},
    "batch": {"batch_size": 3},
    "average": {"ema_decay": 0.9},
    "network": {"architecture": SchNet(**{**SMALL, "cutoff": 2.5})},
    "weights to start from": {"start_from": [SchNet(**SMALL)]},
    "data": {},
}


@pytest.mark.parametrize(
    "other", [one if one == "weight" else pytest.param(one, marks=pytest.mark.slow) for one in OTHERS]
)
def test_a_checkpoint_of_another_training_is_not_used_and_a_line_says_so(
    other, dataset, with_random_labels, tmp_path, caplog
):
    trained(dataset, "all members at once", checkpoint=tmp_path)
    change = OTHERS[other]
    if other == "data":
        dataset = with_random_labels(dataset.to_atoms(), seed=9)
    unbroken = trained(dataset, "all members at once", **change)
    with caplog.at_level(logging.WARNING):
        again = trained(dataset, "all members at once", checkpoint=tmp_path, **change)
    assert "is of a training with another configuration, other data or another seed; it is not used" in caplog.text
    assert same(again, unbroken)


def test_a_training_without_a_folder_writes_nothing(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(CoordinateMLP(n_layers=1, n_units=4), dataset, seed=0, n_members=2, n_epochs=1)
    assert not list(tmp_path.iterdir())


def test_an_interval_that_is_no_time_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="checkpoint_interval must be a number of seconds from 0 on, got -1"):
        trained(dataset, "all members at once", checkpoint=tmp_path, checkpoint_interval=-1.0)
