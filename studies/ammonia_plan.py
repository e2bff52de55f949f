"""The study of ammonia as a plan: strategies, how large it is, and the pieces that it is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from pathlib import Path

import ammonia_tasks
from layout import ADVERSARIAL, Layout, Strategy
from loops import run_piece
from schedule import Piece

from sparring.config import Config, load

__all__ = ["ADVERSARIAL", "PAPER", "STRATEGIES", "TASKS", "TEMPERATURES", "Strategy", "Study", "name_of", "pieces"]

EXAMPLE = Path(__file__).parents[1] / "examples" / "ammonia.yaml"
TASKS = ("run", "barrier", "landscape", "stability")
TEMPERATURES = (1000.0, 500.0, 700.0, 800.0, 600.0, 900.0)
"""In the order in which they are wanted: what stops early has been asked at both ends."""


def random_displacements(amplitude: float, n_labels: int) -> Strategy:
    """The paper's baseline: that many structures, none of them sorted out."""
    attack = {"kind": "random", "n_seeds": n_labels, "amplitude": f"{amplitude} Å"}
    return Strategy(title=f"random {amplitude} Å, {n_labels}", changes={"attack": attack, "selection": []})


PAPER = "paper"
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
}
"""In the order in which they are computed; names are those of folders."""


def name_of(strategy: str, generation: int | None = None) -> str:
    """What people call a strategy, or a committee of it."""
    title = STRATEGIES[strategy].title if strategy in STRATEGIES else strategy
    if generation is None or STRATEGIES.get(strategy, STRATEGIES[ADVERSARIAL]).generations == 2:
        return title
    return f"{title}, generation {generation}"


@dataclass(frozen=True, kw_only=True)
class Study(Layout):
    """What is computed, and how large.

    Attributes:
        folder: Of all runs and results.
        seeds: One run of every strategy for each.
        strategies: By name.
        tasks: Of `TASKS`.
        base: The configuration that strategies change.
        preset: Of that file.
        store: Where labels are kept, for all runs together.
        workers: Processes that label.
        leave: Strategies whose runs another process computes.
        temperatures: Of stability, in K.
        copies: At each temperature.
        duration: Of stability, in fs.
        points: Of the landscape, along R and Z.
    """

    folder: Path
    seeds: tuple[int, ...] = (0, 1, 2)
    strategies: Mapping[str, Strategy] = field(default_factory=lambda: STRATEGIES)
    tasks: tuple[str, ...] = TASKS
    base: Path = EXAMPLE
    preset: str | None = None
    store: Path = Path("labels")
    workers: int = 1
    leave: tuple[str, ...] = ()
    temperatures: tuple[float, ...] = TEMPERATURES
    copies: int = 20
    duration: float = 5000.0
    points: tuple[int, int] = (21, 21)

    def config(self, strategy: str, seed: int) -> Config:
        """The configuration of a run; also of a strategy that is not looked at, for all begin as one of them does."""
        chosen = {**STRATEGIES, **self.strategies}[strategy]
        labels = {"labels.store": str(self.store), "labels.n_workers": self.workers}
        options = {**chosen.changes, **labels, "seed": seed, "generations": chosen.generations}
        return load(self.base, chosen.preset or self.preset, options)

    @cached_property
    def truth(self) -> ammonia_tasks.Truth:
        """What the labels themselves say, the same for all."""
        return ammonia_tasks.Truth(self.config(ADVERSARIAL, 0), self.folder / "results" / "truth", self.points)


def pieces(study: Study) -> list[Piece]:
    """All pieces of a study, in the order in which they are wanted."""
    found = list(_truths(study))
    for seed in study.seeds:
        for strategy in study.strategies:
            if "run" in study.tasks and strategy not in study.leave:
                found.append(run_piece(study, strategy, seed))
            for task in ("barrier", "landscape"):
                found += list(_of_committees(study, strategy, seed, task)) if task in study.tasks else []
    if "stability" in study.tasks:
        found += _stabilities(study)
    return found


def _truths(study: Study) -> Iterator[Piece]:
    for task in ("landscape", "barrier"):
        if task in study.tasks:
            file = study.folder / "results" / "truth" / f"{task}.json"
            do = partial(getattr(ammonia_tasks, f"true_{task}"), lambda: study.truth, file)
            yield Piece(name=f"truth/{task}", done=file.exists, ready=lambda: True, do=do)


def _of_committees(study: Study, strategy: str, seed: int, task: str) -> Iterator[Piece]:
    for number in study.generations(strategy):
        file = study.result(strategy, seed, number, task)
        do = partial(getattr(ammonia_tasks, task), lambda: study.truth, study.generation(strategy, seed, number), file)
        yield _piece(study, strategy, seed, number, task, file, do)


def _stabilities(study: Study) -> Iterator[Piece]:
    # The last committees are asked about most, and each temperature of all of them beside each other.
    for age in range(max(chosen.generations for chosen in study.strategies.values())):
        for temperature, seed, strategy in product(study.temperatures, study.seeds, study.strategies):
            number = study.strategies[strategy].generations - age
            if number in study.generations(strategy):
                yield _stability(study, strategy, seed, number, temperature)


def _stability(study: Study, strategy: str, seed: int, number: int, temperature: float) -> Piece:
    task = f"stability-{temperature:g}K"
    file = study.result(strategy, seed, number, task)
    do = partial(
        ammonia_tasks.stable,
        lambda: study.truth,
        study.generation(strategy, seed, number),
        file,
        temperature=temperature,
        n_copies=study.copies,
        duration=study.duration,
        seed=seed,
    )
    return _piece(study, strategy, seed, number, task, file, do)


def _piece(study: Study, strategy: str, seed: int, number: int, task: str, file: Path, do: "partial[None]") -> Piece:
    def done() -> bool:
        # A run that found nothing more to label has no later committees, and they need no results.
        return file.exists() or (study.ended(strategy, seed) and not study.trained(strategy, seed, number))

    ready = partial(study.trained, strategy, seed, number)
    return Piece(name=f"{strategy}/seed-{seed}/generation-{number:02d}/{task}", done=done, ready=ready, do=do)
