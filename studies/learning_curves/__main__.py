"""Learning curves of networks: errors against the number of labels, at the same number of training steps.

Committees of three learn snapshots of dynamics at 500 K, of ethanol (GFN2-xTB) and alanine dipeptide (OPLS-AA); errors
are those of 500 later snapshots. The first command takes some two hours of one core and goes on where it was
interrupted; several may run side by side:

    python -m studies.learning_curves run
    python -m studies.learning_curves report
"""

import sys
from collections.abc import Sequence

from studies.common.command_line import of_committees
from studies.learning_curves.plan import jobs, known
from studies.learning_curves.report import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    return of_committees(
        argv,
        name="learning_curves",
        description=__doc__,
        seeds=(1, 2, 3),
        jobs=lambda options: jobs(options.folder, options.seeds),
        report=lambda folder, output: write_report(list(known(folder)), output),
    )


if __name__ == "__main__":
    sys.exit(main())
