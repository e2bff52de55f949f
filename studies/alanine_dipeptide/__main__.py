"""Alanine dipeptide, strategy beside strategy and seed beside seed: what do attacks on (phi, psi) gain for each label?

    python -m studies.alanine_dipeptide run --seeds 0 1 2       runs jobs; may be restarted, and started several times
    python -m studies.alanine_dipeptide report                  tables and figures of what there is, and what is missing

Attacks on the two torsions (the preset schnet of examples/alanine_dipeptide.yaml) are compared with the same number of
labels of random torsions and of longer dynamics, with attacks under the Boltzmann weight and with attacks that continue
with all atoms. Each committee is evaluated by its energy and its uncertainty on two grids over (phi, psi), the rigid
and the relaxed one, and some of them by the free energy.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from studies.alanine_dipeptide.plan import NAME, STRATEGIES, TASKS, Study, jobs
from studies.common import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; gives the number of jobs that failed."""
    arguments = command_line.parse_args(
        argv, name=NAME, description=__doc__, strategies=STRATEGIES, tasks=TASKS, store=None
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
    )


def _report(study: Study, output: Path, keep: bool) -> str:
    from studies.alanine_dipeptide.report import report  # matplotlib is slow to import, and not needed to run

    return report(study, output, keep=keep)


if __name__ == "__main__":
    sys.exit(main())
