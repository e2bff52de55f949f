"""The tables of the report, every cell already in words: what is not known yet is a dash."""

import re
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sparring.reporting.data import EnergyUnit, Generation, Run

UNKNOWN = "–"


class Table(NamedTuple):
    """A row of cells for each generation; `groups` say over how many of the headings each of them stands."""

    groups: tuple[tuple[str, int], ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Stage(NamedTuple):
    """How many candidates were left after a stage of the selection; `share` is their part of the most."""

    name: str
    n_left: int
    share: float


def generation_table(run: Run) -> Table:
    """A row a generation: how good its committee is, what it attacked, and what that cost."""
    columns = [(*column, [column[2](generation) for generation in run.generations]) for column in _columns(run)]
    # A column that is empty from top to bottom belongs to another kind of system.
    kept = [column for column in columns if any(cell != UNKNOWN for cell in column[-1])]
    return Table(
        groups=tuple((group, len(list(members))) for group, members in groupby(kept, key=itemgetter(0))),
        headings=tuple(heading for _, heading, _, _ in kept),
        rows=tuple(zip(*(cells for _, _, _, cells in kept), strict=True)),
    )


def reference_barrier(run: Run) -> str | None:
    """The barrier of the label method itself, if the run knows it."""
    known = [generation.metric("system", "barrier_reference") for generation in run.generations]
    values = [value for value in known if value is not None]
    return f"{values[-1] / run.unit.size:.{run.unit.decimals}f} {run.unit.name}" if values else None


def funnel(generation: Generation) -> tuple[Stage, ...]:
    """From all attacks of a generation to its labels, stage by stage."""
    n_seeds = generation.metric("attack", "n_seeds")
    steps = generation.metric("selection")
    if n_seeds is None or steps is None:
        return ()
    counts = [("attacks", n_seeds)]
    if steps and steps[0]["n_in"] != n_seeds:
        counts.append(("candidates", steps[0]["n_in"]))
    counts += [(_words(step["name"]), step["n_out"]) for step in steps]
    labels = generation.metric("labels")
    if labels is not None:
        counts.append(("labelled", labels["n_chosen"] - labels["n_failed"]))
    most = max(count for _, count in counts) or 1
    return tuple(Stage(name, count, count / most) for name, count in counts)


def stopped(generation: Generation) -> str | None:
    """How many attacks ended before their last step, and why; None before the attack."""
    n_not_finite, n_overlap = (generation.metric("attack", key) for key in ("n_not_finite", "n_overlap"))
    if n_not_finite is None or n_overlap is None:
        return None
    if not n_not_finite + n_overlap:
        return "No attack stopped early."
    return f"Stopped early: {n_not_finite} by a value that is not finite, {n_overlap} by an overlap of atoms."


def _columns(run: Run) -> tuple[tuple[str, str, Callable[[Generation], str]], ...]:
    unit = run.unit
    return (
        ("", "generation", lambda generation: str(generation.number)),
        ("", "structures", _count("n_structures")),
        ("test error", f"energy\n({unit.name})", _energy(unit, "errors", "test", "energy_mae")),
        ("test error", f"forces\n({unit.name}/Å)", _energy(unit, "errors", "test", "force_mae")),
        ("barrier", f"committee\n({unit.name})", _energy(unit, "system", "barrier")),
        ("barrier", "its\nerror", _energy(unit, "system", "barrier_error", sign="+")),
        ("landscape", f"RMSE\n({unit.name})", _energy(unit, "system", "grid_rmse")),
        *_torsion_columns(unit),
        ("attacks", "seeds", _count("attack", "n_seeds")),
        ("attacks", "stopped\nearly", _stopped_early),
        ("labels", "chosen", _count("labels", "n_chosen")),
        ("labels", "computed", _count("labels", "n_computed")),
        ("labels", "from\nstore", _count("labels", "n_reused")),
        ("labels", "failed", _count("labels", "n_failed")),
        ("seconds", "training", _seconds("fit")),
        ("seconds", "attacks", _seconds("attack")),
        ("seconds", "labels", _seconds("label")),
    )


def _torsion_columns(unit: EnergyUnit) -> tuple[tuple[str, str, Callable[[Generation], str]], ...]:
    """Of systems that are about two torsions; both of their landscapes' columns are of the rigid grid."""
    group, low = "grid of torsions", "50 kcal/mol"

    def variance(generation: Generation) -> str:
        value = generation.metric("system", "grid_force_variance_below", low)
        return UNKNOWN if value is None else f"{value:.3g}"

    def covered(generation: Generation) -> str:
        value = generation.metric("system", "coverage")
        return UNKNOWN if value is None else f"{100 * value:.0f} %"

    return (
        (group, f"RMSE\n≤ 50 ({unit.name})", _energy(unit, "system", "grid_rmse_below", low)),
        (group, f"RMSE\n≤ 300 ({unit.name})", _energy(unit, "system", "grid_rmse_below", "300 kcal/mol")),
        (group, "mean σ²F ≤ 50\n(eV²/Å²)", variance),
        (group, "bins\ncovered", covered),
    )


def _count(*keys: str) -> Callable[[Generation], str]:
    def cell(generation: Generation) -> str:
        value = generation.metric(*keys)
        return UNKNOWN if value is None else f"{value:d}"

    return cell


def _energy(unit: EnergyUnit, *keys: str, sign: str = "") -> Callable[[Generation], str]:
    def cell(generation: Generation) -> str:
        value = generation.metric(*keys)
        return UNKNOWN if value is None else f"{value / unit.size:{sign}.{unit.decimals}f}".replace("-", "−")

    return cell


def _seconds(stage: str) -> Callable[[Generation], str]:
    def cell(generation: Generation) -> str:
        value = generation.metric("seconds", stage)
        return UNKNOWN if value is None else f"{value:.1f}" if value < 10.0 else f"{value:.0f}"

    return cell


def _stopped_early(generation: Generation) -> str:
    counts = [generation.metric("attack", key) for key in ("n_not_finite", "n_overlap")]
    return UNKNOWN if None in counts else str(sum(counts))


def _words(name: str) -> str:
    """Words from a name in either form, UncertaintyAbove or uncertainty_above."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
