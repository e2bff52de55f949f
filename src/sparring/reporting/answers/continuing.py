"""Answer to the question whether to go on with further generations."""

import math

import numpy as np
from jaxtyping import Float
from scipy.stats import mannwhitneyu

from sparring.reporting.answers.base import Answer, State, counted, in_words, joined, numbered, percent, shown
from sparring.reporting.answers.facts import Facts
from sparring.reporting.answers.stability import stable
from sparring.runs.expectations import NewLabels
from sparring.support.ranks import fewest_for

__all__ = ["going_on"]

QUESTION = "Should I go on?"
MOST_ROUNDS = 4
"""Largest number of rounds whose errors are listed, the newest ones."""
SURE = 0.05
"""Probability below which the errors of a round are said to be smaller than those of the round before."""
EXAMPLE = "stop: {force_error: 0.1 eV/Å}"


def going_on(facts: Facts) -> Answer:
    """The target and whether it is met; without one, errors found, and test errors, and whether they still fall."""
    if not facts.has_labels:
        return _unlabelled(facts)
    if not facts.rounds:
        return _without_rounds(facts)
    return _with_target(facts) if facts.stop is not None else _without_target(facts)


def _with_target(facts: Facts) -> Answer:
    assert facts.stop is not None
    asked, met = f"{facts.stop.force_error:g} eV/Å", facts.met
    if met is not None:
        text = (
            f"The target is met in generation {met.generation}: the next structure found errs by less than "
            f"{shown(met.error_found)} eV/Å with {percent(facts.confidence)} confidence, and {asked} were asked for."
        )
        if facts.is_molecular and stable(facts).state == "look":
            return Answer(question=QUESTION, state="look", text=f"{text} But it is not stable, see above.")
        return Answer(question=QUESTION, state="good", text=text)
    newest, too_few = facts.rounds[-1], _too_few(facts.rounds[-1])
    if too_few:
        text = f"The target of {asked} cannot be judged in generation {newest.generation}: {too_few}."
    else:
        text = f"The target of {asked} is not met: {_found(facts)}."
    if not facts.is_finished:
        text += f" The run goes on, to generation {facts.n_planned} at most."
        return Answer(question=QUESTION, state="unknown", text=text)
    state: State = "unknown" if too_few else "look"
    if not _falls(facts):
        return Answer(question=QUESTION, state=state, text=f"{text} {_trend(facts, first=True)}.")
    text += f" {_trend(facts, first=True)}, so that more generations may help:"
    return Answer(question=QUESTION, state=state, text=text, command=f"generations: {facts.n_evaluated + 2}")


def _without_target(facts: Facts) -> Answer:
    text = f"{_found(facts)}; {_trend(facts)}"
    more = _test_errors(facts) if facts.is_finished else f"The run goes on, to generation {facts.n_planned} at most"
    ending = f"{more}; no target is set:" if more else "No target is set:"
    return Answer(question=QUESTION, state="unknown", text=f"{in_words([text])} {ending}", command=EXAMPLE)


def _found(facts: Facts) -> str:
    """The errors of the newest rounds."""
    rounds = facts.rounds[-MOST_ROUNDS:]
    errors = [shown(one.error_found) for one in rounds]
    bounded = [place for place, one in enumerate(rounds) if math.isfinite(one.error_found)]
    if bounded:
        errors[bounded[-1]] += " eV/Å"
    else:
        errors = errors[:1]
    confidence = f"with {percent(facts.confidence)} confidence the next structure errs less"
    more = "; ".join(part for part in (_reason(rounds[-1]), confidence if bounded else "") if part)
    return f"error found in {numbered([one.generation for one in rounds])}: {joined(errors)} ({more})"


def _reason(newest: NewLabels) -> str:
    """The reason why there is no bound."""
    if math.isfinite(newest.error_found):
        return ""
    refused = f"{newest.n_refused} of {counted(len(newest.error) + newest.n_refused, 'label')} were refused"
    return _too_few(newest) or refused


def _too_few(newest: NewLabels) -> str:
    """The number of labels and the least that a bound takes, where there are fewer."""
    n = len(newest.error) + newest.n_refused
    least = fewest_for(newest.stop_confidence)
    return (
        "" if n >= least else f"{counted(n, 'label')}, a confidence of {percent(newest.stop_confidence)} takes {least}"
    )


def _trend(facts: Facts, *, first: bool = False) -> str:
    """The change of errors of new labels, as a part of a sentence."""
    falls = _falls(facts)
    errors = "Errors" if first else "errors"
    if falls is not None:
        return f"{errors} {'still fell' if falls else 'did not clearly fall'} in the last round"
    after = " after one round" if len(facts.rounds) < 2 else ""
    return f"{'Whether' if first else 'whether'} errors fall is not known{after}"


def _falls(facts: Facts) -> bool | None:
    """True if errors of the newest labels are smaller than those of the round before (Mann and Whitney)."""
    if len(facts.rounds) < 2:
        return None
    before, last = (_errors(one) for one in facts.rounds[-2:])
    if not len(before) or not len(last):
        return None
    return bool(mannwhitneyu(last, before, alternative="less").pvalue < SURE)


def _errors(one: NewLabels) -> Float[np.ndarray, " n"]:
    # Ranks are all that counts; a refused label has the highest.
    return np.array([*one.error[np.isfinite(one.error)], *[1e300] * one.n_refused])


def _test_errors(facts: Facts) -> str:
    """Errors of the first and the last committee on the same structures."""
    if facts.common is None or len(facts.common.generations) < 2:
        return ""
    first, last = facts.common.generations[0], facts.common.generations[-1]
    before, after = facts.common.of(first), facts.common.of(last)
    if before is None or after is None:
        return ""
    return (
        f"On {counted(facts.common.n_structures['all'], 'test structure')} forces err by {shown(before.force_rmse)} "
        f"eV/Å with generation {first} and {shown(after.force_rmse)} eV/Å with generation {last}"
    )


def _unlabelled(facts: Facts) -> Answer:
    selected = facts.newest.selected()
    if not selected:
        return Answer(question=QUESTION, state="unknown", text="Nothing is labelled in this run, nor selected for it.")
    text = "Nothing is labelled in this run, so that errors are not known; the structures to be labelled are in"
    return Answer(question=QUESTION, state="unknown", text=text, command=f"{facts.newest.folder}/selected.extxyz")


def _without_rounds(facts: Facts) -> Answer:
    command = ""
    if facts.ended_early:
        text = (
            f"In generation {facts.newest.number} no structure passed the selection: no error was found or ruled out."
        )
    elif facts.is_finished:
        text = (
            "No structure was sought and labelled after the training, so that errors beyond the data are not known; "
            "further generations do that:"
        )
        command = f"generations: {facts.n_evaluated + 2}"
    else:
        text = f"No new label is known yet; the run goes on, to generation {facts.n_planned} at most."
    return Answer(question=QUESTION, state="unknown", text=text, command=command)
