"""Answers to the questions: is it stable, and where did it fail?"""

from collections import Counter

from sparring.reporting.answers.base import Answer, State, counted, in_words, joined, percent
from sparring.reporting.answers.facts import Facts
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan
from sparring.validation.survival.failures import Failure
from sparring.validation.survival.trials import Survival

__all__ = ["failed", "stable"]

SURE = 0.8
"""Lower end of the interval of survival from which on it counts as good; 20 copies that all survive have 0.84."""
MOST_NAMED = 2
"""Largest number of holes that are named."""


def stable(facts: Facts) -> Answer:
    """Survival of copies in dynamics, and holes of scans of bonds and angles."""
    survival, bonds, number = facts.survival, facts.bonds, facts.newest.number
    scans = "bonds and angles are not scanned" if bonds is None else _holes(bonds)
    question = "Is it stable?"
    if survival is None:
        text = f"Generation {number} is not tested in dynamics; {scans}. To test it:"
        state: State = "look" if bonds is not None and bonds.holes else "unknown"
        return Answer(question=question, state=state, text=text, command=facts.command("survival"))
    whole = survival.n_stable == survival.n_copies
    low, high = survival.interval
    text = (
        f"With generation {number}, {survival.n_stable} of {counted(survival.n_copies, 'copy', 'copies')} "
        f"{'is' if survival.n_copies == 1 else 'are'} whole after {survival.settings.duration / 1000:g} ps at "
        f"{_temperatures(survival)} (95 % interval {100 * low:.0f} to {percent(high)}). {in_words([scans])}"
    )
    if not whole or (bonds is not None and bonds.holes):
        return Answer(question=question, state="look", text=text)
    return Answer(question=question, state="good" if low >= SURE else "unknown", text=text)


def failed(facts: Facts) -> Answer:
    """Failures in dynamics, holes of scans, and failed labels."""
    survival, bonds = facts.survival, facts.bonds
    found = []
    if survival is not None and survival.failures:
        found.append(_in_dynamics(survival))
    if bonds is not None and bonds.holes:
        named = [_place(scan) for scan in bonds.holes[:MOST_NAMED]]
        more = len(bonds.holes) - len(named)
        named += [counted(more, "more scan")] if more else []
        found.append(f"scans have holes at {joined(named)}")
    clean = not found and not facts.n_failed_in_newest
    labels = _labels(facts)
    question = "Where did it fail?"
    if not clean:
        return Answer(question=question, state="look", text=in_words([*found, labels]))
    n_labels = sum(len(one.error) for one in facts.rounds)
    tested = [
        counted(survival.n_copies, "copy", "copies") + " in dynamics" if survival is not None else "",
        *(_coordinates(bonds) if bonds is not None else []),
        counted(n_labels, "new label") if n_labels and not facts.failed_labels else "",
    ]
    shown = ", ".join(one for one in tested if one)
    nowhere = f"nowhere that was tested: {shown}" if shown else "" if labels else "nothing is tested yet"
    tested_enough = stable(facts).state == "good" or not facts.is_molecular
    state: State = "good" if tested_enough and shown else "unknown"
    return Answer(question=question, state=state, text=in_words([nowhere, labels]))


def _temperatures(survival: Survival) -> str:
    known = sorted(trial.temperature for trial in survival.trials)
    return f"{known[0]:g} K" if len(known) == 1 else f"{known[0]:g} to {known[-1]:g} K"


def _coordinates(bonds: BondScan, *, holes: bool = False) -> list[str]:
    """Numbers of bonds and of angles, equivalent ones included; or of those with holes."""
    words = []
    for kind in ("bond", "angle"):
        n_all, n_holes = (
            sum(scan.n_equivalent for scan in scans if scan.kind == kind) for scans in (bonds.scans, bonds.holes)
        )
        if holes and n_holes:
            words.append(f"{n_holes} of {counted(n_all, kind)}")
        elif n_all and not holes:
            words.append(counted(n_all, kind))
    return words


def _holes(bonds: BondScan) -> str:
    if not bonds.scans:
        return "no bond or angle could be scanned"
    if not bonds.holes:
        return f"no hole in {joined(_coordinates(bonds))}"
    return f"holes in {joined(_coordinates(bonds, holes=True))}"


def _place(scan: CoordinateScan) -> str:
    """A scan with its worst point that belongs to a hole."""
    flags = [flag for flag in scan.flags if flag.kind != "error"]
    value = scan.values[flags[0].point]
    return f"{scan.title} ({value:.2f} Å)" if scan.kind == "bond" else f"{scan.title} ({value:.0f}°)"


def _in_dynamics(survival: Survival) -> str:
    """The bond, angle or contact that went in most failures, or else the commonest reason."""
    failures = sorted(survival.failures, key=lambda failure: failure.time)
    went = Counter(name for failure in failures for name in _went(failure))
    name, count = went.most_common(1)[0]
    first = f"after {next(failure.time for failure in failures if name in _went(failure)) / 1000:.2g} ps"
    if len(failures) == 1:
        return f"1 copy failed in dynamics: {name} {first}"
    often = f"always {name}" if count == len(failures) else f"most often {name} in {count} of them"
    return f"{len(failures)} copies failed in dynamics, {often}, first {first}"


def _went(failure: Failure) -> tuple[str, ...]:
    parts = []
    if failure.departure is not None:
        parts.append(f"{failure.departure.kind} {failure.departure.name}")
    if failure.contact is not None:
        parts.append(f"contact {failure.contact.name}")
    return tuple(parts) or (failure.reason,)


def _labels(facts: Facts) -> str:
    """Failed labels of the run, and of the newest round."""
    n_failed = sum(facts.failed_labels.values())
    if not n_failed:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in facts.failed_labels.items())
    text = f"{counted(n_failed, 'label')} failed ({reasons})"
    if not facts.rounds:
        return text
    n_new = facts.n_failed_in_newest
    part = "all" if n_new == n_failed > 1 else str(n_new or "none")
    return f"{text}, {part} of them in generation {facts.rounds[-1].generation}"
