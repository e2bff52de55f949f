"""Four questions that everybody has about a run, answered from what is in its folder: first thing in the report."""

from pathlib import Path

from sparring.reporting.answers.base import Answer
from sparring.reporting.answers.continuing import going_on
from sparring.reporting.answers.facts import Facts, facts_of
from sparring.reporting.answers.sigma import sigma
from sparring.reporting.answers.stability import failed, stable

__all__ = ["Answer", "answers", "answers_of"]


def answers(folder: Path) -> tuple[Answer, ...]:
    """Answers: is it stable, where did it fail, how far can σ be believed, and should one go on?

    Nothing is computed but from saved files. There is no answer before there is a committee; a particle in a model
    potential is not asked for its stability.

    Args:
        folder: Folder of a run, finished or not.
    """
    facts = facts_of(folder)
    return () if facts is None else answers_of(facts)


def answers_of(facts: Facts) -> tuple[Answer, ...]:
    """The answers from facts that have been read."""
    whole = (stable(facts),) if facts.is_molecular else ()
    return (*whole, failed(facts), sigma(facts), going_on(facts))
