"""Tables of the study of committees, and their record."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from sparring.support.files import write_text
from sparring.support.tables import Table
from studies.committees import plan, weak
from studies.committees.data import INSIDE, SETS
from studies.common.tables import numbers, summary

__all__ = ["write_report"]

MEV = 1e-3


def write_report(
    committees: Sequence[plan.Result], few: Sequence[weak.Result], output: Path, file: str = "committees"
) -> str:
    """Write page and record; gives a text about what was written.

    Raises:
        ValueError: If nothing has been computed.
    """
    if not committees and not few:
        raise ValueError("nothing has been computed yet: python -m studies.committees run")
    output.mkdir(parents=True, exist_ok=True)
    record = {"disagreement": [asdict(one) for one in committees], "weak_labels": [asdict(one) for one in few]}
    write_text(output / f"{file}.json", json.dumps(record, indent=1) + "\n")
    write_text(output / f"{file}.md", page(committees, few))
    return f"{output}: {file}.json, {file}.md"


def page(committees: Sequence[plan.Result], few: Sequence[weak.Result]) -> str:
    """The page of the study."""
    return "\n".join(
        [
            "# Committees that disagree where they err",
            "",
            f"Ethanol (GFN2-xTB). Committees of {plan.N_MEMBERS} learn {plan.N_LABELS} snapshots of dynamics at 300 K "
            f"in {plan.N_STEPS} steps of {plan.BATCH_SIZE} structures. Inside the data are later snapshots at 300 K; "
            "outside are snapshots at 500 K, each bond of the minimum from 0.7 to 1.4 times its length, and the ends "
            f"of {plan.N_SEEDS} attacks of {plan.N_ATTACK_STEPS} steps on the committee itself, labelled afterwards. "
            "For forces, per component: *error* is the root mean square error in meV/Å; *rank* is Spearman's rank "
            "correlation of sigma and error over structures; *error / sigma* is the root mean square of that ratio, "
            "one where sigma can be believed. Cells are mean ± standard deviation over seeds (number of seeds). "
            "Attacks find other structures for each committee, so that their errors do not compare.",
            "",
            "```",
            "python -m studies.committees run",
            "python -m studies.committees report",
            "```",
            "",
            *(section for name in (INSIDE, *list(SETS)[1:], plan.ATTACKED) for section in _of_set(committees, name)),
            "# Labels of little cost",
            "",
            f"Committees of {weak.N_MEMBERS} ACE of 16 features learn {weak.N_FEW} of these snapshots in "
            f"{weak.N_STEPS} steps, with the options of each row. The last three rows have as many gradients again: "
            "for products of the Hessian with random directions at a step of 0.05 Å, for the same displaced "
            "structures as labels of their own, or for other snapshots. Errors of forces are root mean square "
            "ones of components, in "
            "meV/Å; errors of energies are mean absolute ones without a constant shift, in meV.",
            "",
            Table(
                columns=numbers("", "forces at 300 K", "forces at 500 K", "energies at 300 K"),
                rows=tuple(
                    (name, *(_cell([getattr(one, key) for one in rows]) for key in ("inside", "outside", "energy")))
                    for name in weak.WAYS
                    if (rows := [one for one in few if one.way == name])
                ),
            ).markdown(),
            "",
        ]
    )


def _of_set(committees: Sequence[plan.Result], name: str) -> list[str]:
    rows = []
    for network in dict.fromkeys(network for network, _ in plan.ARMS):
        for way in plan.WAYS:
            found = [one.sets[name] for one in committees if (one.network, one.way) == (network, way)]
            if found:
                rows.append(
                    (
                        f"{network}, {way}",
                        _cell([one.rmse for one in found]),
                        _cell([one.sigma for one in found]),
                        summary([one.rank for one in found], decimals=2),
                        summary([one.ratio for one in found], decimals=2),
                    )
                )
    table = Table(columns=numbers("", "error", "sigma", "rank", "error / sigma"), rows=tuple(rows))
    return [f"## {name[0].upper()}{name[1:]}", "", table.markdown(), ""]


def _cell(values: Sequence[float]) -> str:
    return summary(list(values), unit=MEV, decimals=0)
