"""The tables of the report about generations and their errors."""

import math
import re
from collections.abc import Callable
from typing import NamedTuple

from sparring.evaluation import Errors
from sparring.reporting.data import Generation, Run
from sparring.support.tables import Cell, Column, Table
from sparring.systems.base import Metric
from sparring.units import GPA, EnergyUnit
from sparring.validation.errors.common_set import PARTS, CommonErrors

ERROR = "{:.3f}"
"""Format of errors of energies and forces."""
WORDS = {"all": "all", "near": "near the minimum", "far": "far above it"}
"""Names of the parts of a set of structures."""
Value = Callable[[Generation], Cell]


class Stage(NamedTuple):
    """Number of candidates after a stage of the selection; `share` is their fraction of the largest number."""

    name: str
    n_left: int
    share: float


def generation_table(run: Run) -> Table:
    """A row for each generation: errors of its committee, its attacks, and the cost."""
    columns = _columns(run)
    table = Table(
        columns=tuple(column for column, _ in columns),
        rows=tuple(tuple(value(generation) for _, value in columns) for generation in run.generations),
    )
    # A column without any value belongs to another kind of system.
    return table.without_empty_columns()


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
    """Number of attacks that ended before their last step, with reasons; None before the attack."""
    n_not_finite, n_overlap = (generation.metric("attack", key) for key in ("n_not_finite", "n_overlap"))
    if n_not_finite is None or n_overlap is None:
        return None
    if not n_not_finite + n_overlap:
        return "No attack stopped early."
    return f"Stopped early: {n_not_finite} by a value that is not finite, {n_overlap} by an overlap of atoms."


def _columns(run: Run) -> tuple[tuple[Column, Value], ...]:
    unit = run.unit
    return (
        (Column(title="generation"), lambda generation: generation.number),
        (Column(title="structures"), _metric("n_structures")),
        *_common_columns(run),
        (_error_column("own test set", "energy", unit), _metric("errors", "test", "energy_mae")),
        (_error_column("own test set", "forces", unit), _metric("errors", "test", "force_mae")),
        (_stress_column("own test set"), _metric("errors", "test", "stress_mae")),
        *(_system_column(metric, unit) for metric in run.system.metrics if metric.heading),
        (Column(group="attacks", title="seeds"), _metric("attack", "n_seeds")),
        (Column(group="attacks", title="stopped\nearly"), _stopped_early),
        (Column(group="labels", title="chosen"), _metric("labels", "n_chosen")),
        (Column(group="labels", title="computed"), _metric("labels", "n_computed")),
        (Column(group="labels", title="from\nstore"), _metric("labels", "n_reused")),
        (Column(group="labels", title="failed"), _metric("labels", "n_failed")),
        (Column(group="seconds", title="training"), _seconds_of_training),
        (Column(group="seconds", title="attacks"), _seconds("attack")),
        (Column(group="seconds", title="labels"), _seconds("label")),
    )


def _common_columns(run: Run) -> tuple[tuple[Column, Value], ...]:
    """Mean absolute errors on the structures that are the same for all generations."""
    columns = []
    for part, name in (("all", "same set"), ("near", "near minimum")):
        columns_of = {
            "energy": _error_column(name, "energy", run.unit),
            "force": _error_column(name, "forces", run.unit),
            "stress": _stress_column(name),
        }
        for quantity, column in columns_of.items():

            def value(generation: Generation, part: str = part, quantity: str = quantity) -> Cell:
                errors = None if run.common is None else run.common.of(generation.number, part)
                return None if errors is None else _error(errors, f"{quantity}_mae")

            columns.append((column, value))
    return tuple(columns)


def _error(errors: Errors, field: str) -> float | None:
    """An error; None for one of stresses where there is none to compare with."""
    value = float(getattr(errors, field))
    return None if field.startswith("stress") and math.isnan(value) else value


