"""The study of ammonia: its strategies, its size, and the jobs that it consists of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path

from sparring.config import Config, load
from studies.ammonia import tasks
from studies.ammonia.tasks import Truth
from studies.common.jobs import Job
from studies.common.layout import ADVERSARIAL, Layout, Strategy
from studies.common.runs import run_job

__all__ = [
    "ACE",
    "ADVERSARIAL",
    "NAME",
    "PAPER",
    "STRATEGIES",
    "TASKS",
    "TEMPERATURES",
    "Strategy",
    "Study",
    "jobs",
    "title_of",
]

NAME = "ammonia"
EXAMPLE = Path(__file__).parents[2] / "examples" / "ammonia.yaml"
PRESET = "schnet"
"""Networks and training of all strategies that name no preset."""
TASKS = ("run", "barrier", "landscape", "stability")
TEMPERATURES = (1000.0, 500.0, 700.0, 800.0, 600.0, 900.0)
"""In the order in which they are computed: a study that is stopped early has the highest and the lowest."""


def random_displacements(amplitude: float, n_labels: int) -> Strategy:
    """The paper's baseline: that many structures, without a selection."""
    attack = {"kind": "random", "n_seeds": n_labels, "amplitude": f"{amplitude} Å"}
    return Strategy(title=f"random {amplitude} Å, {n_labels}", changes={"attack": attack, "selection": []})


PAPER, ACE = "paper", "ace"
STRATEGIES = {
    ADVERSARIAL: Strategy(title="adversarial", generations=3),
    "random-0.3-30": random_displacements(0.3, 30),
    "random-0.3-100": random_displacements(0.3, 100),
    "random-0.1-30": random_displacements(0.1, 30),
    "dynamics": Strategy(
        title="dynamics 500 K",
        changes={
            "attack": {
                "kind": "dynamics",
                "n_seeds": 10,
                "temperature": "500 K",
                "duration": "5 ps",
                "timestep": "0.5 fs",
                "every": 100,
            },
            "selection": [
                {"kind": "uncertainty_above", "percentile": 80},
                {"kind": "budget", "n": 30, "order": "random"},
            ],
        },
        generations=3,
    ),
    # The paper's protocol, and the same with our training.
    PAPER: Strategy(title="paper's protocol", preset="paper", generations=3, start=None),
    "paper-attacks": Strategy(
        title="paper's attacks, our training",
        changes={
            "attack.n_seeds": 30,
            "attack.space.initial_spread": "0.01 Å",
            "attack.space.bound": None,
            "selection": [],
        },
        generations=3,
    ),
    "random-0.3-60": random_displacements(0.3, 60),
    # The example as it is, with ACE and its training.
    ACE: Strategy(title="adversarial, ACE", preset="", generations=3, start=None),
}
"""In the order in which they are computed; names are those of folders."""


def title_of(strategy: str, generation: int | None = None) -> str:
    """Name of a strategy, or of a committee of it, in tables and figures."""
    title = STRATEGIES[strategy].title if strategy in STRATEGIES else strategy
    if generation is None or STRATEGIES.get(strategy, STRATEGIES[ADVERSARIAL]).generations == 2:
        return title
    return f"{title}, generation {generation}"


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
        store: Folder of labels, the same for all runs.
        workers: Number of processes that compute labels.
        leave: Strategies whose runs another process computes.
        temperatures: Temperatures of stability, in K.
        copies: Number of trajectories at each temperature.
        duration: Length of these trajectories, in fs.
        points: Numbers of points of the landscape, along R and Z.
    """

    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    tasks: tuple[str, ...] = TASKS
    base: Path = EXAMPLE
    preset: str | None = PRESET
    store: Path = Path("labels")
    workers: int = 1
    leave: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = TEMPERATURES
    copies: int = 20
    duration: float = 5000.0
    points: tuple[int, int] = (21, 21)

    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run, also of a strategy that is not in `strategies` but from which others start."""
        chosen = {**STRATEGIES, **self.strategies}[strategy]
        labels = {"labels.store": str(self.store), "labels.n_workers": self.workers}
        options = {**chosen.changes, **labels, "seed": seed, "generations": chosen.generations}
        preset = self.preset if chosen.preset is None else chosen.preset or None
        return load(self.base, preset, options)

    @cached_property
    def truth(self) -> Truth:
        """Results of the label method itself, the same for all strategies."""
        return Truth(self.config(ADVERSARIAL, 0), self.folder / "results" / "truth", self.points)


def jobs(study: Study) -> list[Job]:
    """All jobs of a study by decreasing importance."""
    found = list(_truths(study))
    for seed in study.seeds:
        for strategy in study.strategies:
            if "run" in study.tasks and strategy not in study.leave:
                found.append(run_job(study, strategy, seed))
            for task in ("barrier", "landscape"):
                found += list(_of_committees(study, strategy, seed, task)) if task in study.tasks else []
    if "stability" in study.tasks:
        found += _stabilities(study)
    return found


def _truths(study: Study) -> Iterator[Job]:
    for task in ("landscape", "barrier"):
        if task in study.tasks:
            file = study.folder / "results" / "truth" / f"{task}.json"
            do = partial(getattr(tasks, f"true_{task}"), lambda: study.truth, file)
            yield Job(name=f"truth/{task}", done=file.exists, ready=lambda: True, do=do)


def _of_committees(study: Study, strategy: str, seed: int, task: str) -> Iterator[Job]:
    for number in study.generations(strategy):
        file = study.result(strategy, seed, number, task)
        do = partial(getattr(tasks, task), lambda: study.truth, study.generation(strategy, seed, number), file)
        yield _job(study, strategy, seed, number, task, file, do)


def _stabilities(study: Study) -> Iterator[Job]:
    # The last committees matter most; at each temperature all of them are computed before the next one.
    for age in range(max(chosen.generations for chosen in study.strategies.values())):
        for temperature, seed, strategy in product(study.temperatures, study.seeds, study.strategies):
            number = study.strategies[strategy].generations - age
            if number in study.generations(strategy):
                yield _stability(study, strategy, seed, number, temperature)


def _stability(study: Study, strategy: str, seed: int, number: int, temperature: float) -> Job:
    task = f"stability-{temperature:g}K"
    file = study.result(strategy, seed, number, task)
    do = partial(
        tasks.stable,
        lambda: study.truth,
        study.generation(strategy, seed, number),
        file,
        temperature=temperature,
        n_copies=study.copies,
        duration=study.duration,
        seed=seed,
    )
    return _job(study, strategy, seed, number, task, file, do)


def _job(study: Study, strategy: str, seed: int, number: int, task: str, file: Path, do: "partial[None]") -> Job:
    def done() -> bool:
        # A run that has found nothing more to label has no later committees, so that no results are missing.
        return file.exists() or (study.ended(strategy, seed) and not study.trained(strategy, seed, number))

    ready = partial(study.trained, strategy, seed, number)
    return Job(name=f"{strategy}/seed-{seed}/generation-{number:02d}/{task}", done=done, ready=ready, do=do)
