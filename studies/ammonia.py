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

from ammonia_plan import STRATEGIES, TASKS, Study, pieces
from schedule import carry_out

OUTPUT = Path(__file__).parents[1] / "docs" / "results"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/studies/ammonia"))
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is not there yet")
    run.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    run.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=tuple(STRATEGIES))
    run.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    run.add_argument("--leave", nargs="*", choices=STRATEGIES, default=(), help="whose runs another process computes")
    run.add_argument("--store", type=Path, default=Path("labels"), help="of labels")
    run.add_argument("--workers", type=int, default=1, help="processes that label")
    run.add_argument("--wait", type=float, default=0.0, help="minutes to wait for what other processes compute")
    run.add_argument("--list", action="store_true", help="say what is left to do, and do nothing")
    report = commands.add_parser("report", help="tables and figures of what there is")
    report.add_argument("--output", type=Path, default=OUTPUT)
    for command in (run, report):
        command.add_argument("--folder", type=Path, default=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; the number of pieces that failed."""
    asked = arguments(argv)
    if asked.command == "report":
        from ammonia_report import report

        print(report(Study(folder=asked.folder), asked.output))
        return 0
    study = Study(
        folder=asked.folder,
        seeds=tuple(asked.seeds),
        strategies={name: STRATEGIES[name] for name in STRATEGIES if name in asked.strategies},
        tasks=tuple(asked.tasks),
        store=asked.store,
        workers=asked.workers,
        leave=tuple(asked.leave),
    )
    return carry_out(pieces(study), study.folder / "claims", wait=asked.wait, only_list=asked.list)


if __name__ == "__main__":
    sys.exit(main())
