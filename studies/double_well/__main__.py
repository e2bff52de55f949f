"""The paper's Figure 2 with repeats: adversarial, random and MD sampling of a double well (Sec. III.A and V.A).

    python -m studies.double_well run --loops 100 --folder runs/studies/double_well
    python -m studies.double_well report --folder runs/studies/double_well

``run`` computes loops in groups. Each group has a file of its own and is saved after each generation, so that a call
after a kill resumes it. ``report`` reads all groups that are finished, and writes a record, figures and a page to
docs/results.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from sparring.support.malloc import keep_freed_memory
from studies.common.command_line import RESULTS
from studies.double_well.groups import CHANGES, run
from studies.double_well.proposers import STRATEGIES
from studies.double_well.protocol import Protocol

FOLDER = Path("runs/studies/double_well")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.double_well", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    running = verbs.add_parser("run", help="compute loops that are missing", description=run.__doc__)
    running.add_argument("--well", choices=sorted(CHANGES), default="2d", help="potential (default: %(default)s)")
    running.add_argument("--loops", type=int, default=100, help="number of loops (default: %(default)s)")
    running.add_argument("--first-loop", type=int, default=0, help="number of the first one (default: %(default)s)")
    running.add_argument("--group", type=int, default=10, help="number of loops side by side (default: %(default)s)")
    running.add_argument(
        "--strategies", nargs="+", choices=sorted(STRATEGIES), default=list(STRATEGIES), help="default: all"
    )
    running.add_argument("--folder", type=Path, default=FOLDER, help="folder of the groups (default: %(default)s)")
    for field, default in asdict(Protocol()).items():
        if field != "well":
            flag = f"--{field.replace('_', '-')}"
            running.add_argument(flag, type=type(default), default=None, help=f"see Protocol (default: {default})")
    reporting = verbs.add_parser("report", help="numbers and figures of what has been computed")
    reporting.add_argument("--folder", type=Path, default=FOLDER, help="folder of the groups (default: %(default)s)")
    reporting.add_argument("--output", type=Path, default=RESULTS, help="folder of the report (default: %(default)s)")
    reporting.add_argument("--keep", action="store_true", help="keep studies of the record in OUTPUT that FOLDER lacks")
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
        from studies.double_well.page import report  # matplotlib is heavy, and not needed to run

        for line in report(arguments.folder, arguments.output, keep=arguments.keep):
            print(line)


if __name__ == "__main__":
    main()
