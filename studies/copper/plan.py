"""Ways to spend labels on copper, and the jobs of the study: data, runs of the loop, and tests of their committees."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from sparring.committee import Committee
from sparring.committee_files import read_committee
from sparring.config import Config, load
from sparring.evaluation import evaluate
from sparring.labels import ASECalculator, label
from sparring.runs.saved_run import SavedRun
from sparring.support.files import write_text
from sparring.validation.elastic.compute import elastic
from sparring.validation.equation_of_state.compute import equation_of_state
from studies.common.jobs import Job
from studies.common.runs import run, start_from
from studies.copper.data import SETS, dataset, primitive, write

__all__ = ["N_LABELS", "STRATEGIES", "Outcome", "Strategy", "config_of", "jobs", "known"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "copper.yaml"
N_LABELS, N_ROUNDS = 40, 2
"""Number of labels beyond the start, and of rounds in which they are bought."""
START = "attacks-atoms-strain"
"""Strategy from whose first generation the others start."""


def _selection(order: str) -> Mapping[str, object]:
    budget = {"kind": "budget", "n": N_LABELS // N_ROUNDS, "order": order}
    return {"selection": [{"kind": "distinct", "rmsd": "0.05 Å", "align": False}, budget]}


BASE: Mapping[str, object] = {
    "threads": 1,
    "generations": N_ROUNDS + 1,
    **{f"evaluation.{key}": None for key in ("survival", "elastic", "equation_of_state")},  # tested here
}
"""Changes to the example that all runs have."""


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to spend labels.

    Attributes:
        title: Name in tables.
        changes: Changes to the example.
    """

    title: str
    changes: Mapping[str, object] = field(default_factory=dict)


def _attack(*spaces: Mapping[str, object], **changes: object) -> Mapping[str, object]:
    return {
        "attack": {"n_seeds": 60, "seeds": "random", "space": {"kind": "combined", "spaces": list(spaces)}, **changes}
    }


ATOMS: Mapping[str, object] = {"kind": "cartesian", "initial_spread": "0.02 Å"}
CELL: Mapping[str, object] = {"kind": "strain", "scale": 0.2, "radius": 0.1}
WEIGHTED = "log(force_variance) + boltzmann(5 kcal/mol, per=degree_of_freedom)"
STRESS = "log(stress_variance) + boltzmann(2 kcal/mol, per=degree_of_freedom)"
CLIMB: Mapping[str, object] = {"kind": "adversarial", "n_steps": 40, "learning_rate": 0.01, "objective": WEIGHTED}

STRATEGIES: Mapping[str, Strategy] = {
    START: Strategy(title="attacks on atoms and strain", changes=_attack(CELL, ATOMS, **CLIMB)),
    "attacks-atoms": Strategy(title="attacks on atoms", changes=_attack(ATOMS, **CLIMB)),
    "attacks-stress": Strategy(
        title="attacks on the stress, atoms and strain", changes=_attack(CELL, ATOMS, **{**CLIMB, "objective": STRESS})
    ),
    "random": Strategy(
        title="random displacements and strain",
        changes={
            **_attack(
                {"kind": "strain", "amplitude": 0.05}, {"kind": "cartesian", "amplitude": "0.3 Å"}, kind="random"
            ),
            **_selection("random"),
        },
    ),
    "dynamics": Strategy(
        title="dynamics of the committee at 1,000 K",
        changes={
            "attack": {
                "kind": "dynamics", "n_seeds": 24, "seeds": "random", "temperature": "1000 K", "duration": "2 ps",
                "timestep": "2 fs", "every": 100,
            },
            **_selection("random"),
        },
    ),
}  # fmt: skip
"""Strategies by name, the more important first."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The committee of a generation.

    Attributes:
        strategy: Name of the strategy.
        seed: Seed.
        generation: Number of the generation, from 1.
        n_labels: Number of labels beyond the start, and of those that were refused.
        elastic: Elastic constants C11, C12 and C44 of the committee, the mean of its members, in eV/Å³.
        label_elastic: Those of the labels.
        eos_rmse: Error of energies, in eV per atom, at volumes up to 20 % from that of the crystal, without a shift.
        force_rmse: Error of forces on each set, in eV/Å a component.
        energy_rmse: Error of energies on each set without a shift, in eV per atom.
    """

    strategy: str
    seed: int
    generation: int
    n_labels: tuple[int, int]
    elastic: tuple[float, float, float]
    label_elastic: tuple[float, float, float]
    eos_rmse: float
    force_rmse: Mapping[str, float]
    energy_rmse: Mapping[str, float]


