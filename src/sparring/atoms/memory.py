"""Memory of predictions, and the number of structures that fit it."""

from collections.abc import Callable

import torch
from torch import Tensor

from sparring.atoms.structures import Structures

__all__ = ["held_bytes", "how_many_fit"]


def how_many_fit(structures: Structures, held: Callable[[Structures], int], max_memory: float | None) -> int:
    """Number of structures that fit the memory, from the bytes that a second copy of the largest adds.

    The factor of two is for the backward pass, which takes about as much again.

    Args:
        structures: Structures that have to be divided.
        held: Function from structures to the bytes that their graph takes.
        max_memory: Bytes that may be taken; None for no limit.
    """
    if max_memory is None or structures.n_structures == 1:
        return structures.n_structures
    largest = int(structures.counts.argmax())
    one, two = (held(structures.take([largest] * copies)) for copies in (1, 2))
    return max(1, min(structures.n_structures, int(max_memory // (2 * max(two - one, 1)))))


def held_bytes(compute: Callable[[], object]) -> int:
    """Bytes that the graph of a computation keeps for its backward pass, weights included."""
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
