"""The study of ammonia so small that all of it takes seconds; started as a program, it kills itself where it is told.

python tiny_ammonia.py FOLDER ENDING COUNT      dies when a file of that ending is for the count-th time about to appear
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sparring.commands import running
from studies.ammonia import figures, plan, report, results, tasks
from studies.ammonia.plan import Strategy, Study
from studies.common.jobs import run_jobs

CONFIG = """
system: {kind: ammonia, n_structures: 10}
labels: {labeller: {kind: ase, name: tblite, parameters: {method: GFN2-xTB}}}
committee:
  n_members: 2
  potential: {kind: schnet, n_features: 6, n_filters: 6, n_interactions: 1, n_gaussians: 8, cutoff: 4 Å}
training: {n_epochs: 30, learning_rate: 1e-2}
attack: {kind: adversarial, n_seeds: 3, n_steps: 3}
"""
STRATEGIES = {
    "adversarial": Strategy(title="adversarial", generations=2),
    "random-0.3-30": Strategy(title="random", changes={"attack": {"kind": "random", "n_seeds": 3, "amplitude": 0.1}}),
    "dynamics": Strategy(
        title="dynamics",
        changes={
            "attack": {"kind": "dynamics", "n_seeds": 2, "duration": "4 fs", "every": 4},
            "selection": [{"kind": "budget", "n": 2, "order": "random"}],
        },
        generations=3,
    ),
}


def study(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    base = folder / "tiny.yaml"
    base.write_text(CONFIG, encoding="utf-8")
    size = {"temperatures": (300.0, 900.0), "copies": 2, "duration": 5.0, "points": (3, 5), "seeds": (0,)}
    return Study(
        folder=folder, base=base, preset=None, store=folder / "labels", strategies=STRATEGIES, **size | changes
    )


def compute(one, log=lambda line: None):
    return run_jobs(plan.jobs(one), one.folder / "claims", log=log)


def no_page(folder):
    """A run's own report takes longer than all the rest, and is tested elsewhere."""


def die_at(ending):
    replace = Path.replace

    def replace_or_die(self, target):
        if str(target).endswith(ending):
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(self, target)

    Path.replace = replace_or_die


def in_a_process_of_its_own(folder, ending):
    process = os.fork()
    if not process:
        die_at(ending)
        try:
            compute(study(folder), print)
        finally:
            os._exit(0)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status)


__all__ = [
    "STRATEGIES",
    "compute",
    "figures",
    "no_page",
    "plan",
    "report",
    "results",
    "study",
    "tasks",
]

if __name__ == "__main__":
    running.report = no_page
    for ending in sys.argv[2:]:
        sys.stdout.write(f"ended: {in_a_process_of_its_own(Path(sys.argv[1]), ending)}\n")
