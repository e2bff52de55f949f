r"""Random numbers that are looked up by a counter instead of drawn in turn: Philox4x32-10.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), doi:10.1145/2063384.2063405. A number depends on
its key and its counter and on nothing else, so what belongs to one structure is the same whichever others are in its
batch, and it is made where it is used, without a loop over structures.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["normals", "words"]

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_N_ROUNDS = 10

Words = tuple[Tensor | int, Tensor | int, Tensor | int, Tensor | int]


def words(counter: Words, key: tuple[Tensor | int, Tensor | int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four random words of 32 bits for each counter and key, in tensors of 64-bit integers.

    Args:
        counter: Four words of 32 bits; the first and the third must be tensors.
        key: Two words of 32 bits.
    """
    zero, one, two, three = counter
    for turn in range(_N_ROUNDS):
        low_key, high_key = ((k + turn * weyl) & _MASK for k, weyl in zip(key, _WEYL, strict=True))
        # Products wrap around 2^64; a shift keeps the sign, which the mask takes away.
        first, second = zero * _MULTIPLIERS[0], two * _MULTIPLIERS[1]
        zero, two = ((second >> 32) & _MASK) ^ one ^ low_key, ((first >> 32) & _MASK) ^ three ^ high_key
        one, three = second & _MASK, first & _MASK
    return zero, one, two, three  # type: ignore[return-value]  # tensors by now


def normals(
    key: Int[Tensor, " n_rows"], row: Int[Tensor, " n_rows"], *, stream: int, step: int
) -> Float[Tensor, "n_rows 3"]:
    r"""Three numbers from N(0, 1) for each row, in double precision (Box and Muller, doi:10.1214/aoms/1177706645).

    .. math:: z = \sqrt{-2 \ln u_1} \, (\cos 2\pi u_2, \sin 2\pi u_2)

    Args:
        key: Key of 63 bits for the sequence of a row, from :func:`sparring.support.seeds.derive`.
        row: Number of the row among those with the same key, below 2^32.
        stream: Number of the purpose of the random numbers.
        step: Position in the sequence, below 2^32.
    """
    counter = (torch.zeros_like(row) + step, stream, row, 0)
    bits = words(counter, (key & _MASK, key >> 32))
    radius_1, angle_1, radius_2, angle_2 = ((word.double() + 0.5) / 2**32 for word in bits)
    one, other = ((-2 * u.log()).sqrt() for u in (radius_1, radius_2))
    turn = 2 * math.pi * angle_1
    return torch.stack([one * turn.cos(), one * turn.sin(), other * (2 * math.pi * angle_2).cos()], dim=-1)
