"""A study that several machines compute: what an earlier report has recorded, beside what is in a folder now."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

from layout import Layout

__all__ = ["Row", "rows_of_both", "seeds_ended"]


class Row(Protocol):
    """What is known of a committee."""

    @property
    def strategy(self) -> str:
        """How its labels were found."""

    @property
    def seed(self) -> int:
        """Of its run."""

    @property
    def generation(self) -> int:
        """Its number in the run."""


T = TypeVar("T", bound=Row)


def rows_of_both(
    now: Iterable[T], earlier: Iterable[T], strategies: Sequence[str], known: Callable[[T], int]
) -> tuple[T, ...]:
    """The rows of all runs, in the order of strategies, generations and seeds.

    A run that both know is taken whole from where more is known of it, from the folder if as much is: last digits of a
    training differ from machine to machine, and what follows from it with them.

    Args:
        now: Rows of what is in the folder.
        earlier: Those of a record.
        strategies: In their order; rows of others, which the study does not have any more, are left out.
        known: How much is known of a committee.
    """
    runs: dict[tuple[str, int], list[T]] = {}
    for side in (now, earlier):
        for run, rows in _by_run(side).items():
            if sum(map(known, rows)) > sum(map(known, runs.get(run, ()))) or run not in runs:
                runs[run] = rows
    mine = [row for rows in runs.values() for row in rows if row.strategy in strategies]
    return tuple(sorted(mine, key=lambda row: (strategies.index(row.strategy), row.generation, row.seed)))


def _by_run(rows: Iterable[T]) -> dict[tuple[str, int], list[T]]:
    runs: dict[tuple[str, int], list[T]] = {}
    for row in rows:
        runs.setdefault((row.strategy, row.seed), []).append(row)
    return runs


def seeds_ended(study: Layout, rows: Iterable[Row], strategy: str) -> set[int]:
    """Seeds of which a strategy has its last committee, or a run in the folder that found nothing more to label."""
    last = (strategy, study.strategies[strategy].generations)
    known = {row.seed for row in rows if (row.strategy, row.generation) == last}
    return known.union(seed for seed in study.seeds_of(strategy) if study.ended(strategy, seed))
