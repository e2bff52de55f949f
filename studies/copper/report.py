"""Table of the study of copper, and its record."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sparring.support.tables import Table
from sparring.units import GPA
from studies.common.tables import numbers, section, summary
from studies.copper.plan import N_LABELS, N_ROUNDS, STRATEGIES, Outcome

__all__ = ["page"]

MEV = 1e-3
CONSTANTS = ("C11", "C12", "C44")


def page(outcomes: Sequence[Outcome]) -> str:
    """The page of the study."""
    labels = dict(zip(CONSTANTS, (value / GPA for value in outcomes[0].label_elastic), strict=True))
    shown = ", ".join(f"{name} = {value:.0f}" for name, value in labels.items())
    introduction = (
        "Committees of `examples/copper.yaml`, which begin with 24 labelled structures of bulk copper, a vacancy and "
        f"(111) slabs; {N_LABELS} more labels are spent in {N_ROUNDS} rounds, in different ways. Labels are EMT's. "
        "*Elastic constants*: root mean square of the relative errors of C11, C12 and C44, each member about its own "
        f"relaxed cell; EMT has {shown} GPa. *Equation of state*: error of energies at volumes up to 20 % from that of "
        "the crystal, without a constant shift. *Liquid*, *surfaces*: errors on structures of which there are none "
        "in the data: snapshots of 32 atoms at 2,500 K, and of (100) and (110) slabs with an atom on top at 600 K; "
        "forces in meV/Å a component, energies without a constant shift in meV per atom. All errors are root mean "
        "squares. Cells are mean ± standard deviation over seeds (number of seeds)."
    )
    commands = "```\npython -m studies.copper run\npython -m studies.copper report\n```"
    return "\n\n".join(["# Copper", introduction, commands, section("Errors", _table(outcomes))]) + "\n"


COLUMNS: Mapping[str, tuple[Callable[[Outcome], float], float, int]] = {
    "elastic constants, %": (lambda one: elastic_error(one), 0.01, 1),
    "equation of state, meV": (lambda one: one.eos_rmse, MEV, 1),
    "liquid, forces": (lambda one: one.force_rmse["liquid"], MEV, 0),
    "liquid, energy": (lambda one: one.energy_rmse["liquid"], MEV, 1),
    "surfaces, forces": (lambda one: one.force_rmse["surfaces"], MEV, 0),
    "surfaces, energy": (lambda one: one.energy_rmse["surfaces"], MEV, 1),
}
"""Value of a cell, its unit and its decimals by the heading of a column."""


def elastic_error(outcome: Outcome) -> float:
    """Root mean square of the relative errors of the three elastic constants."""
    found, wanted = np.array(outcome.elastic), np.array(outcome.label_elastic)
    return float(np.sqrt(np.mean((found / wanted - 1) ** 2)))


def _table(outcomes: Sequence[Outcome]) -> Table:
    last = max(one.generation for one in outcomes)
    groups = {"the start": [one for one in outcomes if one.generation == 1 and one.strategy == next(iter(STRATEGIES))]}
    for name, strategy in STRATEGIES.items():
        groups[strategy.title] = [one for one in outcomes if (one.strategy, one.generation) == (name, last)]
    rows = tuple(
        (
            title,
            f"{np.mean([one.n_labels[0] for one in found]):.0f}",
            *(
                summary([value(one) for one in found], unit=unit, decimals=decimals)
                for value, unit, decimals in COLUMNS.values()
            ),
        )
        for title, found in groups.items()
        if found
    )
    return Table(columns=numbers("labels spent on", "labels", *COLUMNS), rows=rows)
