"""Errors and costs of architectures that are trained on the same labels by the same recipe.

Run it with ``python benchmarks/architectures.py CONFIG.yaml DATASET.extxyz [TEST.extxyz ...]``, for instance on the
``dataset.extxyz`` of the last generation of a run. The recipe, the divisions and the size of the committee are those of
the configuration. Errors are mean absolute ones, of the test set of the division and of each further file, where those
of energies have no part that depends on the composition alone. A step of an attack is that of 30 seeds at the structure
of lowest energy, on the processor, in its own time.
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from ase.io import iread

from sparring.assembly.planning import architecture, fit_arguments
from sparring.atoms.dataset import ENERGY, Dataset
from sparring.atoms.duplicates import duplicate_groups
from sparring.committee import Committee
from sparring.config import Config, load
from sparring.evaluation import evaluate
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.support.malloc import keep_freed_memory
from sparring.support.seeds import derive
from sparring.training.fitting import fit
from sparring.training.splits import Splits
from sparring.units import KCAL_PER_MOL

ARCHITECTURES: dict[str, dict[str, object]] = {
    "schnet": {"kind": "schnet", "n_features": 64, "n_filters": 64, "n_gaussians": 8},
    "painn": {"kind": "painn", "n_features": 64, "n_interactions": 3},
    "ace": {"kind": "ace", "n_features": 32, "n_interactions": 2},
}
N_SEEDS, N_STEPS, N_REPEATS = 30, 5, 3


class Row(NamedTuple):
    """One committee.

    Attributes:
        architecture: Name of its architecture.
        seed: Seed of the division, of the weights and of the minibatches.
        errors: Mean absolute errors of energies in kcal/mol and of forces in kcal/mol/Å, by test set.
        training_seconds: Time of the processor for training.
        step_ms: Time of the processor for a step of an attack.
    """

    architecture: str
    seed: int
    errors: dict[str, tuple[float, float]]
    training_seconds: float
    step_ms: float


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="configuration of the training and of the committee")
    parser.add_argument("dataset", type=Path, help="labelled structures to train on, as extended XYZ")
    parser.add_argument("tests", type=Path, nargs="*", help="labelled structures to test on besides")
    parser.add_argument("--preset", help="preset of the configuration, for another recipe of training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES))
    parser.add_argument("--epochs", type=int, help="instead of those of the configuration")
    parser.add_argument("--output", type=Path, help="file for the numbers as JSON")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as `sparring` does
    dataset = labelled(options.dataset)
    tests = {test.stem if test.stem != "dataset" else test.parent.name: labelled(test) for test in options.tests}
    print("architecture  seed  errors (kcal/mol, kcal/mol/Å) on each test set  training  attack step", flush=True)
    rows = []
    for seed in options.seeds:
        for name in options.architectures:
            changes = {"committee.potential": ARCHITECTURES[name], "seed": seed}
            if options.epochs:
                changes["training.n_epochs"] = options.epochs
            rows.append(measured(name, load(options.config, options.preset, changes), dataset, tests))
            print(line(rows[-1]), flush=True)
    if options.output:
        options.output.write_text(json.dumps([row._asdict() for row in rows], indent=2) + "\n", encoding="utf-8")


def labelled(file: Path) -> Dataset:
    """The structures of a file, without anything but their labels."""
    frames = list(iread(file))
    for atoms in frames:
        atoms.info = {ENERGY: atoms.info[ENERGY]}
    return Dataset.from_atoms(frames)


def measured(name: str, config: Config, dataset: Dataset, tests: Mapping[str, Dataset]) -> Row:
    """Train a committee and measure it."""
    splits = Splits.draw(
        len(dataset),
        n_members=config.committee.n_members,
        seed=derive(config.seed, "splits"),
        fractions=config.training.splits.fractions,
        groups=duplicate_groups(dataset.structures),
    )
    network, start = architecture(config.committee.potential), time.process_time()
    committee, _ = fit(network, dataset, splits=splits, seed=config.seed, **fit_arguments(config))  # type: ignore[arg-type]
    training_seconds = time.process_time() - start
    errors = {}
    for test, data in {"held back": dataset.take(splits.test), **tests}.items():
        found = evaluate(committee, data, aligned=True)
        errors[test] = (found.energy_mae / KCAL_PER_MOL, found.force_mae / KCAL_PER_MOL)
    return Row(name, config.seed, errors, training_seconds, 1000 * step_seconds(committee, dataset))


def step_seconds(committee: Committee, dataset: Dataset) -> float:
    """Time of the processor for a step of an attack, the median of some runs after one to warm up."""
    seeds = dataset.structures.take([int(torch.argmin(dataset.energy))] * N_SEEDS)
    seconds = []
    for _ in range(1 + N_REPEATS):
        start = time.process_time()
        attack(committee, seeds, force_variance, n_steps=N_STEPS, seed=0)
        seconds.append((time.process_time() - start) / (N_STEPS + 1))  # the last geometries are evaluated, too
    return sorted(seconds[1:])[N_REPEATS // 2]


def line(row: Row) -> str:
    """A row of the table."""
    errors = "  ".join(f"{test} {energy:.2f}, {force:.2f}" for test, (energy, force) in row.errors.items())
    return f"{row.architecture:12}  {row.seed:4}  {errors}  {row.training_seconds:.0f} s  {row.step_ms:.0f} ms"


if __name__ == "__main__":
    main()
