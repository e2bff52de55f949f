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
    """One row for each committee, in the order of strategies, generations and seeds.

    Args:
        now: Rows of what is in the folder.
        earlier: Those of a record. A row of one committee is taken whole from the side on which more is known of it,
            and from the folder if as much is: numbers of one row never are of two trainings.
        strategies: In their order; rows of others, which the study does not have any more, are left out.
        known: How much is known of a committee.
    """
    best: dict[tuple[str, int, int], T] = {}
    for row in (*now, *earlier):
        key = (row.strategy, row.generation, row.seed)
        if key not in best or known(row) > known(best[key]):
            best[key] = row
    mine = [key for key in best if key[0] in strategies]
    return tuple(best[key] for key in sorted(mine, key=lambda key: (strategies.index(key[0]), *key[1:])))


def seeds_ended(study: Layout, rows: Iterable[Row], strategy: str) -> set[int]:
    """Seeds of which a strategy has its last committee, or a run in the folder that found nothing more to label."""
    last = (strategy, study.strategies[strategy].generations)
    known = {row.seed for row in rows if (row.strategy, row.generation) == last}
    return known.union(seed for seed in study.seeds_of(strategy) if study.ended(strategy, seed))
