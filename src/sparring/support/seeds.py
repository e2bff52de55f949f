"""Random seeds that are derived from the seed of a run."""

import hashlib

__all__ = ["derive"]


def derive(seed: int, *path: int | str) -> int:
    """The seed for a path, e.g. ``derive(run_seed, generation, "attack")``.

    Streams of different paths are independent, and a path always has the same stream.

    Args:
        seed: Seed of the run.
        path: Names and numbers of the purpose of the random numbers.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
