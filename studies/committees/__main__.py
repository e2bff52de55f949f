"""Committees that disagree where they err, and labels of little cost, on ethanol (GFN2-xTB).

The first command takes some half an hour of one core and goes on where it was interrupted; several may run side by
side:

    python -m studies.committees run
    python -m studies.committees report
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sparring.support.malloc import keep_freed_memory
from studies.committees import plan, weak
from studies.committees.report import write_report
from studies.common.command_line import RESULTS
from studies.common.jobs import run_all


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m studies.committees",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is missing")
    run.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="seeds, one committee of each kind for each")
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for jobs of other processes")
    run.add_argument("--list", action="store_true", help="list what is left to do, and run nothing")
    report = commands.add_parser("report", help="write the tables of what has been computed")
    report.add_argument("--output", type=Path, default=RESULTS, help="folder of the report")
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=Path("runs/studies/committees"))
    options = parser.parse_args(argv)
    if options.command == "report":
        print(write_report(list(plan.known(options.folder)), list(weak.known(options.folder)), options.output))
        return 0
    keep_freed_memory()  # as `sparring` does
    torch.set_num_threads(1)
    return run_all(
        [*plan.jobs(options.folder, options.seeds), *weak.jobs(options.folder, options.seeds)],
        options.folder / "claims",
        wait=options.wait,
        only_list=options.list,
    )


if __name__ == "__main__":
    sys.exit(main())
