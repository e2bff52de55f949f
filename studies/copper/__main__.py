"""Which labels make a potential of copper right where nobody trained it.

The first command goes on where it was interrupted; several may run side by side, and take about an hour of two cores
together:

    python -m studies.copper run
    python -m studies.copper report
"""

import argparse
import sys
from collections.abc import Sequence

from studies.common.command_line import of_committees
from studies.common.report import write_outcomes
from studies.copper.plan import STRATEGIES, jobs, known
from studies.copper.report import page


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    return of_committees(
        argv,
        name="copper",
        description=__doc__,
        seeds=(0, 1, 2),
        jobs=lambda options: jobs(options.folder, options.seeds, options.strategies),
        report=lambda folder, output: write_outcomes("copper", list(known(folder)), output, page),
        add_arguments=_choices,
    )


def _choices(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="ways to spend labels"
    )


if __name__ == "__main__":
    sys.exit(main())
