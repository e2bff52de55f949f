"""Measurement of times: a warm-up, medians, and candidates in turn, so that a drift of the machine affects all of them.

A candidate is a :class:`Way` of doing the same thing. Its ``run`` takes some steps and calls ``tick`` after each. The
time of a step is the mean from the first tick to the last, so that what is done once before the first step (drawing
weights, asking how much fits the memory) does not count, nor does the first step, which fills caches.
"""

import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

ProgressCallback = Callable[..., None]
"""Called after every step, with any arguments."""

RUN_SECONDS = 0.3
"""Shortest time of the counted steps of a run; a single step may take longer."""
MOST_STEPS = 20


class Way(NamedTuple):
    """One way of doing a task.

    Attributes:
        run: Function that does a number of steps and ticks after each; a run in several parts ticks in each of them.
        scale: Factor from the time between ticks to the time of one step of all structures.
    """

    run: Callable[[int, ProgressCallback], object]
    scale: float = 1.0


class Clock:
    """Records the times of its ticks."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def tick(self, *_: object) -> None:
        self.times.append(time.perf_counter())


def step_seconds(way: Way, n_steps: int) -> float:
    """Seconds of one step of all structures, from a run of `n_steps` steps, without the first."""
    clock = Clock()
    way.run(n_steps, clock.tick)
    between = (clock.times[-1] - clock.times[0]) / (len(clock.times) - 1)
    n_parts = len(clock.times) / n_steps
    return between * n_parts * way.scale


def in_turn(ways: Mapping[str, Way], *, n_repeats: int) -> dict[str, float]:
    """Median seconds of a step of every way, from rounds in which each runs once, after a run of each to warm up.

    Where steps are slow, the first step of every run is warm-up enough, and the first run counts.
    """
    n_steps, times = {}, {}
    for name, way in ways.items():
        first = step_seconds(way, 2)
        of_a_tick = first / way.scale
        n_steps[name] = 1 + min(MOST_STEPS, max(1, int(RUN_SECONDS / of_a_tick)))
        times[name] = [first] if of_a_tick > RUN_SECONDS else []
    for done in range(n_repeats):
        for name, way in ways.items():
            if len(times[name]) == done:
                times[name].append(step_seconds(way, n_steps[name]))
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the size that the time grows with: slope of a straight line through the logarithms."""
    slope, _ = np.polyfit(np.log(sizes), np.log(seconds), 1)
    return float(slope)


def about() -> dict[str, object]:
    """Software and settings on which times depend."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
    }
