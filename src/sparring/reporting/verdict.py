"""Summary of a run in at most two sentences, below the answers."""

from collections import Counter

from sparring.evaluation import Errors
from sparring.labels import causes
from sparring.reporting.data import Run
from sparring.reporting.tables import shown
from sparring.units import EnergyUnit
from sparring.validation.errors.common_set import CommonErrors
from sparring.validation.holes.compute import Holes
from sparring.validation.holes.section import summary
from sparring.validation.records import read_record

__all__ = ["failure_counts", "verdict", "warnings"]


def verdict(run: Run) -> tuple[str, ...]:
    """Errors of the generations on one set, and those near the minimum; the answers have the rest."""
    if not any(generation.metric("errors") is not None for generation in run.generations):
        return ()
    if not run.labels:
        return _selected(run)
    return tuple(sentence for sentence in _on_one_set(run) if sentence)


def _selected(run: Run) -> tuple[str, ...]:
    """Numbers of a run that ends with the structures to be labelled."""
    (newest,) = run.generations[-1:]
    n_seeds = newest.metric("attack", "n_seeds")
    if n_seeds is None or newest.n_selected is None:
        return ("Nothing is trained or labelled in this run; its attacks are not finished.",)
    selected = _structures(newest.n_selected)
    verb = "was" if newest.n_selected == 1 else "were"
    sentence = f"Of {n_seeds} attacks, {selected} {verb} selected to be labelled."
    record = run.folder / f"generation-{newest.number:02d}" / "validation" / "holes.json"
    if not record.is_file():
        return (sentence,)
    broken = summary(read_record(record, Holes))
    return (sentence, f"{broken[0].upper()}{broken[1:]}.")


def failure_counts(run: Run) -> tuple[tuple[str, int], ...]:
    """Number of failed labels for each reason, the commonest first."""
    counts = Counter(failure.reason for generation in run.generations for failure in generation.failures)
    return tuple((reason.replace("_", " "), count) for reason, count in counts.most_common())


def open_failures(run: Run) -> tuple[tuple[str, str], ...]:
    """Failed labels that have stopped a run: a sentence, and a table of the causes."""
    return tuple(
        (
            f"Generation {one.number} is not finished: {len(one.open_failures)} labels failed, and the run has stopped."
            " Remove the cause and run the same command again.",
            causes(one.open_failures),
        )
        for one in run.generations
        if one.open_failures
    )


def warnings(run: Run) -> tuple[str, ...]:
    """Warnings of all stages."""
    lines: list[str] = []
    for generation in run.generations:
        name = f"Generation {generation.number}"
        for key, words in (
            ("dropped", "diverged twice in training and is not in the committee"),
            ("rolled_back", "diverged once in training and went on from its best weights"),
        ):
            lines += [f"{name}: member {member} {words}." for member in generation.metric("fit", key) or ()]
        noted = generation.metric("warnings") or ()
        lines += [f"{name}: {one}" for one in ([noted] if isinstance(noted, str) else noted)]
    return tuple(lines)


def _on_one_set(run: Run) -> tuple[str, ...]:
    common, unit = run.common, run.unit
    if common is None or not common.generations:
        return ("Errors of all generations on one set are not known; test errors below are on different structures.",)
    first, last = common.generations[0], common.generations[-1]
    before, after = common.of(first), common.of(last)
    assert before is not None
    assert after is not None
    n = common.n_structures["all"]
    unseen = "" if run.trained_elsewhere else " that no member has trained on"
    if first == last:
        return (
            f"On {_structures(n)}{unseen}, generation {first} has mean absolute errors of "
            f"{shown(after.energy_mae, unit)} {unit.name} and {shown(after.force_mae, unit)} {unit.name}/Å.",
        )
    return (
        f"On the same {_structures(n)}, mean absolute errors of generations {first} to {last} went from "
        f"{_changes(before, after, unit)}.",
        _near(common, unit),
    )


def _near(common: CommonErrors, unit: EnergyUnit) -> str:
    """Errors near the minimum: the last generation and the first, and the previous one if it is better."""
    known = [number for number in common.generations if common.of(number, "near") is not None]
    if len(known) < 2:
        return ""
    first, before, last = (common.of(known[place], "near") for place in (0, -2, -1))
    assert first is not None
    assert before is not None
    assert last is not None
    sentence = f"Near the minimum ({common.n_structures['near']} of them) they went from {_changes(first, last, unit)}"
    better = [
        f"{shown(getattr(before, field), unit)} {of}"
        for field, of in _fields(unit)
        if _is_worse(getattr(last, field), getattr(before, field), unit)
    ]
    if not better:
        return f"{sentence}."
    which = "" if len(known) == 2 else f", which had {' and '.join(better)}"
    return f"{sentence}: generation {known[-1]} is worse than generation {known[-2]}{which}."


def _fields(unit: EnergyUnit) -> tuple[tuple[str, str], ...]:
    return ("energy_mae", unit.name), ("force_mae", f"{unit.name}/Å")


def _changes(before: Errors, after: Errors, unit: EnergyUnit) -> str:
    """Errors of energies and forces with their units."""
    return " and from ".join(
        f"{shown(getattr(before, field), unit)} to {shown(getattr(after, field), unit)} {of}"
        for field, of in _fields(unit)
    )


def _is_worse(now: float, before: float, unit: EnergyUnit) -> bool:
    """True if an error is larger in the digits that are shown; an error that is not finite is the worst."""
    return shown(now, unit) != shown(before, unit) and not now <= before


def _structures(n: int) -> str:
    return f"{n} structure{'' if n == 1 else 's'}"
