"""The study of alanine dipeptide: its strategies, its size, and the jobs that it consists of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sparring.config import Config, load
from sparring.surfaces.torsion_maps import GRIDS
from sparring.systems.sections import AlanineDipeptide, Langevin
from studies.alanine_dipeptide import tasks
from studies.common.jobs import Job
from studies.common.layout import ADVERSARIAL, Layout, Strategy
from studies.common.runs import run_job

__all__ = ["ADVERSARIAL", "ATOMS", "NAME", "STRATEGIES", "TASKS", "Study", "jobs"]

NAME = "alanine_dipeptide"
EXAMPLE = Path(__file__).parents[2] / "examples" / "alanine_dipeptide.yaml"
TASKS = ("run", "maps", "free-energy")
TORSIONS = {"kind": "dihedrals", "torsions": ["phi", "psi"]}
PRESET, FOR_DYNAMICS = "schnet", "dynamics"
ATOMS = "atoms"
"""Name of the strategy that is the preset for dynamics."""
N_GENERATIONS, N_PER_GENERATION = 5, 50
"""Generations, and labels for each, of the preset."""


def random_torsions(n_labels: int) -> Strategy:
    """That many structures of the data, with both torsions of each turned by random angles."""
    attack = {"kind": "random", "n_seeds": n_labels, "seeds": "random", "space": {**TORSIONS, "amplitude": "180 deg"}}
    return Strategy(title=f"random torsions, {n_labels}", changes={"attack": attack, "selection": []})


def random_torsions_and_atoms(n_labels: int) -> Strategy:
    """Random torsions, and a random displacement of each coordinate by up to 0.1 Å."""
    parts = [{**TORSIONS, "amplitude": "180 deg"}, {"kind": "cartesian", "amplitude": "0.1 Å"}]
    space = {"kind": "combined", "spaces": parts}
    attack = {"kind": "random", "n_seeds": n_labels, "seeds": "random", "space": space}
    changes = {"attack": attack, "selection": []}
    title = f"random torsions and atoms, {n_labels}"
    return Strategy(title=title, preset=FOR_DYNAMICS, changes=changes, start=ATOMS)


def longer_dynamics(n_labels: int, preset: str = PRESET) -> Strategy:
    """The dynamics that gave the starting data, continued until it has given that many more snapshots."""
    sampling = _sampling(load(EXAMPLE, preset))
    return Strategy(
        title=f"longer dynamics, {n_labels}" + ("" if preset == PRESET else ", trained as for dynamics"),
        preset=None if preset == PRESET else preset,
        changes={"system.sampling.duration": f"{sampling.duration + n_labels * sampling.every} fs"},
        generations=1,
        start=None,
    )


def _sampling(config: Config) -> Langevin:
    assert isinstance(config.system, AlanineDipeptide)
    return config.system.sampling


PAPER_ATTACKS = {
    "attack.n_seeds": N_PER_GENERATION,
    "attack.n_steps": 200,
    "attack.space.initial_spread": "0.01 rad",
    "attack.objective": "force_variance",
    "selection": [],
}
"""The paper's attacks with a fifth of its steps, each of them longer, and no selection."""
STRATEGIES = {
    ADVERSARIAL: Strategy(title="attacks on (φ, ψ)", generations=N_GENERATIONS),
    "random-200": random_torsions(200),
    "dynamics-200": longer_dynamics(200),
    "random-50": random_torsions(50),
    "paper-attacks": Strategy(title="paper's attacks", changes=PAPER_ATTACKS, generations=N_GENERATIONS),
    "boltzmann": Strategy(
        title="paper's, with Boltzmann weight",
        changes={**PAPER_ATTACKS, "attack.objective": "exp(boltzmann(20 kcal/mol)) * force_variance"},
        generations=N_GENERATIONS,
    ),
    "combined": Strategy(
        title="torsions, then atoms within 0.1 Å",
        changes={
            "attack.space": {
                "kind": "combined",
                "spaces": [
                    {**TORSIONS, "initial_spread": "1 rad"},
                    # A bound on each coordinate, 0.1 Å, lets all bonds stretch at once, by 250 kcal/mol and more.
                    {
                        "kind": "cartesian",
                        "initial_spread": "0.01 Å",
                        "bound": {"norm": 2, "radius": "0.1 Å"},
                        "scale": 0.1,
                    },
                ],
            }
        },
        generations=N_GENERATIONS,
    ),
    ATOMS: Strategy(
        title="torsions, then atoms within 1 Å", preset=FOR_DYNAMICS, generations=N_GENERATIONS, start=None
    ),
    "atoms-random-200": random_torsions_and_atoms(200),
    "atoms-dynamics-200": longer_dynamics(200, FOR_DYNAMICS),
}
"""In the order in which they are computed; names are names of folders."""


