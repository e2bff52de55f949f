"""Networks, recipes and jobs: a committee of three members for each network, recipe, molecule, size and seed."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from sparring.evaluation import evaluate
from sparring.potentials import ACE, Architecture, PaiNN, SchNet
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.support.files import write_text
from sparring.training.fitting import fit
from sparring.training.splits import Splits
from sparring.training.trainer import SecondStage
from studies.common.jobs import Job
from studies.learning_curves.data import MOLECULES, split, write

__all__ = ["NETWORKS", "RECIPES", "Result", "jobs", "known"]

N_MEMBERS, BATCH_SIZE, N_STEPS = 3, 10, 1500
N_SEEDS, N_ATTACK_STEPS = 10, 4

NETWORKS: Mapping[str, Callable[[], Architecture]] = {
    "SchNet 128": partial(SchNet, n_features=128, n_filters=128, n_interactions=4, n_gaussians=32),
    "PaiNN 64": partial(PaiNN, n_features=64, n_interactions=3),
    "ACE 16": partial(ACE, n_features=16),
    "ACE 24": partial(ACE, n_features=24),
}
"""Networks by name."""

_BOTH: dict[str, object] = {"batch_size": BATCH_SIZE, "ema_decay": 0.99, "patience": 50}
RECIPES: dict[str, Mapping[str, object]] = {
    "one stage": {**_BOTH, "learning_rate": 1e-3, "energy_weight": 1.0, "factor": 0.5},
    "two stages": {**_BOTH, "learning_rate": 0.03, "energy_weight": 0.01, "factor": 0.8, "amsgrad": True},
}
"""Arguments of `fit` by name; two stages end with a third of the steps at another rate and energy weight."""
RATES = {"SchNet 128": 0.003, "PaiNN 64": 0.003}
"""Rates of the first stage of networks whose members diverge, or learn less, at 0.03."""
SECOND = {"learning_rate": 1e-3, "energy_weight": 1.0}

CURVES = (("ACE 16", "two stages"), ("SchNet 128", "one stage"))
"""The default and the network that costs as much a step, on all sizes."""
TABLE = (
    ("ACE 16", "one stage"),
    ("SchNet 128", "two stages"),
    ("ACE 24", "two stages"),
    ("PaiNN 64", "two stages"),
    ("PaiNN 64", "one stage"),
)
"""What stands beside them at one size."""
SIZES, TABLE_SIZE = (50, 100, 200, 400), 200


@dataclass(frozen=True, kw_only=True)
class Result:
    """One committee.

    Attributes:
        molecule: Name of the molecule.
        network: Name of the network.
        recipe: Name of the recipe.
        n: Number of labels, a fifth of which decides when to stop.
        seed: Seed of the choice of labels, of the weights and of the minibatches.
        energy_mae: Mean absolute error of energies without a constant shift, in eV.
        force_mae: Mean absolute error of force components, in eV/Å.
        training_seconds: Time of the processor for training.
        step_seconds: Time of the processor for a step of an attack on ten copies.
        n_threads: Number of threads.
    """

    molecule: str
    network: str
    recipe: str
    n: int
    seed: int
    energy_mae: float
    force_mae: float
    training_seconds: float
    step_seconds: float
    n_threads: int


def jobs(folder: Path, seeds: Sequence[int]) -> list[Job]:
    """All committees, those of the table first, after the labels that they need."""
    made = [_labels(folder, molecule) for molecule in MOLECULES]
    wanted = [(molecule, *one, TABLE_SIZE, seed) for seed in seeds for molecule in MOLECULES for one in CURVES]
    wanted += [(molecule, *one, n, seed) for seed in seeds for n in SIZES for molecule in MOLECULES for one in CURVES]
    wanted += [(molecule, *one, TABLE_SIZE, seed) for seed in seeds for molecule in MOLECULES for one in TABLE]
    return made + [_committee(folder, *one) for one in dict.fromkeys(wanted)]


def known(folder: Path) -> Iterator[Result]:
    """Results that have been computed."""
    for file in sorted(folder.glob("committees/*.json")):
        yield Result(**json.loads(file.read_text(encoding="utf-8")))


def _labels(folder: Path, molecule: str) -> Job:
    file = _file(folder, molecule)
    return Job(
        name=f"labels {molecule}",
        done=file.exists,
        ready=lambda: True,
        do=lambda: write(file, MOLECULES[molecule]),
    )


def _committee(folder: Path, molecule: str, network: str, recipe: str, n: int, seed: int) -> Job:
    name = f"{molecule} {network} {recipe} {n} {seed}"
    file = folder / "committees" / f"{name.replace(' ', '-')}.json"

    def do() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        result = measured(_file(folder, molecule), molecule, network, recipe, n, seed)
        write_text(file, json.dumps(asdict(result), indent=1) + "\n")

    return Job(name=name, done=file.exists, ready=_file(folder, molecule).exists, do=do)


def _file(folder: Path, molecule: str) -> Path:
    return folder / "labels" / f"{molecule.replace(' ', '-')}.extxyz"


def measured(file: Path, molecule: str, network: str, recipe: str, n: int, seed: int) -> Result:
    """Train a committee and measure it."""
    train, test = split(file, seed, n)
    splits = members_of(n, seed)
    n_epochs = max(3, round(N_STEPS / -(-len(splits.train[0]) // BATCH_SIZE)))
    arguments = dict(RECIPES[recipe])
    if recipe == "two stages":
        n_second = n_epochs // 3
        n_epochs -= n_second
        arguments["learning_rate"] = RATES.get(network, arguments["learning_rate"])
        arguments["second_stage"] = SecondStage(n_epochs=n_second, **SECOND)
    start = time.process_time()
    committee, _ = fit(NETWORKS[network](), train, splits=splits, seed=seed, n_epochs=n_epochs, **arguments)  # type: ignore[arg-type]
    training_seconds = time.process_time() - start
    errors = evaluate(committee, test, aligned=True)
    seeds = test.structures.take(range(N_SEEDS))
    times = []
    for _ in range(3):
        start = time.process_time()
        attack(committee, seeds, force_variance, n_steps=N_ATTACK_STEPS, seed=0)
        times.append((time.process_time() - start) / (N_ATTACK_STEPS + 1))
    return Result(
        molecule=molecule,
        network=network,
        recipe=recipe,
        n=n,
        seed=seed,
        energy_mae=errors.energy_mae,
        force_mae=errors.force_mae,
        training_seconds=training_seconds,
        step_seconds=min(times),
        n_threads=torch.get_num_threads(),
    )


def members_of(n: int, seed: int) -> Splits:
    """Every member leaves out another fifth, by which its best epoch is chosen; the test set is elsewhere."""
    orders = [np.random.default_rng((seed, member)).permutation(n) for member in range(N_MEMBERS)]
    k = max(4, n // 5)
    return Splits(
        test=(),
        train=tuple(tuple(sorted(order[k:].tolist())) for order in orders),
        validation=tuple(tuple(sorted(order[:k].tolist())) for order in orders),
    )
