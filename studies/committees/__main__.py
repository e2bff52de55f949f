"""Committees that disagree where they err, and labels of little cost, on ethanol (GFN2-xTB).

The first command takes some half an hour of one core and goes on where it was interrupted; several may run side by
side:

    python -m studies.committees run
    python -m studies.committees report
"""

import sys
from collections.abc import Sequence

from studies.committees import plan, weak
from studies.committees.report import write_report
from studies.common.command_line import of_committees


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    return of_committees(
        argv,
        name="committees",
        description=__doc__,
        seeds=(1, 2),
        jobs=lambda folder, seeds: [*plan.jobs(folder, seeds), *weak.jobs(folder, seeds)],
        report=lambda folder, output: write_report(list(plan.known(folder)), list(weak.known(folder)), output),
    )


if __name__ == "__main__":
    sys.exit(main())
