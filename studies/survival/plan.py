"""Strategies of the study of survival, and its jobs: data, runs of the loop, and tests of their last committees."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from sparring.committee_files import read_committee
from sparring.config import Config, load
from sparring.evaluation import evaluate, predict_structures
from sparring.runs.saved_run import SavedRun
from sparring.support.files import write_text
from sparring.systems import alanine_dipeptide
from sparring.validation.bond_scan.compute import scan_bonds
from sparring.validation.run_system import start_of
from sparring.validation.survival.arguments import criteria_of
from sparring.validation.survival.compute import survival
from studies.common.jobs import Job
from studies.common.runs import run
from studies.survival.data import GRID, HOT, MOLECULES, START, TEST, dataset, write, write_start

__all__ = ["DURATION", "N_COPIES", "N_LABELS", "STRATEGIES", "TEMPERATURES", "Outcome", "Strategy", "jobs", "known"]

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_molecule.yaml"
N_LABELS, N_ROUNDS = 200, 2
"""Number of labels beyond the start, and of rounds in which they are bought."""
N_COPIES, DURATION, TIMESTEP = 20, 30_000.0, 1.0
"""Copies in tests of survival; length and step of their trajectories in fs."""
N_AT_ONCE = 5
"""Copies that are simulated together, and lost when a test is interrupted; more are hardly faster on a CPU."""
TEMPERATURES = (300.0, 500.0)

BASE: Mapping[str, object] = {
    "threads": 1,
    "committee.n_members": 4,
    "training.n_epochs": 200,
    "training.second_stage.n_epochs": 100,
    "evaluation.survival": None,  # tested here, with other settings
    "labels.bounds.energy_window": "300 kcal/mol",
    "selection": [
        {"kind": "distinct", "rmsd": "0.1 Å", "linkage": "complete"},
        {"kind": "budget", "n": N_LABELS // N_ROUNDS},
    ],
}
"""Changes to the example that all runs have."""

HOLES = "log(force_variance) + 4 * below_floor(300 K) + reachable(300 K) + bond_window(0.8, 1.3)"
WEIGHTED = "exp(boltzmann(20 kcal/mol, per=degree_of_freedom)) * force_variance"
EARLY: Mapping[str, object] = {"temperature": "500 K", "duration": "1 ps", "stop": {"force_sigma": "1 eV/Å"}}


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """A way to spend labels.

    Attributes:
        title: Name in tables.
        changes: Changes to the example.
        n_hot: Number of snapshots at 500 K under the labels themselves that the data begin with.
        more_seeds: Factor for the number of seeds of each proposer.
    """

    title: str
    changes: Mapping[str, object] = field(default_factory=dict)
    n_hot: int = 0
    more_seeds: int = 1


def _attack(**changes: object) -> dict[str, object]:
    return {"kind": "adversarial", "n_seeds": 100, "seeds": "random", "n_steps": 60, **changes}


STRATEGIES: Mapping[str, Strategy] = {
    "portfolio": Strategy(title="portfolio of the example", more_seeds=2),
    "attacks": Strategy(title="attacks on atoms (Eq. 13)", changes={"attack": _attack(objective=WEIGHTED)}),
    "hole-seeking": Strategy(title="hole-seeking attacks", changes={"attack": _attack(objective=HOLES)}),
    "early-stop": Strategy(
        title="dynamics with early stop", changes={"attack": {"kind": "dynamics", "n_seeds": 60, **EARLY}}
    ),
    "biased-dynamics": Strategy(
        title="biased dynamics", changes={"attack": {"kind": "biased_dynamics", "n_seeds": 60, **EARLY}}
    ),
    "hot-dynamics": Strategy(title="dynamics at 500 K under the labels", n_hot=N_LABELS),
    "random": Strategy(
        title="random displacements",
        changes={"attack": {"kind": "random", "n_seeds": 100, "space": {"kind": "cartesian", "amplitude": "0.2 Å"}}},
    ),
    "diversity": Strategy(
        title="diverse snapshots of the committee's dynamics",
        changes={
            "attack": {"kind": "dynamics", "n_seeds": 40, "temperature": "500 K", "duration": "1 ps", "every": 200},
            "selection": [{"kind": "lcmd", "n": N_LABELS // N_ROUNDS}],
        },
    ),
}
"""Strategies by name, the more important first."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The last committee of a run.

    Attributes:
        molecule: Name of the molecule.
        strategy: Name of the strategy.
        seed: Seed.
        n_labels: Number of labels beyond the start, and of those that were refused.
        survivors: Number of copies that stayed whole, by temperature in K.
        median: Time in ps by which half of the copies had failed, by temperature; None if fewer did.
        holes: Number of bonds and angles in whose scan the energy is too low, and of all.
        force_rmse: Error of forces on held-out dynamics at 500 K, in eV/Å a component.
        grid_rmse: Error of energies on the grid of torsions, in eV.
    """

    molecule: str
    strategy: str
    seed: int
    n_labels: tuple[int, int]
    survivors: Mapping[str, int]
    median: Mapping[str, float | None]
    holes: tuple[int, int]
    force_rmse: float
    grid_rmse: float


def jobs(folder: Path, seeds: Sequence[int], molecules: Sequence[str], strategies: Sequence[str]) -> list[Job]:
    """All jobs: data first, then each run and its test."""
    found = []
    for name in molecules:
        for part in (START, HOT, TEST, GRID):
            file = _data(folder, name, part)
            do = partial(write, file, MOLECULES[name], part)
            found.append(Job(name=f"{name}/{part}", done=file.exists, ready=lambda: True, do=do))
    for seed in seeds:
        for name in molecules:
            for strategy in strategies:
                found += [_run(folder, name, strategy, seed), _test(folder, name, strategy, seed)]
    return found


def known(folder: Path) -> Iterator[Outcome]:
    """Results that have been computed."""
    for file in sorted(folder.glob("results/*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        yield Outcome(**{**row, "n_labels": tuple(row["n_labels"]), "holes": tuple(row["holes"])})


def config_of(folder: Path, molecule: str, strategy: str, seed: int) -> Config:
    """The configuration of a run; its file of structures is written."""
    chosen, of = STRATEGIES[strategy], MOLECULES[molecule]
    start = folder / "start" / f"{_name(molecule, strategy, seed)}.extxyz"
    hot = _data(folder, molecule, HOT) if chosen.n_hot else None
    write_start(start, _data(folder, molecule, START), hot, chosen.n_hot, seed)
    labeller = dict(of.labeller)
    if labeller["kind"] == "openmm":
        labeller["topology"] = str(_topology(folder))
    changes: dict[str, object] = {
        "seed": seed,
        "generations": 1 if chosen.n_hot else N_ROUNDS + 1,
        "system": {
            "kind": "own",
            "file": str(start),
            "enlarge": None,
            "torsions": None,
            "endpoints": None,
            "check_labels": False,
        },
        "labels.labeller": labeller,
        "labels.store": str(folder / "labels" / molecule.replace(" ", "-")),
        **BASE,
        **chosen.changes,
    }
    config = load(EXAMPLE, None, changes)
    if chosen.more_seeds == 1:
        return config
    parts = config.propose or ()
    more = tuple(part.model_copy(update={"n_seeds": chosen.more_seeds * (part.n_seeds or 1)}) for part in parts)
    return config.model_copy(update={"propose": more})


def _name(molecule: str, strategy: str, seed: int) -> str:
    return f"{molecule.replace(' ', '-')}-{strategy}-{seed}"


def _data(folder: Path, molecule: str, part: str) -> Path:
    return folder / "data" / f"{molecule.replace(' ', '-')}-{part}.extxyz"


def _topology(folder: Path) -> Path:
    """The file of alanine dipeptide's atoms and bonds, which is written."""
    from openmm import unit
    from openmm.app import PDBFile

    file = folder / "data" / "alanine-dipeptide.pdb"
    if not file.exists():
        positions = alanine_dipeptide.geometry().positions * unit.angstrom
        with file.open("w", encoding="utf-8") as stream:
            PDBFile.writeFile(alanine_dipeptide.topology(), positions, stream)
    return file


