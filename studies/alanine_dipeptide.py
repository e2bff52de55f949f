"""Alanine dipeptide, strategy beside strategy and seed beside seed: what do attacks on (phi, psi) buy, label for label?

    python studies/alanine_dipeptide.py run --seeds 0 1 2       in pieces; start it again, or several times at once
    python studies/alanine_dipeptide.py report                  tables and figures of what there is, and what is missing

Attacks on the two torsions (the laptop preset of examples/alanine_dipeptide.yaml) stand beside the same number of
labels of random torsions and of longer dynamics, and beside attacks with the Boltzmann weight and attacks that go on
with all atoms. Each committee is asked for its energy and its uncertainty on two grids over (phi, psi), the rigid and
the relaxed one; some of them are asked for the free energy.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alanine_dipeptide_plan import STRATEGIES, TASKS, Study, pieces
from schedule import carry_out

OUTPUT = Path(__file__).parents[1] / "docs" / "results"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path("runs/studies/alanine_dipeptide"))
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="compute what is not there yet")
    run.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    run.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=tuple(STRATEGIES))
    run.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    run.add_argument("--store", type=Path, default=None, help="of labels [default: labels, in the folder]")
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
        from alanine_dipeptide_report import report

        print(report(Study(folder=asked.folder), asked.output))
        return 0
    study = Study(
        folder=asked.folder,
        seeds=tuple(asked.seeds),
        strategies={name: STRATEGIES[name] for name in STRATEGIES if name in asked.strategies},
        tasks=tuple(asked.tasks),
        store=asked.store,
    )
    return carry_out(pieces(study), study.folder / "claims", wait=asked.wait, only_list=asked.list)


if __name__ == "__main__":
    sys.exit(main())
