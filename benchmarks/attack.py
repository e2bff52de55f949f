"""How long one step of an attack takes: all seeds at once, against one seed at a time with members in a loop.

Run it with ``make bench``, or ``python benchmarks/attack.py --output attack.json``; it takes about a minute.

Ammonia, SchNets of the paper's size with random weights, the objective of Eq. 13 in its logarithm, single precision.
Both ways do the same arithmetic on the same seeds with the same code; only how many seeds and members go through
the network together differs. One seed at a time takes the same time for every seed, so a few are timed and the
rest is scaled.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from ase.build import molecule

from sparring.attacks import attack
from sparring.committee import Committee
from sparring.memory import keep_freed_memory
from sparring.objectives import Term, force_variance, log, mean_energy
from sparring.potentials import SchNet
from sparring.structures import Structures

# ln p of Eq. 12 at 20 kcal/mol, but for the constant ln Q.
OBJECTIVE = log(force_variance) + (-1 / 0.867) * mean_energy


def members(n_members: int) -> list[SchNet]:
    networks = [SchNet() for _ in range(n_members)]
    for index, network in enumerate(networks):
        network.initialise(torch.Generator().manual_seed(index))
    return networks


def seconds(committee: Committee, seeds: Structures, objective: Term, n_steps: int) -> float:
    start = time.perf_counter()
    attack(committee, seeds, objective, seed=0, n_steps=n_steps - 1, max_memory=None)
    return time.perf_counter() - start


def milliseconds_a_step(committee: Committee, seeds: Structures, n_steps: int, n_repeats: int) -> float:
    """Median over repeats, after one that is not counted."""
    seconds(committee, seeds, OBJECTIVE, n_steps)
    times = [seconds(committee, seeds, OBJECTIVE, n_steps) for _ in range(n_repeats)]
    return 1000 * statistics.median(times) / n_steps


def compare(arguments: argparse.Namespace) -> list[dict[str, float]]:
    networks = members(arguments.members)
    stacked, looped = Committee(networks, stacked=True), Committee(networks, stacked=False)
    ammonia = molecule("NH3")
    one_by_one = Structures.from_atoms([ammonia] * arguments.timed_seeds)
    single = [one_by_one.take([index]) for index in range(arguments.timed_seeds)]
    alone = statistics.median(milliseconds_a_step(looped, seed, arguments.steps, arguments.repeats) for seed in single)
    rows = []
    print(f"ms per attack step, median of {arguments.repeats}; {arguments.members} members, ", end="")
    print(
        f"{torch.get_num_threads()} threads; 'one at a time' is {arguments.timed_seeds} timed seeds, scaled", flush=True
    )
    print(f"{'seeds':>6} {'all at once':>12} {'one at a time':>14} {'ratio':>7}")
    for n_seeds in arguments.seeds:
        seeds = Structures.from_atoms([ammonia] * n_seeds)
        together = milliseconds_a_step(stacked, seeds, arguments.steps, arguments.repeats)
        apart = alone * n_seeds
        print(f"{n_seeds:>6} {together:>12.1f} {apart:>14.1f} {apart / together:>7.1f}", flush=True)
        rows.append({"n_seeds": n_seeds, "stacked_ms": together, "looped_ms": apart, "ratio": apart / together})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10, 30, 100])
    parser.add_argument("--members", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="steps of each attack")
    parser.add_argument("--repeats", type=int, default=5, help="attacks of which the median is taken")
    parser.add_argument("--timed-seeds", type=int, default=3, help="seeds that are timed one at a time")
    parser.add_argument("--output", type=Path, help="where to write the numbers as JSON")
    arguments = parser.parse_args()
    keep_freed_memory()  # as `sparring` does
    rows = compare(arguments)
    if arguments.output:
        about = {"torch": torch.__version__, "threads": torch.get_num_threads(), "members": arguments.members}
        arguments.output.write_text(json.dumps({**about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