def common_table(common: CommonErrors, unit: EnergyUnit) -> Table:
    """Errors of all generations on the same structures: a row for each generation, for each part of the structures.

    Args:
        common: Errors of all committees on one set.
        unit: Unit of energies.
    """
    rows: list[tuple[Cell, ...]] = []
    for part in PARTS:
        for place, number in enumerate(common.generations if common.n_structures[part] else ()):
            name = (WORDS[part], common.n_structures[part]) if place == 0 else ("", "")
            errors = common.of(number, part)
            fields = ("energy_mae", "energy_rmse", "force_mae", "force_rmse", "stress_mae", "stress_rmse")
            rows.append((*name, number, *(None if errors is None else _error(errors, one) for one in fields)))
    stresses = any(row[-1] is not None for row in rows)
    in_gpa = ", stresses in GPa" if stresses else ""
    if not stresses:
        rows = [row[:-2] for row in rows]
    return Table(
        columns=(
            Column(title="structures", left=True),
            Column(title="n"),
            Column(title="gen"),
            *(Column(title=title, format=ERROR, size=unit.size) for title in ("E MAE", "RMSE", "F MAE", "RMSE")),
            *(Column(title=title, format=ERROR, size=GPA) for title in (("S MAE", "RMSE") if stresses else ())),
        ),
        rows=tuple(rows),
        caption=(
            f"all generations on the same structures, {common.name}; no member has trained on them",
            f"energies in {unit.name}, forces in {unit.name}/Å{in_gpa}; near the minimum: labels at most "
            f"{common.near / unit.size:.3g} {unit.name} per atom above the lowest of their composition",
        ),
    )


def common_notes(run: Run) -> tuple[str, ...]:
    """Description of the set on which all generations are compared."""
    common = run.common
    if common is None:
        return ()
    near = f"{common.near / run.unit.size:.3g} {run.unit.name}"
    unseen = "" if run.trained_elsewhere else "No member of any generation has trained on them. "
    notes = [
        f"The same structures for every generation: {common.name}. {unseen}"
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
            "Far structures were mostly selected for the large uncertainty of an earlier committee: its errors on them "
            "are larger than on structures drawn at random."
        )
    return tuple(notes)


def metric_column(metric: Metric, unit: EnergyUnit, *, title: str, group: str = "") -> Column:
    """Column of a number that the evaluation of the system gives."""
    if metric.show == "energy":
        return _energy_column(group, title, unit, sign="+" if metric.signed else "")
    if metric.show == "share":
        return Column(group=group, title=title, format="{:.0f} %", size=0.01)
    return Column(group=group, title=title, format="{:.3g}")


def _system_column(metric: Metric, unit: EnergyUnit) -> tuple[Column, Value]:
    title = metric.heading.format(unit=unit.name)
    return metric_column(metric, unit, title=title, group=metric.group), _metric("system", *metric.keys)


def _error_column(group: str, title: str, unit: EnergyUnit) -> Column:
    return Column(group=group, title=title, format=ERROR, size=unit.size)


def _stress_column(group: str) -> Column:
    return Column(group=group, title="stress\nin GPa", format=ERROR, size=GPA)


def _energy_column(group: str, title: str, unit: EnergyUnit, sign: str = "") -> Column:
    return Column(group=group, title=title, format=f"{{:{sign}.{unit.decimals}f}}", size=unit.size)


def _metric(*keys: str) -> Value:
    def value(generation: Generation) -> Cell:
        found: Cell = generation.metric(*keys)
        return found

    return value


def shown(value: float, unit: EnergyUnit, sign: str = "") -> str:
    """An energy in eV, or a force in eV/Å, as text for a sentence."""
    if not math.isfinite(value):
        return "not finite"
    return f"{value / unit.size:{sign}.{unit.decimals}f}".replace("-", "−")


def _seconds(stage: str) -> Value:
    def value(generation: Generation) -> Cell:
        seconds = generation.metric("seconds", stage)
        return None if seconds is None else f"{seconds:.1f}" if seconds < 10.0 else f"{seconds:.0f}"

    return value


def _seconds_of_training(generation: Generation) -> Cell:
    """Time of the stage that makes the committee; none where members are not trained."""
    return None if generation.training is None else _seconds("fit")(generation)


def _stopped_early(generation: Generation) -> Cell:
    counts = [generation.metric("attack", key) for key in ("n_not_finite", "n_overlap")]
    return None if None in counts else sum(counts)


def _words(name: str) -> str:
    """Words from a name in either form, UncertaintyAbove or uncertainty_above."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
