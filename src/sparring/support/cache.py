"""Caches inside frozen values."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Cache", "TensorCache"]

Value = TypeVar("Value")


class Cache(Generic[Value]):
    """Results that a frozen value computes from itself, each when it is first needed.

    What is in a cache could be computed again at any time, so a value that has one is as immutable as without it.
    """

    def __init__(self) -> None:
        self._values: dict[Hashable, Value] = {}

    def get(self, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The result under a key, computed if it is not there."""
        if key not in self._values:
            self._values[key] = compute()
        return self._values[key]


class TensorCache(Generic[Value]):
    """Results of the last few tensors, compared by identity: to compare their values would wait for the device.

    Args:
        size: Number of results that are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._rows: list[tuple[object, Hashable, Value]] = []

    def get(self, tensor: object, key: Hashable, compute: Callable[[], Value]) -> Value:
        """The result for a tensor and further keys, computed if it is not there."""
        for known, its_key, value in self._rows:
            if known is tensor and its_key == key:
                return value
        value = compute()
        self._rows = [(tensor, key, value), *self._rows[: self._size - 1]]
        return value
