"""Alanine dipeptide, strategy beside strategy and seed beside seed: what do attacks on (phi, psi) buy, label for label?

    python studies/alanine_dipeptide.py run --seeds 0 1 2       in pieces; start it again, or several times at once
    python studies/alanine_dipeptide.py report                  tables and figures of what there is, and what is missing

Attacks on the two torsions (the laptop preset of examples/alanine_dipeptide.yaml) stand beside the same number of
labels of random torsions and of longer dynamics, and beside attacks with the Boltzmann weight and attacks that go on
with all atoms. Each committee is asked for its energy and its uncertainty on two grids over (phi, psi), the rigid and
the relaxed one; some of them are asked for the free energy.
"""

import sys
from collections.abc import Sequence

from alanine_dipeptide_plan import STRATEGIES, TASKS, Study, pieces
from commands import asked
from schedule import carry_out


def main(argv: Sequence[str] | None = None) -> int:
    """Run or report; the number of pieces that failed."""
    wanted = asked(argv, name="alanine_dipeptide", description=__doc__, strategies=STRATEGIES, tasks=TASKS, store=None)
    if wanted.command == "report":
        from alanine_dipeptide_report import report

        print(report(Study(folder=wanted.folder), wanted.output, keep=wanted.keep))
        return 0
    study = Study(
        folder=wanted.folder,
        seeds=wanted.seeds,
        strategies=wanted.strategies,
        tasks=wanted.tasks,
        store=wanted.store,
    )
    return carry_out(pieces(study), study.folder / "claims", wait=wanted.wait, only_list=wanted.list)


if __name__ == "__main__":
    sys.exit(main())
