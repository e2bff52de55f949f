"""The paper's Figure 2 with repeats: adversarial, random and MD sampling of a double well (Sec. III.A and V.A).

    python studies/double_well.py run --loops 100 --folder runs/studies/double_well
    python studies/double_well.py report --folder runs/studies/double_well

``run`` computes loops in groups. Each group has a file of its own, and after each generation it is noted how far it has
come: called again after a kill, it goes on from there. ``report`` reads whatever groups are finished, and writes
numbers, figures and a page to docs/results.
"""

import argparse
import hashlib
import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from double_well_loops import Panel, run_loops
from double_well_protocol import Course, Protocol
from double_well_search import STRATEGIES

import sparring
from sparring.support.files import write_bytes, write_text
from sparring.support.malloc import keep_freed_memory
from sparring.training.splits import Splits

FOLDER = Path("runs/studies/double_well")
RESULTS = Path(__file__).parents[1] / "docs" / "results"
CHANGES: dict[str, dict[str, Any]] = {
    "2d": {},
    "1d": {"well": "1d", "n_start": 66},
}
"""What a well has of its own."""


def study_name(protocol: Protocol) -> str:
    """The folder of loops of one protocol, and how the report calls them."""
    name = f"{protocol.well}-{protocol.n_units}"
    usual = Protocol(**CHANGES[protocol.well], n_units=protocol.n_units)
    if protocol == usual:
        return name
    return f"{name}-{hashlib.sha256(json.dumps(asdict(protocol)).encode()).hexdigest()[:6]}"


def run(
    protocol: Protocol, folder: Path, *, n_loops: int, group: int, strategies: Sequence[str], first_loop: int = 0
) -> None:
    """Compute what is missing of a study, group by group."""
    here = folder / study_name(protocol)
    here.mkdir(parents=True, exist_ok=True)
    write_text(here / "protocol.json", json.dumps(asdict(protocol), indent=1) + "\n")
    for first in range(first_loop, first_loop + n_loops, group):
        numbers = range(first, min(first + group, first_loop + n_loops))
        name = f"{'+'.join(strategies)}-{numbers[0]:03d}-{numbers[-1]:03d}"
        file = here / f"{name}.json"
        if file.exists():
            print(f"{file}: done before", flush=True)
            continue
        print(f"{file}: {len(numbers)} loops", flush=True)
        compute(protocol, here / name, numbers, strategies)


def compute(protocol: Protocol, path: Path, numbers: Sequence[int], strategies: Sequence[str]) -> None:
    """One group, from the generation that an earlier call came to, into ``path`` with the endings .json and .npz."""
    part, grids = path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.npz")
    before: dict[str, Any] = {"courses": [], "wall": 0.0, "cpu": 0.0}
    if part.exists():
        before = json.loads(part.read_text(encoding="utf-8"))
    began, cpu = time.time() - before["wall"], time.process_time() - before["cpu"]
    arrays = dict(np.load(grids, allow_pickle=False)) if part.exists() else {}

    def keep(courses: Sequence[Course], panels: Sequence[Panel]) -> None:
        for one in panels:
            key = f"{one.strategy}/{one.generation}"
            arrays[f"{key}/energy"], arrays[f"{key}/spread"] = one.energy.astype("f4"), one.spread.astype("f4")
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)
        write_bytes(grids, content.getvalue())
        times = {"wall": time.time() - began, "cpu": time.process_time() - cpu}
        write_text(part, json.dumps({"courses": [written(course) for course in courses], **times}) + "\n")

    courses = run_loops(
        protocol,
        numbers,
        strategies,
        begun=[read(course, protocol) for course in before["courses"]],
        panels_of=numbers[0],
        say=lambda line: print(f"{time.time() - began:7.0f} s  {line}", flush=True),
        keep=keep,
    )
    content = {
        "version": sparring.__version__,
        "torch": torch.__version__,
        "protocol": asdict(protocol),
        "wall_time": round(time.time() - began, 1),
        "cpu_time": round(time.process_time() - cpu, 1),
        "loops": [{"loop": c.number, "strategy": c.strategy, "generations": c.record} for c in courses],
    }
    write_text(path.with_name(f"{path.name}.json"), json.dumps(content) + "\n")
    part.unlink()


def written(course: Course) -> dict[str, Any]:
    """A course as JSON; all members share their split."""
    splits = {"test": course.splits.test, "train": course.splits.train[0], "validation": course.splits.validation[0]}
    return {**course._asdict(), "points": course.points.tolist(), "splits": splits}


def read(content: dict[str, Any], protocol: Protocol) -> Course:
    """A course that has been written."""
    ids = {name: tuple(values) for name, values in content["splits"].items()}
    train, validation = ((ids[name],) * protocol.n_members for name in ("train", "validation"))
    splits = Splits(test=ids["test"], train=train, validation=validation)
    return Course(content["number"], content["strategy"], np.array(content["points"]), splits, tuple(content["record"]))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="compute loops; what is there already stays", description=run.__doc__)
    running.add_argument("--well", choices=sorted(CHANGES), default="2d", help="which potential (default: %(default)s)")
    running.add_argument("--loops", type=int, default=100, help="how many loops (default: %(default)s)")
    running.add_argument("--first-loop", type=int, default=0, help="number of the first one (default: %(default)s)")
    running.add_argument("--group", type=int, default=10, help="loops computed side by side (default: %(default)s)")
    running.add_argument(
        "--strategies", nargs="+", choices=sorted(STRATEGIES), default=list(STRATEGIES), help="default: all"
    )
    running.add_argument("--folder", type=Path, default=FOLDER, help="where groups are kept (default: %(default)s)")
    for field, default in asdict(Protocol()).items():
        if field != "well":
            flag = f"--{field.replace('_', '-')}"
            running.add_argument(flag, type=type(default), default=None, help=f"see Protocol (default: {default})")
    reporting = verbs.add_parser("report", help="numbers and figures of what has been computed")
    reporting.add_argument("--folder", type=Path, default=FOLDER, help="where groups are (default: %(default)s)")
    reporting.add_argument("--output", type=Path, default=RESULTS, help="where to write (default: %(default)s)")
    reporting.add_argument("--keep", action="store_true", help="loops of the record in OUTPUT that FOLDER has not")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.verb == "run":
        given = {f: v for f in asdict(Protocol()) if f != "well" and (v := getattr(arguments, f)) is not None}
        protocol = replace(Protocol(**CHANGES[arguments.well]), **given)
        run(
            protocol,
            arguments.folder,
            n_loops=arguments.loops,
            first_loop=arguments.first_loop,
            group=arguments.group,
            strategies=[s for s in STRATEGIES if s in arguments.strategies],
        )
    else:
        from double_well_page import report  # matplotlib is heavy, and not needed to run

        for line in report(arguments.folder, arguments.output, keep=arguments.keep):
            print(line)


if __name__ == "__main__":
    main()
