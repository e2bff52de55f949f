"""Committees that disagree where they err, and labels of little cost, on ethanol (GFN2-xTB).

The first command takes some half an hour of one core and goes on where it was interrupted; several may run side by
side:

    python -m studies.committees run
    python -m studies.committees report
"""

import argparse
import sys
from collections.abc import Sequence

from studies.committees import plan, weak
from studies.committees.report import write_report
from studies.common.command_line import of_committees
from studies.common.jobs import Job


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    return of_committees(
        argv,
        name="committees",
        description=__doc__,
        seeds=(1, 2),
        jobs=_jobs,
        report=lambda folder, output: write_report(list(plan.known(folder)), list(weak.known(folder)), output),
    )


def _jobs(options: argparse.Namespace) -> list[Job]:
    return [*plan.jobs(options.folder, options.seeds), *weak.jobs(options.folder, options.seeds)]


if __name__ == "__main__":
    sys.exit(main())