@dataclass(frozen=True, kw_only=True)
class Study(Layout):
    """All choices of the study.

    Attributes:
        folder: Folder of all runs and results.
        seeds: Seeds, with one run of every strategy for each.
        strategies: Strategies by name.
        tasks: Names out of `TASKS`.
        base: Configuration that strategies change.
        preset: Preset of that file.
        changes: Changes to the configurations of all runs.
        store: Folder of labels, the same for all runs; None for a folder of the study.
        points: Numbers of points of the grids, along both torsions.
        bins: Number of bins of the free energy, along each torsion.
        free_energies: Strategies whose last committees are evaluated by their free energy.
        copies: Number of trajectories for a free energy.
        duration: Length of these trajectories, in fs.
        reference: Length of the force field's own trajectory, in fs.
    """

    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    tasks: tuple[str, ...] = TASKS
    base: Path = EXAMPLE
    preset: str | None = PRESET
    changes: Mapping[str, object] = field(default_factory=dict)
    store: Path | None = None
    points: tuple[int, int] = (24, 24)
    bins: int = 24
    free_energies: tuple[str, ...] = (
        ADVERSARIAL,
        "dynamics-200",
        "combined",
        ATOMS,
        "atoms-random-200",
        "atoms-dynamics-200",
    )
    copies: int = 20
    duration: float = 30_000.0
    reference: float = 4e6

    @property
    def labels(self) -> Path:
        """The folder of the labels."""
        return self.store or self.folder / "labels"

    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run."""
        chosen = {**STRATEGIES, **self.strategies}[strategy]
        options = {"seed": seed, "generations": chosen.generations, "labels.store": str(self.labels)}
        return load(self.base, chosen.preset or self.preset, {**self.changes, **chosen.changes, **options})

    def n_more(self, strategy: str) -> int:
        """Number of snapshots that a strategy starts with beyond those of the attacks; their labels count as well."""
        own, shared = (_sampling(self.config(one, seed=0)) for one in (strategy, ADVERSARIAL))
        return round((own.duration - shared.duration) / shared.every)

    def maps(self, strategy: str, seed: int, which: str) -> Path:
        """The file with the landscapes of all committees of a run."""
        return self.folder / "results" / strategy / f"seed-{seed}" / f"{which}.json"

    def free_energy(self, strategy: str, seed: int) -> Path:
        """The file of the free energy of the last committee of a run."""
        return self.folder / "results" / strategy / f"seed-{seed}" / "free_energy.json"

    def last(self, strategy: str, seed: int) -> int:
        """The number of the last committee of a run that has ended."""
        numbers = range(1, self.strategies[strategy].generations + 1)
        return max(number for number in numbers if self.trained(strategy, seed, number))


def jobs(study: Study) -> list[Job]:
    """All jobs of a study by decreasing importance."""
    found = []
    for seed in study.seeds:
        for strategy in study.strategies:
            if "run" in study.tasks:
                found.append(run_job(study, strategy, seed))
            if "maps" in study.tasks:
                found += _maps(study, strategy, seed)
    if "free-energy" in study.tasks:
        found += [
            _free_energy(study, one, seed)
            for seed in study.seeds
            for one in study.free_energies
            if one in study.strategies
        ]
    return found


def _maps(study: Study, strategy: str, seed: int) -> Iterator[Job]:
    for which in GRIDS:
        file = study.maps(strategy, seed, which)
        do = partial(tasks.maps, study.run(strategy, seed), file, which=which, points=study.points)
        ready = partial(study.ended, strategy, seed)
        yield Job(name=f"{strategy}/seed-{seed}/{which}", done=file.exists, ready=ready, do=do)


def _free_energy(study: Study, strategy: str, seed: int) -> Job:
    file = study.free_energy(strategy, seed)

    def do() -> None:
        tasks.free_energy(
            study.config(strategy, seed),
            study.generation(strategy, seed, study.last(strategy, seed)),
            file,
            reference=study.folder / "results" / "reference",
            n_copies=study.copies,
            duration=study.duration,
            reference_duration=study.reference,
            n_bins=study.bins,
            seed=seed,
        )

    ready = partial(study.ended, strategy, seed)
    return Job(name=f"{strategy}/seed-{seed}/free-energy", done=file.exists, ready=ready, do=do)
