"""Growth of the time of a step with seeds, members and atoms, and the powers of that growth.

``make bench`` runs it after speed.py. At small sizes the constant overhead dominates. The powers
are fitted where work dominates: from the first size on at which matrix products alone (the floor, see references.py)
are a quarter of the time.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from cases import N_MEMBERS, PAPER, TINY, Case, Size
from tasks import FLOOR, LOOP, SPARRING, ways
from timing import about, exponent, in_turn

from sparring.support.malloc import keep_freed_memory

OUTPUT = Path(__file__).parents[1] / "docs" / "performance" / "scaling.json"
AT_MOST = 1.05
"""Largest power allowed."""
WORK = 0.25
FEWEST = 3
"""Smallest number of sizes to which a power is fitted."""


class Curve(NamedTuple):
    """A series of cases that differ in one size.

    Attributes:
        sizes: Sizes in ascending order.
        case: Function that gives the case of a task and a size.
        n_members: Function that gives the number of members for a size.
        about: Description of what is constant.
    """

    sizes: tuple[int, ...]
    case: Callable[[str, int], Case]
    n_members: Callable[[int], int]
    about: str


CURVES = {
    "seeds": Curve(
        (1, 3, 10, 30, 100, 300, 1000),
        lambda task, n: Case(task, "ammonia", n),
        lambda n: N_MEMBERS,
        f"ammonia, {N_MEMBERS} members",
    ),
    "members": Curve((2, 5, 10, 20), lambda task, n: Case(task, "ammonia", 30), lambda n: n, "30 molecules of ammonia"),
    "atoms": Curve(
        (4, 8, 16, 32, 64, 128, 256, 512, 1000),
        lambda task, n: Case(task, f"silicon {n}", 1),
        lambda n: N_MEMBERS,
        f"a periodic cell of silicon, {N_MEMBERS} members",
    ),
}
QUICK_SIZES = {"seeds": (1, 2, 4), "members": (2, 3, 4), "atoms": (4, 8, 16)}


def measure(name: str, sizes: Sequence[int], *, task: str, size: Size, n_repeats: int) -> dict[str, object]:
    """One curve: seconds of a step at every size, and their power where work dominates.

    The plain loop is timed at the first size only: with more seeds it takes so many times as long.
    """
    curve = CURVES[name]
    seconds: dict[str, list[float]] = {SPARRING: [], FLOOR: [], LOOP: []}
    print(f"{task} step against {name}: {curve.about}\n{name:>8} {'sparring':>10} {'floor':>10} ms", flush=True)
    for n in sizes:
        builders = ways(curve.case(task, n), n_members=curve.n_members(n), size=size)
        wanted = (SPARRING, FLOOR, LOOP) if name == "seeds" and n == sizes[0] else (SPARRING, FLOOR)
        for way, took in in_turn({way: builders[way]() for way in wanted}, n_repeats=n_repeats).items():
            seconds[way].append(took)
        print(f"{n:>8} {1000 * seconds[SPARRING][-1]:>10.2f} {1000 * seconds[FLOOR][-1]:>10.2f}", flush=True)
    first = where_work_dominates(seconds[SPARRING], seconds[FLOOR])
    power = exponent(sizes[first:], seconds[SPARRING][first:])
    kept = "" if power <= AT_MOST else "!"
    print(f"grows with the power {power:.2f} from {sizes[first]} on (promised: <= {AT_MOST}{kept})\n", flush=True)
    return {
        "about": curve.about,
        "sizes": list(sizes),
        "seconds": {way: took for way, took in seconds.items() if took},
        "exponent": power,
        "floor_exponent": exponent(sizes[first:], seconds[FLOOR][first:]),
        "fitted_from": sizes[first],
    }


def where_work_dominates(seconds: Sequence[float], floor: Sequence[float]) -> int:
    """The place of the first size at which the floor is a quarter of the time; the last three sizes count anyway."""
    shares = [below / took for below, took in zip(floor, seconds, strict=True)]
    busy = [place for place, share in enumerate(shares) if share >= WORK]
    return max(0, min([*busy, len(shares) - FEWEST]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks and few sizes, to see that it works")
    parser.add_argument("--task", choices=("attack", "dynamics", "forces"), default="attack")
    parser.add_argument("--curves", nargs="+", choices=list(CURVES), default=list(CURVES))
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is taken")
    parser.add_argument("--output", type=Path, help=f"JSON; by default {OUTPUT.name} in docs, and none when quick")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as `sparring` does
    print(f"{torch.get_num_threads()} threads, medians of {options.repeats}")
    curves = {
        name: measure(
            name,
            QUICK_SIZES[name] if options.quick else CURVES[name].sizes,
            task=options.task,
            size=TINY if options.quick else PAPER,
            n_repeats=options.repeats,
        )
        for name in options.curves
    }
    output = options.output or (None if options.quick else OUTPUT)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        result = {"about": about(), "task": options.task, "curves": curves}
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
