"""Ammonia, strategy beside strategy and seed beside seed: what do adversarial attacks gain for each label?

    python -m studies.ammonia run --seeds 0 1 2       runs jobs; may be restarted, and started several times at once
    python -m studies.ammonia report                  tables and figures of what there is, and what is missing

Adversarial attacks (examples/ammonia.yaml), random displacements and snapshots of molecular dynamics start with the
same data and the same committee of the first generation, and then add labels. Each committee is evaluated by the
barrier of the inversion, by the landscape of Fig. 3e, and by the stability of its dynamics.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.ammonia.plan import NAME, STRATEGIES, TASKS, TEMPERATURES, Study, jobs
from studies.common import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    arguments = command_line.parse_args(
        argv,
        name=NAME,
        description=__doc__,
        strategies=STRATEGIES,
        tasks=TASKS,
        store=Path("labels"),
        add_arguments=_add_arguments,
    )
    return command_line.main(
        arguments, study=_study, whole=lambda folder: Study(folder=folder), jobs=jobs, report=_report
    )


def _study(arguments: argparse.Namespace) -> Study:
    return Study(
        folder=arguments.folder,
        seeds=arguments.seeds,
        strategies=arguments.strategies,
        tasks=arguments.tasks,
        store=arguments.store,
        workers=arguments.workers,
        leave=tuple(arguments.leave),
        temperatures=tuple(arguments.temperatures),
    )


def _report(study: Study, output: Path, keep: bool) -> str:
    from studies.ammonia.report import report  # matplotlib is slow to import, and not needed to run

    return report(study, output, keep=keep)


def _add_arguments(run: argparse.ArgumentParser) -> None:
    run.add_argument("--leave", nargs="*", choices=STRATEGIES, default=(), help="strategies another process runs")
    run.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES, help="of stability, in K")
    run.add_argument("--workers", type=int, default=1, help="processes that compute labels")


if __name__ == "__main__":
    sys.exit(main())
