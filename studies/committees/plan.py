"""Ways to make members disagree, and their jobs: one committee for each way, network and seed."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from sparring.atoms.dataset import Dataset
from sparring.committee import Committee
from sparring.evaluation import Differences, predict_structures
from sparring.potentials import ACE, Architecture, SchNet
from sparring.proposers.ascent import attack
from sparring.proposers.boltzmann import boltzmann_weighted
from sparring.proposers.objectives import force_variance
from sparring.support.files import write_text
from sparring.training.fitting import fit
from sparring.training.mixed import fit_mixed
from sparring.training.trainer import SecondStage
from sparring.units import quantity
from studies.committees.data import SETS, labels, test, train
from studies.common.jobs import Job
from studies.learning_curves.data import write

__all__ = ["ARMS", "ATTACKED", "NETWORKS", "WAYS", "Agreement", "Result", "arguments_of", "jobs", "known", "label_file"]

N_LABELS, N_MEMBERS, BATCH_SIZE, N_STEPS = 100, 4, 10, 600
N_SEEDS, N_ATTACK_STEPS = 30, 40
ATTACKED = "attacks"
"""Name of the test set that each committee makes by itself."""

NETWORKS: Mapping[str, Callable[[], Architecture]] = {
    "SchNet 64": partial(SchNet, n_features=64, n_filters=64, n_interactions=3, n_gaussians=32),
    "ACE 16": partial(ACE, n_features=16),
}
"""Networks by name."""
BOTH = "SchNet 64 + ACE 16"

WAYS: Mapping[str, Mapping[str, object]] = {
    "plain": {},
    "prior 1": {"prior_scale": 1.0},
    "prior 3": {"prior_scale": 3.0},
    "bootstrap": {"bootstrap": True},
    "prior 0.3": {"prior_scale": 0.3},
}
"""Arguments of `fit` by the name of the way."""
ARMS = ((BOTH, "plain"), *((network, way) for way in WAYS for network in NETWORKS))


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Uncertainties of forces beside errors on a test set.

    Attributes:
        rmse: Root mean square error of force components, in eV/Å.
        sigma: Root of the mean of the variance of forces (Eq. 7), in eV/Å.
        rank: Spearman's rank correlation of sigma and error over structures.
        ratio: Root mean square over structures of error over sigma; one where sigma can be believed.
        n: Number of structures.
    """

    rmse: float
    sigma: float
    rank: float
    ratio: float
    n: int

    @classmethod
    def of(cls, committee: Committee, dataset: Dataset) -> "Agreement":
        """Compare a committee with labels; both sides are of a component of a force."""
        predicted = predict_structures(committee, dataset.structures)
        differences = Differences.of(predicted, dataset)
        squares = np.bincount(differences.owner, np.square(differences.force), len(dataset))
        error = squares / np.bincount(differences.owner, minlength=len(dataset))
        variance = predicted.force_variance
        return cls(
            rmse=float(np.sqrt(error.mean())),
            sigma=float(np.sqrt(variance.mean())),
            rank=float(spearmanr(variance, error).statistic),
            ratio=float(np.sqrt((error / variance).mean())),
            n=len(dataset),
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """One committee.

    Attributes:
        network: Name of the network, or of both.
        way: Name of the way in which members are made to disagree.
        seed: Seed of the choice of labels, of the weights and of the minibatches.
        sets: Comparison of sigma and error by the name of the test set.
    """

    network: str
    way: str
    seed: int
    sets: Mapping[str, Agreement]


def jobs(folder: Path, seeds: Sequence[int]) -> list[Job]:
    """Labels, and all committees."""
    made = [
        Job(name=f"labels {name}", done=file.exists, ready=lambda: True, do=partial(write, file, SETS[name]))
        for name in SETS
        for file in [label_file(folder, name)]
    ]
    return made + [_committee(folder, network, way, seed) for seed in seeds for network, way in ARMS]


def known(folder: Path) -> Iterator[Result]:
    """Results that have been computed."""
    for file in sorted(folder.glob("disagreement/*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        yield Result(**{**row, "sets": {name: Agreement(**values) for name, values in row["sets"].items()}})


def label_file(folder: Path, name: str) -> Path:
    """File of the structures of a test set."""
    return folder / "labels" / f"{name.replace(' ', '-')}.extxyz"


def _committee(folder: Path, network: str, way: str, seed: int) -> Job:
    name = f"{network} {way} {seed}"
    file = folder / "disagreement" / f"{name.replace(' ', '-')}.json"

    def do() -> None:
        result = measured(folder, network, way, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(asdict(result), indent=1) + "\n")

    return Job(name=name, done=file.exists, ready=lambda: all(label_file(folder, one).exists() for one in SETS), do=do)


def measured(folder: Path, network: str, way: str, seed: int) -> Result:
    """Train a committee, attack it, and compare its sigma with errors."""
    data = train(label_file(folder, next(iter(SETS))), N_LABELS, seed)
    arguments = {**arguments_of(N_LABELS, N_STEPS), **WAYS[way], "seed": seed, "n_members": N_MEMBERS}
    if network == BOTH:
        committee, _ = fit_mixed([make() for make in NETWORKS.values()], data, **arguments)  # type: ignore[arg-type]
    else:
        committee, _ = fit(NETWORKS[network](), data, **arguments)  # type: ignore[arg-type]
    sets = {name: Agreement.of(committee, test(label_file(folder, name), name)) for name in SETS}
    sets[ATTACKED] = Agreement.of(committee, attacked(committee, data, seed))
    return Result(network=network, way=way, seed=seed, sets=sets)


def arguments_of(n: int, n_steps: int) -> dict[str, object]:
    """Arguments of `fit` for n labels: two stages, of as many steps whatever the number of labels."""
    n_epochs = max(3, round(n_steps / -(-round(0.6 * n) // BATCH_SIZE)))
    n_second = n_epochs // 3
    return {
        "batch_size": BATCH_SIZE,
        "n_epochs": n_epochs - n_second,
        "learning_rate": 3e-3,
        "energy_weight": 0.01,
        "factor": 0.8,
        "amsgrad": True,
        "ema_decay": 0.99,
        "second_stage": SecondStage(n_epochs=n_second, learning_rate=1e-3, energy_weight=1.0),
    }


def attacked(committee: Committee, data: Dataset, seed: int) -> Dataset:
    """Structures that attacks on the committee end at, with labels."""
    chosen = np.random.default_rng(seed).permutation(len(data))[:N_SEEDS]
    objective = boltzmann_weighted(force_variance, kT=quantity("20 kcal/mol", "energy"), reference=data)
    result = attack(committee, data.structures.take(chosen), objective, n_steps=N_ATTACK_STEPS, seed=seed)
    return Dataset.from_atoms(labels(result.structures.to_atoms()))
