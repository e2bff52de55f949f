"""Tables of the study of survival, and their record."""

from collections.abc import Sequence

import numpy as np

from sparring.support.tables import Table
from studies.common.tables import numbers, section, summary
from studies.survival.data import MOLECULES, START, N
from studies.survival.plan import DURATION, N_COPIES, N_LABELS, N_ROUNDS, STRATEGIES, TEMPERATURES, Outcome

__all__ = ["page"]

MEV = 1e-3


def page(outcomes: Sequence[Outcome]) -> str:
    """The page of the study."""
    introduction = (
        f"Potentials of `examples/own_molecule.yaml` with {N[START]} labels of dynamics at 300 K to start from, and "
        f"{N_LABELS} more in {N_ROUNDS} rounds, spent in different ways. Ethanol is labelled by GFN2-xTB, alanine "
        f"dipeptide by OPLS-AA. *Whole*: of {N_COPIES} copies that move for {DURATION / 1000:g} ps (Langevin dynamics, "
        "steps of 1 fs), those in which no bond left 0.6 to 1.6 times its length, no two atoms came closer than 0.5 Å, "
        "and the energy stayed above 0.5 eV below the committee's own minimum; one number for each seed. *Half "
        "failed*: the time by which half of the copies had. *Holes*: bonds and angles in whose scan the energy turns "
        "over or falls below the start, for each seed. *Forces*: root mean square error of components on snapshots of "
        "the labels' own dynamics at 500 K, in meV/Å. *Grid*: root mean square error of energies on a grid of two "
        "torsions, up to 1 eV above its lowest point, without a constant shift, in meV. Cells are mean ± standard "
        "deviation over seeds (number of seeds)."
    )
    commands = "```\npython -m studies.survival run\npython -m studies.survival report\n```"
    parts = [_of(molecule, outcomes) for molecule in MOLECULES]
    return "\n\n".join(["# Survival", introduction, commands, *(part for part in parts if part)]) + "\n"


def _of(molecule: str, outcomes: Sequence[Outcome]) -> str:
    rows = []
    for name, strategy in STRATEGIES.items():
        found = [one for one in outcomes if (one.molecule, one.strategy) == (molecule, name)]
        if found:
            rows.append(
                (
                    strategy.title,
                    f"{np.mean([one.n_labels[0] for one in found]):.0f}",
                    *(_whole(found, f"{temperature:g}") for temperature in TEMPERATURES),
                    *(_half(found, f"{temperature:g}") for temperature in TEMPERATURES),
                    " ".join(f"{one.holes[0]}/{one.holes[1]}" for one in found),
                    summary([one.force_rmse for one in found], unit=MEV, decimals=0),
                    summary([one.grid_rmse for one in found], unit=MEV, decimals=0),
                )
            )
    if not rows:
        return ""
    titles = [f"{what}, {temperature:g} K" for what in ("whole", "half failed") for temperature in TEMPERATURES]
    columns = numbers("labels spent on", "labels", *titles, "holes", "forces", "grid")
    return section(f"{molecule[0].upper()}{molecule[1:]}", Table(columns=columns, rows=tuple(rows)))


def _whole(found: Sequence[Outcome], temperature: str) -> str:
    return " ".join(str(one.survivors[temperature]) for one in found)


def _half(found: Sequence[Outcome], temperature: str) -> str:
    """Times in ps of the seeds."""
    times = [one.median[temperature] for one in found]
    return " ".join(f"> {DURATION / 1000:g}" if time is None else f"{time:.2g}" for time in times) + " ps"
