"""Answer to the question how far σ can be believed."""

import math

from sparring.reporting.answers.base import Answer, counted, percent, shown
from sparring.reporting.answers.facts import Facts
from sparring.runs.expectations import Expectation, NewLabels, ratio_on_test_set

__all__ = ["sigma"]

QUESTION = "How far can σ be believed?"
SURPRISE = 0.05
"""Probability below which bounds are said to have failed."""
LEAST = 5
"""Smallest number of labels that bounds are judged by."""


def sigma(facts: Facts) -> Answer:
    """Errors of the newest labels against σ, and how often bounds held that were known before them."""
    known = [one for one in facts.rounds if not math.isnan(one.sigma_ratio)]
    if not known:
        return _without_labels(facts)
    newest = known[-1]
    labels = counted(len(newest.error), "new label")
    text = (
        f"On {labels} of generation {newest.generation} forces err by {shown(newest.sigma_ratio)} times σ_F (median)."
    )
    expectation = newest.expectation()
    if expectation is None:
        return Answer(question=QUESTION, state="unknown", text=f"{text} No bounds were known before these labels.")
    text += f" {_bounds(newest, expectation)}"
    # Of several proposers one is surprising by chance more often.
    by_source = newest.by_source
    if expectation.probability < SURPRISE or any(one.probability < SURPRISE / len(by_source) for one in by_source):
        return Answer(question=QUESTION, state="look", text=text)
    return Answer(question=QUESTION, state="good" if expectation.n_labels >= LEAST else "unknown", text=text)


def _bounds(newest: NewLabels, expectation: Expectation) -> str:
    by = "test structures" if newest.by_test else f"the labels of generation {newest.generation - 1}"
    parts = ", ".join(f"{one.source.replace('_', ' ')} {one.n_within} of {one.n_labels}" for one in newest.by_source)
    return (
        f"The {percent(expectation.confidence)} bounds that {by} set, {shown(newest.factor)} times the expected error, "
        f"held for {expectation.n_within} of {expectation.n_labels}{f' ({parts})' if parts else ''}."
    )


def _without_labels(facts: Facts) -> Answer:
    """The only thing that is known without new labels: errors on structures that are like the data."""
    ratio, n = ratio_on_test_set(facts.newest)
    none = "No new label tests it" if facts.has_labels else "Nothing is labelled in this run, so that σ is not tested"
    if not n:
        return Answer(question=QUESTION, state="unknown", text=f"{none}.")
    more = (
        f" On {counted(n, 'test structure')}, which are like the data, forces err by {shown(ratio)} times σ_F (median)."
    )
    return Answer(question=QUESTION, state="unknown", text=f"{none}.{more}")
