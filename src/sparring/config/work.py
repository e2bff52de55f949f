"""Products of numbers that are right by themselves: work and memory beyond those of any run."""

from collections.abc import Iterator

from sparring.config.problems import KeyPath
from sparring.config.proposers import Adversarial, BiasedDynamics, Dynamics, DynamicsStart, Scan
from sparring.config.sections import Config

__all__ = ["too_much_work"]

MOST_EPOCHS = 1e9
"""Epochs of all members in all generations; ten million a day is fast."""
MOST_POINTS = 2e7
"""Points on the paths of the attacks of a generation, which are kept in memory."""
MOST_STEPS, MOST_REPLICA_STEPS = 1e9, 1e11
"""Steps of a trajectory, which are computed one after the other, and those of all its replicas."""
MOST_FRAMES = 1e6
"""Frames of a generation, each of which is a structure in memory."""
MOST_STEPS_TO_START = 1e6
"""Steps of the dynamics that moves seeds before an attack."""


def too_much_work(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Problems with products of numbers."""
    yield from _of_training(config)
    for place, proposer in config.located_proposers():
        n_seeds = proposer.n_seeds or 1
        if isinstance(proposer, Dynamics | BiasedDynamics):
            steps = proposer.duration / proposer.timestep
            problems = _of_replicas((*place, "duration"), proposer.duration, proposer.timestep, n_seeds)
            frames = _of_frames((*place, "every"), n_seeds, "seeds", steps / proposer.every, "frames")
            yield from list(problems) or frames
        elif isinstance(proposer, Scan):
            yield from _of_frames((*place, "n_values"), n_seeds, "seeds", proposer.n_values, "values")
        elif isinstance(proposer, Adversarial):
            yield from _of_attacks(proposer, place, n_seeds)
    if (dynamics := config.system.dynamics()) is not None:
        at, sampling = ("system", dynamics[0]), dynamics[1]
        problems = _of_replicas((*at, "duration"), sampling.duration, sampling.timestep)
        frames = _of_frames((*at, "every"), 1, "trajectory", sampling.duration / sampling.every, "snapshots")
        yield from list(problems) or frames
        yield from _of_replicas((*at, "equilibration"), sampling.equilibration, sampling.timestep)
    if (survival := config.evaluation.survival) is not None:
        n_replicas = survival.copies * len(survival.temperature)
        yield from _of_replicas(("evaluation", "survival", "time"), survival.time, survival.timestep, n_replicas)


def _of_training(config: Config) -> Iterator[tuple[KeyPath, str]]:
    training, n_members = config.training, config.committee.n_members
    if training.kind not in ("fit", "fine_tune"):
        return
    second = training.second_stage
    n_epochs = training.n_epochs + (0 if second is None else second.n_epochs)
    n_all = float(n_epochs) * n_members * config.generations
    if n_all > MOST_EPOCHS:
        of = f"{n_epochs:,} epochs of {n_members} members in {config.generations:,} generations"
        yield ("training", "n_epochs"), f"{of} are {n_all:.2g}, more than {MOST_EPOCHS:.2g}; take fewer"


def _of_attacks(attack: Adversarial, place: KeyPath, n_seeds: int) -> Iterator[tuple[KeyPath, str]]:
    n_points = float(n_seeds) * attack.n_steps
    if n_points > MOST_POINTS:
        of = f"{n_seeds:,} seeds and {attack.n_steps:,} steps"
        yield (*place, "n_steps"), f"{of} are {n_points:.2g} geometries, more than {MOST_POINTS:.2g}; take fewer"
    if isinstance(attack.start, DynamicsStart):
        at: KeyPath = (*place, "start", "duration")
        yield from _of_replicas(at, attack.start.duration, attack.start.timestep, most=MOST_STEPS_TO_START)


def _of_replicas(
    at: KeyPath, duration: float, timestep: float, n_replicas: int = 1, most: float = MOST_STEPS
) -> Iterator[tuple[KeyPath, str]]:
    steps = duration / timestep
    of = f"{duration:g} fs are {steps:.2g} steps of {timestep:g} fs"
    if steps > most:
        yield at, f"{of}, more than {most:.2g}; take a shorter time"
    elif steps * n_replicas > MOST_REPLICA_STEPS:
        total = f"{steps * n_replicas:.2g} for {n_replicas:,} replicas, more than {MOST_REPLICA_STEPS:.2g}"
        yield at, f"{of}, {total}; take fewer replicas, or a shorter time"


def _of_frames(at: KeyPath, n: int, of: str, n_each: float | int, what: str) -> Iterator[tuple[KeyPath, str]]:
    if n * n_each > MOST_FRAMES:
        total = f"{n:,} {of} with {n_each:.2g} {what} each are {n * n_each:.2g} structures"
        yield at, f"{total}, more than {MOST_FRAMES:.2g}; take fewer"
