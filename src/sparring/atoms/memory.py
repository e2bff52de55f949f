"""How many structures fit the memory at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparring.atoms.structures import Structures

__all__ = ["held_bytes", "how_many_fit"]


def how_many_fit(structures: Structures, held: Callable[[Structures], int], max_memory: float | None) -> int:
    """How many of the structures fit the memory: what a second copy of the largest adds to what is held.

    The factor of two is for the backward pass, which holds about as much again.

    Args:
        structures: What has to be divided.
        held: How many bytes are held for given structures.
        max_memory: Bytes that may be taken; None for no limit.
    """
    if max_memory is None or structures.n_structures == 1:
        return structures.n_structures
    largest = int(structures.counts.argmax())
    one, two = (held(structures.take([largest] * copies)) for copies in (1, 2))
    return max(1, min(structures.n_structures, int(max_memory // (2 * max(two - one, 1)))))


def held_bytes(compute: Callable[[], object]) -> int:
    """How many bytes the graph of a computation holds for its backward pass, weights included."""
    held: dict[int, int] = {}

    def weigh(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
        graph = compute()
        total = sum(held.values())
    del graph
    return total
