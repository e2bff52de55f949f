"""Learning curves of networks: errors against the number of labels, at the same number of training steps.

Committees of three learn snapshots of dynamics at 500 K, of ethanol (GFN2-xTB) and alanine dipeptide (OPLS-AA); errors
are those of 500 later snapshots. The first command takes some two hours of one core and goes on where it was
interrupted; several may run side by side:

    python -m studies.learning_curves run
    python -m studies.learning_curves report
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from sparring.support.malloc import keep_freed_memory
from studies.common.command_line import RESULTS
from studies.common.jobs import run_all
from studies.learning_curves.plan import jobs, known
from studies.learning_curves.report import write_report


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m studies.learning_curves",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is missing")
    run.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="seeds, one committee for each")
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for jobs of other processes")
    run.add_argument("--list", action="store_true", help="list what is left to do, and run nothing")
    report = commands.add_parser("report", help="write the table and the figure of what has been computed")
    report.add_argument("--output", type=Path, default=RESULTS, help="folder of the report")
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=Path("runs/studies/learning_curves"))
    options = parser.parse_args(argv)
    if options.command == "report":
        print(write_report(list(known(options.folder)), options.output))
        return 0
    keep_freed_memory()  # as `sparring` does
    torch.set_num_threads(1)
    return run_all(
        jobs(options.folder, options.seeds), options.folder / "claims", wait=options.wait, only_list=options.list
    )


if __name__ == "__main__":
    sys.exit(main())