def _run(folder: Path, molecule: str, strategy: str, seed: int) -> Job:
    name = _name(molecule, strategy, seed)
    runs = folder / "runs" / name

    def do() -> None:
        run(config_of(folder, molecule, strategy, seed), runs)

    def ready() -> bool:
        return all(_data(folder, molecule, part).exists() for part in (START, HOT))

    return Job(name=f"{name}/run", done=(runs / "report.html").exists, ready=ready, do=do)


def _test(folder: Path, molecule: str, strategy: str, seed: int) -> Job:
    name = _name(molecule, strategy, seed)
    file, runs = folder / "results" / f"{name}.json", folder / "runs" / name

    def do() -> None:
        outcome = tested(folder, molecule, strategy, seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, json.dumps(asdict(outcome), indent=1) + "\n")

    def ready() -> bool:
        tests = (_data(folder, molecule, part) for part in (TEST, GRID))
        return (runs / "report.html").exists() and all(one.exists() for one in tests)

    return Job(name=f"{name}/test", done=file.exists, ready=ready, do=do)


def tested(folder: Path, molecule: str, strategy: str, seed: int) -> Outcome:
    """Test the last committee of a run; finished trajectories are kept when the test is interrupted."""
    generations = SavedRun(folder / "runs" / _name(molecule, strategy, seed)).generations()
    last = generations[-1]
    committee, start = read_committee(last.folder), start_of(last.folder, None)
    survivors, median = dict[str, int](), dict[str, float | None]()
    limits = {"bonds": None, "min_distance": None, "energy_below": None}
    for temperature in TEMPERATURES:
        (trial,) = survival(
            committee,
            start,
            temperatures=[temperature],
            criteria=criteria_of(committee, last.folder, start, windows=(), **limits),
            n_copies=N_COPIES,
            duration=DURATION,
            timestep=TIMESTEP,
            ensemble="langevin",
            seed=seed,
            n_at_once=N_AT_ONCE,
            batches=last.folder / "validation" / "survival-batches",
        ).trials
        time = trial.median_failure_time / 1000
        survivors[f"{temperature:g}"] = trial.n_stable
        median[f"{temperature:g}"] = None if math.isnan(time) else time
    scans, _ = scan_bonds(committee, start)
    hot, grid = (dataset(_data(folder, molecule, part)) for part in (TEST, GRID))
    missed = predict_structures(committee, grid.structures).energy - grid.energy.numpy()
    labels = [(len(one.labelled()), len(one.label_failures())) for one in generations]
    return Outcome(
        molecule=molecule,
        strategy=strategy,
        seed=seed,
        n_labels=(sum(n for n, _ in labels) + STRATEGIES[strategy].n_hot, sum(n for _, n in labels)),
        survivors=survivors,
        median=median,
        holes=(len(scans.holes), len(scans.scans)),
        force_rmse=evaluate(committee, hot).force_rmse,
        grid_rmse=float(np.std(missed)),  # without a constant shift
    )
