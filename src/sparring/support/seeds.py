"""Seeds for whatever draws random numbers, from one seed and the names of what draws."""

import hashlib

__all__ = ["derive"]


def derive(seed: int, *path: int | str) -> int:
    """A seed of its own for each path, e.g. ``derive(run_seed, generation, "attack")``.

    Streams of different paths are independent, and a path always gets the same one, whatever else was drawn before.
    """
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
