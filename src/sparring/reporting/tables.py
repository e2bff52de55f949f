"""The tables of the report, every cell already in words: what is not known yet is a dash."""

import math
import re
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from sparring.reporting.data import EnergyUnit, Generation, Run
from sparring.systems.base import Metric
from sparring.validation.errors.common_set import PARTS

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
        *_common_columns(run),
        ("own test set", "energy", _energy(unit, "errors", "test", "energy_mae")),
        ("own test set", "forces", _energy(unit, "errors", "test", "force_mae")),
        *(_column(metric, unit) for metric in run.system.metrics if metric.heading),
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


def _common_columns(run: Run) -> tuple[tuple[str, str, Callable[[Generation], str]], ...]:
    """Mean absolute errors on the structures that are the same for all generations."""
    columns = []
    for part, name in (("all", "same set"), ("near", "near minimum")):
        for quantity in ("energy", "force"):

            def cell(generation: Generation, part: str = part, quantity: str = quantity) -> str:
                errors = None if run.common is None else run.common.of(generation.number, part)
                return UNKNOWN if errors is None else shown(getattr(errors, f"{quantity}_mae"), run.unit)

            columns.append((name, "energy" if quantity == "energy" else "forces", cell))
    return tuple(columns)


def common_table(run: Run) -> Table | None:
    """A row a generation: mean absolute and root mean square errors on the structures that are the same for all."""
    if run.common is None or not run.common.generations:
        return None
    parts = [part for part in PARTS if run.common.n_structures[part]]
    unit = run.unit
    fields = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")
    headings = ("energy\nMAE", "energy\nRMSE", "forces\nMAE", "forces\nRMSE")
    rows = []
    for number in run.common.generations:
        found = [run.common.of(number, part) for part in parts]
        cells = [UNKNOWN if one is None else shown(getattr(one, name), unit) for one in found for name in fields]
        rows.append((str(number), *cells))
    words = {"all": "all", "near": "near the minimum", "far": "far above it"}
    return Table(
        groups=(("", 1), *((f"{words[part]}: {run.common.n_structures[part]} structures", 4) for part in parts)),
        headings=("generation", *headings * len(parts)),
        rows=tuple(rows),
    )


def common_notes(run: Run) -> tuple[str, ...]:
    """What the set is on which all generations are compared."""
    common = run.common
    if common is None:
        return ()
    near = f"{common.near / run.unit.size:.3g} {run.unit.name}"
    notes = [
        f"The same structures for every generation: {common.name}. No member of any generation has trained on them. "
        f"Energies in {run.unit.name}, components of forces in {run.unit.name}/Å.",
        f"Near the minimum: labels at most {near} per atom above the lowest of their composition.",
    ]
    if common.n_without_zero:
        notes.append(f"{common.n_without_zero} structures are the only one of their composition: neither near nor far.")
    if common.n_left_out:
        notes.append(f"{common.n_left_out} structures of the file were left out: members have trained on them.")
    last = common.generations[-1]
    constant = common.constant_error(last)
    if constant is not None:
        offset = f"{shown(constant, run.unit, '+')} {run.unit.name}"
        why = ": is it another zero of energy in the file?" if common.file_digest else "."
        notes.append(
            f"Energies of generation {last} are off by {offset} on average, nearly the same for all structures{why}"
        )
    if common.n_structures["far"] and not common.file_digest:
        notes.append(
            "Far structures were mostly chosen because the committee of an earlier generation was unsure there: that "
            "one looks worse on them than on structures drawn at random."
        )
    return tuple(notes)


def _column(metric: Metric, unit: EnergyUnit) -> tuple[str, str, Callable[[Generation], str]]:
    """The column of a number of the system."""

    def cell(generation: Generation) -> str:
        value = generation.metric("system", *metric.keys)
        if value is None:
            return UNKNOWN
        if metric.show == "energy":
            return shown(value, unit, "+" if metric.signed else "")
        return f"{100 * value:.0f} %" if metric.show == "share" else f"{value:.3g}"

    return metric.group, metric.heading.format(unit=unit.name), cell


def _count(*keys: str) -> Callable[[Generation], str]:
    def cell(generation: Generation) -> str:
        value = generation.metric(*keys)
        return UNKNOWN if value is None else f"{value:d}"

    return cell


def _energy(unit: EnergyUnit, *keys: str) -> Callable[[Generation], str]:
    def cell(generation: Generation) -> str:
        value = generation.metric(*keys)
        return UNKNOWN if value is None else shown(value, unit)

    return cell


def shown(value: float, unit: EnergyUnit, sign: str = "") -> str:
    """An energy in eV, or a force in eV/Å, as a number for people."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value / unit.size:{sign}.{unit.decimals}f}".replace("-", "−")


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
