"""Run folders made up for the tests: their numbers are drawn at random and mean nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write

LOWEST = {"H3N": -1538.0, "C2H6O": -4215.0, "X": -6.5}
N_MEMBERS = 3
N_STEPS = 20


def made_up_structures(generator, n_structures, generation, source, formulas):
    frames = []
    for place in range(n_structures):
        formula = formulas[place % len(formulas)]
        atoms = Atoms(formula, positions=generator.normal(size=(len(Atoms(formula)), 3)))
        atoms.info |= {"generation": generation, "source": source, "parent": -1, "label": f"{place:064x}"}
        atoms.info["REF_energy"] = LOWEST[formula] + generator.gamma(2.0, 0.25)
        atoms.arrays["REF_forces"] = generator.normal(size=(len(atoms), 3))
        frames.append(atoms)
    return frames


def made_up_prediction(generator, atoms, error):
    predicted = atoms.copy()
    sigma = error * generator.lognormal(0.0, 0.5)
    predicted.info["committee_energy"] = atoms.info["REF_energy"] + 0.3 * sigma * generator.normal()
    predicted.info["energy_variance"] = sigma**2
    predicted.info["force_variance"] = sigma**2
    predicted.arrays["committee_forces"] = atoms.arrays["REF_forces"] + sigma * generator.normal(size=(len(atoms), 3))
    return predicted


def write_rows(path, names, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)


def write_fit(folder, generator, dataset, error, metrics):
    write(folder / "dataset.extxyz", dataset, format="extxyz")
    epochs = np.arange(60)
    rows = [
        (epoch, member, *(error * np.exp(-epoch / 15) * generator.lognormal(0, 0.2, 2) + 1e-4), 3e-4)
        for member in range(N_MEMBERS)
        for epoch in epochs
    ]
    write_rows(folder / "training.csv", ["epoch", "member", "train_loss", "validation_loss", "learning_rate"], rows)
    predictions = [made_up_prediction(generator, atoms, error) for atoms in dataset]
    for place, atoms in enumerate(predictions):
        atoms.info["split"] = "test" if place % 5 == 0 else "fit"
    write(folder / "predictions.extxyz", predictions, format="extxyz")
    (folder / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")


def write_attack(folder, generator, dataset, error, n_seeds):
    seeds = [dataset[place % len(dataset)] for place in range(n_seeds)]
    steps = np.arange(N_STEPS + 1)[:, None] / N_STEPS
    height = generator.gamma(3.0, 0.25, n_seeds) * steps**1.5
    lowest = np.array([LOWEST[atoms.get_chemical_formula()] for atoms in seeds])
    variance = (error * (0.1 + steps) * generator.lognormal(0.0, 0.6, n_seeds)) ** 2
    best = generator.integers(N_STEPS // 2, N_STEPS + 1, n_seeds)
    status = np.zeros(n_seeds, dtype=int)
    status[0] = 1
    height[-4:, 0] = np.nan  # stopped there
    best[0] = N_STEPS - 5
    frames = []
    for place, atoms in enumerate(seeds):
        attacked = Atoms(atoms.symbols, positions=atoms.positions)
        attacked.info |= {"seed": place, "best_step": int(best[place]), "status": int(status[place])}
        frames.append(attacked)
    write(folder / "attacks.extxyz", frames, format="extxyz")
    arrays = {"objective": variance, "energy": lowest + height, "energy_variance": variance, "force_variance": variance}
    np.savez(folder / "paths.npz", best_step=best, status=status, **arrays)


def write_labels(folder, generator, labelled, error):
    frames = [made_up_prediction(generator, atoms, error) for atoms in labelled]
    for atoms in frames:
        atoms.info["wall_time"] = generator.uniform(0.8, 1.4)
    write(folder / "labelled.extxyz", frames, format="extxyz")
    message = "the shortest distance is 0.41 Å, wanted at least 0.5 Å <at the nitrogen>"
    write_rows(folder / "failures.csv", ["candidate", "reason", "message"], [(3, "distance", message)])


def made_up_metrics(number, n_structures, n_generations, system):
    errors = {"energy_mae": 0.02 / number, "energy_rmse": 0.03 / number, "force_mae": 0.08 / number, "force_rmse": 0.1}
    systems = {
        "ammonia": {
            "barrier": 0.274 - 0.04 / number**2,
            "barrier_reference": 0.274,
            "barrier_error": -0.04 / number**2,
        },
        "double_well_2d": {"grid_rmse": 1.2 / number},
        "own": {},
    }
    metrics = {
        "generation": number,
        "n_structures": n_structures,
        "n_members": N_MEMBERS,
        "errors": {
            "test": errors | {"n_structures": n_structures // 5},
            "fit": errors | {"n_structures": n_structures},
        },
        "uncertainty": {"force_variance_threshold": 0.01},
        "system": systems[system],
        "seconds": {"fit": 84.2},
    }
    if number < n_generations:
        selection = [
            {"name": "uncertainty_above", "n_in": 29, "n_out": 24},
            {"name": "energy_window", "n_in": 24, "n_out": 22},
            {"name": "budget", "n_in": 22, "n_out": 20},
        ]
        metrics["attack"] = {"n_seeds": 30, "n_not_finite": 1, "n_overlap": 0, "mean_energy_above_minimum": 0.9}
        metrics["selection"] = selection
        metrics["labels"] = {"n_chosen": 20, "n_computed": 17, "n_reused": 2, "n_failed": 1}
        metrics["seconds"] |= {"attack": 4.31, "label": 23.0}
    return metrics


def write_made_up_run(folder, *, n_generations=3, system="ammonia", formulas=("H3N",), seed=0):
    generator = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    config = f"seed: 0\ngenerations: {n_generations}\nsystem:\n  kind: {system}\n"
    (folder / "config.yaml").write_text(config, encoding="utf-8")
    (folder / "versions.json").write_text(json.dumps({"sparring": "0.1.0", "torch": "2.13.0"}), encoding="utf-8")
    dataset = made_up_structures(generator, 40, 1, "normal_mode", formulas)
    for number in range(1, n_generations + 1):
        part = folder / f"generation-{number:02d}"
        part.mkdir()
        error = 0.4 / number
        write_fit(part, generator, dataset, error, made_up_metrics(number, len(dataset), n_generations, system))
        if number < n_generations:
            write_attack(part, generator, dataset, error, 30)
            labelled = made_up_structures(generator, 19, number, "attack", formulas)
            write_labels(part, generator, labelled, error)
            dataset = dataset + labelled
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    return write_made_up_run(tmp_path_factory.mktemp("finished") / "ammonia")


@pytest.fixture
def made_up_run(tmp_path):
    def make(**options) -> Path:
        return write_made_up_run(tmp_path / "run", **options)

    return make


@pytest.fixture(scope="session")
def write_run():
    """The function that writes a made-up run."""
    return write_made_up_run
