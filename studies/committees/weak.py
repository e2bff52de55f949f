"""Labels of little cost: Taylor loss and Hessian-vector labels beside as many gradients of other structures."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ase import Atoms

from sparring.atoms.dataset import Dataset
from sparring.evaluation import evaluate
from sparring.labels.hessian import hessian_vector_labels
from sparring.potentials import ACE
from sparring.support.files import write_text
from sparring.training.fitting import fit
from sparring.training.weak_labels import Taylor
from studies.committees.data import INSIDE, labels, test, train
from studies.committees.plan import arguments_of, label_file
from studies.common.jobs import Job

__all__ = ["N_FEW", "OUTSIDE", "WAYS", "Result", "jobs", "known"]

N_FEW, N_MEMBERS, N_STEPS = 25, 2, 400
OUTSIDE = "500 K"


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to spend calculations.

    Attributes:
        n: Number of labelled structures.
        hessian: True for a Hessian-vector label of each.
        displaced: True for the displaced structures of these labels as structures of their own.
        options: Arguments of `fit`.
    """

    n: int = N_FEW
    hessian: bool = False
    displaced: bool = False
    options: Mapping[str, object]


WAYS: Mapping[str, Way] = {
    "plain": Way(options={}),
    "Taylor 0.005 Å": Way(options={"taylor": Taylor(length=0.005)}),
    "Hessian 0.01": Way(hessian=True, options={"hessian_weight": 0.01}),
    "displaced structures": Way(hessian=True, displaced=True, options={"hessian_weight": 0.0}),
    "twice the structures": Way(n=2 * N_FEW, options={}),
}
"""Ways by name; the last three cost twice the gradients of the first two."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One committee; errors are root mean square ones of force components, in eV/Å.

    Attributes:
        way: Name of the way.
        seed: Seed of the choice of labels, of the weights and of the minibatches.
        inside: Error on snapshots at 300 K.
        outside: Error on snapshots at 500 K.
        energy: Mean absolute error of energies at 300 K without a constant shift, in eV.
    """

    way: str
    seed: int
    inside: float
    outside: float
    energy: float


def jobs(folder: Path, seeds: Sequence[int]) -> list[Job]:
    """All committees."""
    return [_committee(folder, way, seed) for seed in seeds for way in WAYS]


def known(folder: Path) -> Iterator[Result]:
    """Results that have been computed."""
    for file in sorted(folder.glob("weak/*.json")):
        yield Result(**json.loads(file.read_text(encoding="utf-8")))


def _committee(folder: Path, way: str, seed: int) -> Job:
    file = folder / "weak" / f"{way.replace(' ', '-')}-{seed}.json"

    def do() -> None:
        result = measured(folder, way, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(asdict(result), indent=1) + "\n")

    ready = [label_file(folder, name) for name in (INSIDE, OUTSIDE)]
    return Job(name=f"{way} {seed}", done=file.exists, ready=lambda: all(one.exists() for one in ready), do=do)


def measured(folder: Path, name: str, seed: int) -> Result:
    """Train a committee and measure its errors."""
    way = WAYS[name]
    data = train(label_file(folder, INSIDE), way.n, seed)
    if way.hessian:
        data = with_products(data, displaced=way.displaced)
    arguments = {**arguments_of(len(data), N_STEPS), **way.options, "seed": seed, "n_members": N_MEMBERS}
    committee, _ = fit(ACE(n_features=16), data, **arguments)  # type: ignore[arg-type]
    errors = {one: evaluate(committee, test(label_file(folder, one), one), aligned=True) for one in (INSIDE, OUTSIDE)}
    return Result(
        way=name,
        seed=seed,
        inside=errors[INSIDE].force_rmse,
        outside=errors[OUTSIDE].force_rmse,
        energy=errors[INSIDE].energy_mae,
    )


def with_products(data: Dataset, *, displaced: bool) -> Dataset:
    """The data with Hessian-vector labels, or with the structures that these were computed from."""
    extra: list[Atoms] = []

    def label_many(frames: Sequence[Atoms]) -> list[Atoms]:
        made = labels(list(frames))
        for atoms, frame in zip(made, frames, strict=True):
            atoms.info |= frame.info
        extra.extend(made)
        return made

    with_labels = hessian_vector_labels(data.to_atoms(), label_many)
    return Dataset.from_atoms([*data.to_atoms(), *extra] if displaced else with_labels)
