"""Time of one step of an attack: all seeds at once, against one seed at a time with members in a loop.

Run it with ``python benchmarks/attack.py --output attack.json``; it takes about a minute. Ammonia, SchNets of the
paper's size with random weights, the objective of Eq. 13 in its logarithm, single precision. The plain loop is that of
references.py: its time is the same for all seeds, so that one is timed and multiplied by their number. Then alanine
dipeptide, 50 seeds in one batch, in Cartesian space and in its two torsions, which shows the cost of rotations.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from cases import N_MEMBERS, PAPER, TINY, TORSIONS, Case
from tasks import AUTOGRAD, LOOP, SPARRING, ways
from timing import about, in_turn

from sparring.support.malloc import keep_freed_memory

WAYS = (SPARRING, AUTOGRAD, LOOP)
N_DIPEPTIDES = 50
"""Attacks of a generation in the paper's third example."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 10, 30, 100])
    parser.add_argument("--members", type=int, default=N_MEMBERS)
    parser.add_argument("--repeats", type=int, default=5, help="attacks of which the median is taken")
    parser.add_argument("--quick", action="store_true", help="tiny networks, to see that it works")
    parser.add_argument("--output", type=Path, help="where to write the numbers as JSON")
    options = parser.parse_args(arguments)
    keep_freed_memory()  # as `sparring` does
    print(f"ms per attack step, median of {options.repeats}; {options.members} members, ", end="")
    print(f"{torch.get_num_threads()} threads; 'one at a time' is one timed seed, scaled")
    print(f"{'seeds':>6} {'all at once':>12} {'autograd':>10} {'one at a time':>14} {'ratio':>7}", flush=True)
    rows = []
    for n_seeds in options.seeds:
        builders = ways(
            Case("attack", "ammonia", n_seeds), n_members=options.members, size=TINY if options.quick else PAPER
        )
        seconds = in_turn({way: builders[way]() for way in WAYS}, n_repeats=options.repeats)
        together, autograd, apart = (1000 * seconds[way] for way in WAYS)
        print(f"{n_seeds:>6} {together:>12.1f} {autograd:>10.1f} {apart:>14.1f} {apart / together:>7.1f}", flush=True)
        numbers = {"stacked_ms": together, "autograd_ms": autograd, "looped_ms": apart, "ratio": apart / together}
        rows.append({"n_seeds": n_seeds, **numbers})
    n_dipeptides = 2 if options.quick else N_DIPEPTIDES
    torsions: dict[str, float] = {"n_seeds": n_dipeptides}
    for name, system in (("cartesian_ms", "alanine dipeptide"), ("dihedrals_ms", TORSIONS)):
        case = Case("attack", system, n_dipeptides)
        built = ways(case, n_members=options.members, size=TINY if options.quick else PAPER)[SPARRING]
        torsions[name] = 1000 * in_turn({SPARRING: built()}, n_repeats=options.repeats)[SPARRING]
        print(f"{system}, {case.n_structures} seeds at once: {torsions[name]:.1f}", flush=True)
    if options.output:
        result = {**about(), "members": options.members, "rows": rows, "torsions": torsions}
        options.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
