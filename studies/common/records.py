"""Records of a study: one row for each committee, also merged with the record of another machine."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from studies.common.layout import Layout

__all__ = ["CommitteeRow", "Results", "ended_seeds", "merge_records"]


@dataclass(frozen=True, kw_only=True)
class CommitteeRow:
    """Results of one committee that all studies have; energies are in eV.

    Attributes:
        strategy: Strategy of the run.
        seed: Seed of the run.
        generation: Number of the committee in the run.
        n_requested: Number of labels requested beyond the start that strategies share.
        n_failed: Number of these labels that were refused, e.g. for their energy.
        energy_mae: Mean absolute error of the energy on the test structures of its own run.
        force_mae: Mean absolute error of the forces on these structures, in eV/Å.
    """

    strategy: str
    seed: int
    generation: int
    n_requested: int
    n_failed: int
    energy_mae: float
    force_mae: float


Row = TypeVar("Row", bound=CommitteeRow)


@dataclass(frozen=True, kw_only=True)
class Results(Generic[Row]):
    """Results of a study.

    Attributes:
        command: Command that computes them.
        committees: Rows by strategy, generation and seed.
        missing: Sentences about what has not been computed.
    """

    command: str
    committees: tuple[Row, ...]
    missing: tuple[str, ...]

    def of(self, strategy: str, generation: int) -> list[Row]:
        """One row a seed."""
        return [row for row in self.committees if (row.strategy, row.generation) == (strategy, generation)]

    @property
    def keys(self) -> list[tuple[str, int]]:
        """Strategies and generations that have at least one committee."""
        return list(dict.fromkeys((row.strategy, row.generation) for row in self.committees))


def merge_records(
    current: Iterable[Row], earlier: Iterable[Row], strategies: Sequence[str], n_results: Callable[[Row], int]
) -> tuple[Row, ...]:
    """Rows of a folder and of an earlier record, by strategy, generation and seed.

    A run that both have is taken as a whole from where it has more results, and from the folder if both have equally
    many: last digits of a training differ from machine to machine, so that results of two machines must not be mixed.

    Args:
        current: Rows of the folder.
        earlier: Rows of the record.
        strategies: Strategies in their order; rows of other strategies are left out.
        n_results: Function that counts the results in a row.
    """
    runs: dict[tuple[str, int], list[Row]] = {}
    for rows in (current, earlier):
        for run, own in _by_run(rows).items():
            if run not in runs or sum(map(n_results, own)) > sum(map(n_results, runs[run])):
                runs[run] = own
    merged = [row for rows in runs.values() for row in rows if row.strategy in strategies]
    return tuple(sorted(merged, key=lambda row: (strategies.index(row.strategy), row.generation, row.seed)))


def _by_run(rows: Iterable[Row]) -> dict[tuple[str, int], list[Row]]:
    runs: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        runs.setdefault((row.strategy, row.seed), []).append(row)
    return runs


def ended_seeds(study: Layout, rows: Iterable[CommitteeRow], strategy: str) -> set[int]:
    """Seeds whose last committee is known, or whose run in the folder has found nothing more to label."""
    last = (strategy, study.strategies[strategy].generations)
    known = {row.seed for row in rows if (row.strategy, row.generation) == last}
    return known.union(seed for seed in study.seeds_of(strategy) if study.ended(strategy, seed))
