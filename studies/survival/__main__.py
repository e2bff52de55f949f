"""Labels that make potentials survive their own dynamics, on ethanol and alanine dipeptide.

The first command goes on where it was interrupted; several may run side by side. A run takes half an hour of one core,
its test as long if copies survive:

    python -m studies.survival run --molecules ethanol --seeds 0
    python -m studies.survival report
"""

import argparse
import sys
from collections.abc import Sequence

from studies.common.command_line import of_committees
from studies.common.report import write_outcomes
from studies.survival.data import MOLECULES
from studies.survival.plan import STRATEGIES, jobs, known
from studies.survival.report import page


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    return of_committees(
        argv,
        name="survival",
        description=__doc__,
        seeds=(0, 1, 2),
        jobs=lambda options: jobs(options.folder, options.seeds, options.molecules, options.strategies),
        report=lambda folder, output: write_outcomes("survival", list(known(folder)), output, page),
        add_arguments=_choices,
    )


def _choices(run: argparse.ArgumentParser) -> None:
    run.add_argument("--molecules", nargs="+", choices=MOLECULES, default=list(MOLECULES), help="molecules")
    run.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), help="ways to spend labels"
    )


if __name__ == "__main__":
    sys.exit(main())
