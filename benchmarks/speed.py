"""Times of attacks, training, dynamics and evaluations, beside a plain loop and beside matrix products alone.

``make bench`` runs it and the scaling curves; ``python benchmarks/speed.py --tasks attack`` a part of it, and
``--quick`` tiny networks, to see that it works. docs/performance.md explains the columns, references.py the two
references.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from cases import CASES, N_MEMBERS, PAPER, QUICK_CASES, TINY, Case, Size
from memory import peak_bytes
from references import flop, products
from tasks import AUTOGRAD, FLOOR, LOOP, SPARRING, atoms_and_edges, ways
from timing import about, in_turn

from sparring.support.malloc import keep_freed_memory

OUTPUT = Path(__file__).parents[1] / "docs" / "performance" / "speed.json"
TASKS = ("attack", "training", "dynamics", "forces")
STARTUP = "startup"

STARTS = {
    "sparring --help": ("import sys; from sparring.cli import main; sys.argv = ['sparring', '--help']; main()", 0.5),
    "import sparring, torch": ("import sparring, torch", 1.5),
}
"""Programs to start, and the seconds that they may take."""

HEADER = (
    f"{'task':<9} {'system':<18} {'n':>5} | {'sparring':>9} {'autograd':>9} {'loop':>10} {'floor':>8} ms "
    f"| {'loop/sparring':>13} {'sparring/floor':>14} {'promised':>13} "
    f"| {'GFLOP/s':>7} | {'sparring':>8} {'autograd':>8} {'loop':>6} MB"
)


def measure(case: Case, *, n_members: int, size: Size, n_repeats: int, memory: bool) -> dict[str, object]:
    """One row: seconds of a step of all structures, the ratios that matter, and peak memory."""
    builders = ways(case, n_members=n_members, size=size)
    seconds = in_turn({name: build() for name, build in builders.items()}, n_repeats=n_repeats)
    n_atoms, n_edges = atoms_and_edges(case)
    operations = flop(products(size, n_atoms, n_edges), case.task, n_members)
    peaks = {
        name: peak_bytes(case, name, n_members=n_members, tiny=size == TINY)
        for name in builders
        if memory and name != FLOOR
    }
    return {
        **case._asdict(),
        "n_members": n_members,
        "n_atoms": n_atoms,
        "n_edges": n_edges,
        "seconds": seconds,
        "loop_over_sparring": seconds[LOOP] / seconds[SPARRING],
        "sparring_over_floor": seconds[SPARRING] / seconds[FLOOR],
        "structures_per_second": case.n_structures / seconds[SPARRING],
        "flop": operations,
        "floor_flop_per_second": operations / seconds[FLOOR],
        "peak_bytes": peaks,
    }


def line(row: dict[str, Any]) -> str:
    """A row as people read it."""
    ms = {name: f"{1000 * value:.2f}" for name, value in row["seconds"].items()}
    mb = {name: f"{value / 1e6:.0f}" for name, value in row["peak_bytes"].items()}
    promised = [
        f"{sign}{row[key]:g}{'' if kept else '!'}"
        for sign, key, kept in (
            (">", "over_loop", row["over_loop"] is None or row["loop_over_sparring"] >= row["over_loop"]),
            ("<", "over_floor", row["over_floor"] is None or row["sparring_over_floor"] <= row["over_floor"]),
        )
        if row[key] is not None
    ]
    return (
        f"{row['task']:<9} {row['system']:<18} {row['n_structures']:>5} "
        f"| {ms[SPARRING]:>9} {ms.get(AUTOGRAD, '-'):>9} {ms[LOOP]:>10} {ms[FLOOR]:>8}    "
        f"| {row['loop_over_sparring']:>13.1f} {row['sparring_over_floor']:>14.2f} {' '.join(promised):>13} "
        f"| {row['floor_flop_per_second'] / 1e9:>7.0f} "
        f"| {mb.get(SPARRING, '-'):>8} {mb.get(AUTOGRAD, '-'):>8} {mb.get(LOOP, '-'):>6}"
    )


def startups(n_repeats: int) -> list[dict[str, object]]:
    """Median seconds of starting a process for a command, after a first time that warms the disk cache."""
    rows = []
    for name, (code, at_most) in STARTS.items():
        times = []
        for _ in range(n_repeats + 1):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
            times.append(time.perf_counter() - begin)
        seconds = statistics.median(times[1:])
        kept = "" if seconds < at_most else "!"
        print(f"{name:<24} {seconds:.2f} s (promised: < {at_most} s{kept})", flush=True)
        rows.append({"what": name, "seconds": seconds, "at_most": at_most})
    return rows


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny networks and batches, to see that it works")
    parser.add_argument("--tasks", nargs="+", choices=[*TASKS, STARTUP], default=[*TASKS, STARTUP])
    parser.add_argument("--systems", nargs="+", help="only these, for instance 'ammonia'")
    parser.add_argument("--members", type=int, default=N_MEMBERS)
    parser.add_argument("--repeats", type=int, default=5, help="runs of which the median is taken")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, help="measure peaks (not when quick)")
    parser.add_argument("--output", type=Path, help=f"JSON; by default {OUTPUT.name} in docs, and none when quick")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    keep_freed_memory()  # as `sparring` does
    size, cases = (TINY, QUICK_CASES) if options.quick else (PAPER, CASES)
    memory = not options.quick if options.memory is None else options.memory
    print(f"{options.members} members, {torch.get_num_threads()} threads, medians of {options.repeats}; ", end="")
    print("times of one step of all n structures; ! is a promise that is not kept")
    print(HEADER, flush=True)
    rows = []
    for case in cases:
        if case.task not in options.tasks or (options.systems and case.system not in options.systems):
            continue
        row = measure(case, n_members=options.members, size=size, n_repeats=options.repeats, memory=memory)
        print(line(row), flush=True)
        rows.append(row)
    started = startups(options.repeats) if STARTUP in options.tasks else []
    output = options.output or (None if options.quick else OUTPUT)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        result = {"about": about(), "network": size._asdict(), "rows": rows, "startup": started}
        output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
