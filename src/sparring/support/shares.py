"""Division of a number among several parts."""

from collections.abc import Mapping

__all__ = ["apportioned"]


def apportioned(n: int, shares: Mapping[str, float], available: Mapping[str, int]) -> dict[str, int]:
    """Whole numbers that add up to n, by shares; what one part cannot take goes to the others, by their shares.

    Largest remainders are rounded up, as in the method of Hamilton; of equal ones the first part gets it.

    >>> apportioned(10, {"a": 0.6, "b": 0.2, "c": 0.2}, {"a": 99, "b": 99, "c": 1})
    {'a': 7, 'b': 2, 'c': 1}

    Args:
        n: Number to divide.
        shares: Share of each part, above zero; they need not add up to 1.
        available: Most that each part can take.
    """
    taken = dict.fromkeys(shares, 0)
    while open_parts := [name for name in shares if taken[name] < available.get(name, 0)]:
        left = n - sum(taken.values())
        if not left:
            break
        total = sum(shares[name] for name in open_parts)
        exact = {name: left * shares[name] / total for name in open_parts}
        # A share such as 0.6 of 10 is not quite 6 in floating-point numbers.
        whole = {name: int(exact[name] + 1e-9) for name in open_parts}
        rest = left - sum(whole.values())
        for name in sorted(open_parts, key=lambda name: round(whole[name] - exact[name], 9))[:rest]:
            whole[name] += 1
        for name in open_parts:
            taken[name] = min(taken[name] + whole[name], available.get(name, 0))
    return taken
