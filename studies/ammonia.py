"""Ammonia, strategy beside strategy and seed beside seed: what do adversarial attacks buy, label for label?

    python studies/ammonia.py run --seeds 0 1 2       in pieces; start it again, or several times at once, as you like
    python studies/ammonia.py report                  tables and figures of what there is, and what is missing

Adversarial attacks (examples/ammonia.yaml), random displacements and snapshots of molecular dynamics begin with the
same data and the same committee of the first generation, and are then given labels. Each committee is asked for the
barrier of the inversion, for the landscape of Fig. 3e, and for stable dynamics.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ammonia_plan import STRATEGIES, TASKS, TEMPERATURES, Study, pieces
from commands import asked
from schedule import carry_out


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; the number of pieces that failed."""
    wanted = asked(
        argv,
        name="ammonia",
        description=__doc__,
        strategies=STRATEGIES,
        tasks=TASKS,
        store=Path("labels"),
        more=_more,
    )
    if wanted.command == "report":
        from ammonia_report import report

        print(report(Study(folder=wanted.folder), wanted.output, keep=wanted.keep))
        return 0
    study = Study(
        folder=wanted.folder,
        seeds=wanted.seeds,
        strategies=wanted.strategies,
        tasks=wanted.tasks,
        store=wanted.store,
        workers=wanted.workers,
        leave=tuple(wanted.leave),
        temperatures=tuple(wanted.temperatures),
    )
    return carry_out(pieces(study), study.folder / "claims", wait=wanted.wait, only_list=wanted.list)


def _more(run: argparse.ArgumentParser) -> None:
    run.add_argument("--leave", nargs="*", choices=STRATEGIES, default=(), help="whose runs another process computes")
    run.add_argument("--temperatures", type=float, nargs="+", default=TEMPERATURES, help="of stability, in K")
    run.add_argument("--workers", type=int, default=1, help="processes that label")


if __name__ == "__main__":
    sys.exit(main())
