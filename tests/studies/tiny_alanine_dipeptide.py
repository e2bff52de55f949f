"""The study of alanine dipeptide, so small that all of it takes seconds: tiny committees, a few labels, grids of 4 × 4.

python tests/studies/tiny_alanine_dipeptide.py FOLDER       in a process of its own, to be killed
"""

import dataclasses
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sparring.assembly import planning
from sparring.commands import running
from sparring.surfaces.torsion_maps import evaluation
from studies.alanine_dipeptide import figures, plan, report, results
from studies.common.jobs import run_jobs

__all__ = [
    "compute",
    "figures",
    "plan",
    "report",
    "results",
    "small_things",
    "study",
]

CHANGES = {
    "system.sampling": {"duration": "1 ps", "every": "100 fs"},
    "committee.n_members": 2,
    "committee.potential": {"kind": "schnet", "n_features": 8, "n_filters": 8, "n_interactions": 1, "n_gaussians": 8},
    "training.n_epochs": 2,
}


def tiny(name):
    """A strategy with few labels and generations."""
    strategy = plan.STRATEGIES[name]
    changes = dict(strategy.changes)
    if name == "random-200":
        changes["attack"] = {**changes["attack"], "n_seeds": 6}
    elif name == "dynamics-200":
        changes = {"system.sampling": {"duration": "1.6 ps", "every": "100 fs"}}
    else:
        changes |= {"attack.n_seeds": 5, "attack.n_steps": 3, "selection": [{"kind": "budget", "n": 3}]}
    return dataclasses.replace(strategy, changes=changes, generations=min(strategy.generations, 3))


def study(folder, names=("adversarial", "random-200", "dynamics-200"), **others):
    """These strategies, one seed of each."""
    choices = {
        "seeds": (0,),
        "strategies": {name: tiny(name) for name in names},
        "preset": None,
        "changes": CHANGES,
        "points": (4, 4),
        "bins": 3,
        "free_energies": ("dynamics-200",),
        "copies": 4,
        "duration": 300.0,
        "reference": 20_000.0,
    }
    return plan.Study(folder=folder, **{**choices, **others})


def compute(whole):
    """Do all that is left to do."""
    return run_jobs(plan.jobs(whole), whole.folder / "claims", log=lambda line: None)


def small_things(patch):
    """Runs without pages, and with the grid of 4 × 4 for each generation, too."""
    patch.setattr(running, "report", lambda folder: None)
    patch.setattr(running, "keep_landscapes", lambda folder, progress_bars: None)
    patch.setattr(planning, "evaluation", partial(evaluation, points=(4, 4)))


class _Forever:
    setattr = staticmethod(setattr)


if __name__ == "__main__":
    small_things(_Forever)
    compute(study(Path(sys.argv[1]), names=("adversarial",)))
