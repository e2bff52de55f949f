"""The cache of a run's stages: a stage is computed, or its result is read."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["StageCache", "no_cache"]

T = TypeVar("T")


@runtime_checkable
class StageCache(Protocol):
    """Computes the result of a stage unless it is known."""

    def __call__(self, generation: int, stage: str, compute: Callable[[], T]) -> T:
        """The result of a stage.

        Args:
            generation: Number of the generation, from 1.
            stage: Name of the stage.
            compute: Function that computes the result.
        """


def no_cache(generation: int, stage: str, compute: Callable[[], T]) -> T:
    """Compute every stage and keep nothing: a run without a folder."""
    return compute()