def jobs(folder: Path, seeds: Sequence[int], strategies: Sequence[str]) -> list[Job]:
    """All jobs: data first, then each run and its test."""
    found = []
    for name in SETS:
        file = _data(folder, name)
        found.append(Job(name=f"data/{name}", done=file.exists, ready=lambda: True, do=partial(write, file, name)))
    for seed in seeds:
        for strategy in sorted(strategies, key=list(STRATEGIES).index):
            found += [_run(folder, strategy, seed), _test(folder, strategy, seed)]
    return found


def known(folder: Path) -> Iterator[Outcome]:
    """Results that have been computed."""
    for file in sorted(folder.glob("results/*.json")):
        for row in json.loads(file.read_text(encoding="utf-8")):
            pairs = {name: tuple(row[name]) for name in ("n_labels", "elastic", "label_elastic")}
            yield Outcome(**{**row, **pairs})


def config_of(folder: Path, strategy: str, seed: int) -> Config:
    """The configuration of a run."""
    changes = {"seed": seed, "labels.store": str(folder / "labels"), **BASE, **_selection("score")}
    changes |= STRATEGIES[strategy].changes
    return load(EXAMPLE, None, changes)


def _name(strategy: str, seed: int) -> str:
    return f"{strategy}-{seed}"


def _data(folder: Path, name: str) -> Path:
    return folder / "data" / f"{name}.extxyz"


def _folder(folder: Path, strategy: str, seed: int) -> Path:
    return folder / "runs" / _name(strategy, seed)


def _run(folder: Path, strategy: str, seed: int) -> Job:
    runs, first = _folder(folder, strategy, seed), _folder(folder, START, seed)

    def do() -> None:
        config = config_of(folder, strategy, seed)
        if strategy != START:
            start_from(first, runs, config)
        run(config, runs)

    def ready() -> bool:
        return strategy == START or (first / "generation-02").exists()

    return Job(name=f"{_name(strategy, seed)}/run", done=(runs / "report.html").exists, ready=ready, do=do)


def _test(folder: Path, strategy: str, seed: int) -> Job:
    file, runs = folder / "results" / f"{_name(strategy, seed)}.json", _folder(folder, strategy, seed)

    def do() -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps([asdict(one) for one in tested(folder, strategy, seed)], indent=1) + "\n")

    def ready() -> bool:
        return (runs / "report.html").exists() and all(_data(folder, name).exists() for name in SETS)

    return Job(name=f"{_name(strategy, seed)}/test", done=file.exists, ready=ready, do=do)


def tested(folder: Path, strategy: str, seed: int) -> Iterator[Outcome]:
    """Test all committees of a run."""
    n_labels = n_failed = 0
    sets = {name: dataset(_data(folder, name)) for name in SETS}
    for number, generation in enumerate(SavedRun(_folder(folder, strategy, seed)).generations(), start=1):
        committee = read_committee(generation.folder)
        constants, of_labels, eos_rmse = lattice(committee)
        errors = {name: evaluate(committee, one, aligned=True) for name, one in sets.items()}
        sizes = {name: float(one.structures.counts.double().mean()) for name, one in sets.items()}
        yield Outcome(
            strategy=strategy,
            seed=seed,
            generation=number,
            n_labels=(n_labels, n_failed),
            elastic=constants,
            label_elastic=of_labels,
            eos_rmse=eos_rmse,
            force_rmse={name: one.force_rmse for name, one in errors.items()},
            energy_rmse={name: one.energy_rmse / sizes[name] for name, one in errors.items()},
        )
        n_labels += len(generation.labelled())
        n_failed += len(generation.label_failures())


def lattice(committee: Committee) -> tuple[tuple[float, float, float], tuple[float, float, float], float]:
    """Elastic constants by the committee and by labels in eV/Å³, and the error of the equation of state in eV."""
    crystal, labels = primitive(), partial(label, labeller=ASECalculator("emt"))
    found = elastic(committee, crystal, label=labels)
    curve = equation_of_state(committee, crystal, volume_range=0.2, n_points=21, label=labels)
    missed = np.nanmean(curve.energy, axis=0) - curve.label_energy
    return (
        _cubic(np.nanmean(found.constants, axis=0)),
        _cubic(found.label_constants),
        float(np.nanstd(missed) / len(crystal)),
    )


def _cubic(constants: np.ndarray) -> tuple[float, float, float]:
    """C11, C12 and C44 of a cubic crystal: means over equal directions."""
    normal, mixed = constants[:3, :3], constants[:3, :3][~np.eye(3, dtype=bool)]
    return float(np.trace(normal) / 3), float(mixed.mean()), float(np.diag(constants)[3:].mean())
