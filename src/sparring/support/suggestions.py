"""The known name that is most similar to an unknown one, for error messages."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean", "most_similar"]


LONGEST = 200
"""Characters of a name beyond which nothing is similar to it."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name; empty if no known name is similar.

    >>> did_you_mean("Shcnet", ["schnet", "coordinate_mlp"])
    ", did you mean 'schnet'?"
    """
    similar = most_similar(name, known)
    return f", did you mean {similar!r}?" if similar is not None else ""


def most_similar(name: str, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """The known name that is most similar to a name, regardless of capitals; None if none is similar.

    Args:
        name: Unknown name.
        known: Known names. Of two that differ in capitals only, the last one is found.
        cutoff: Similarity from 0 to 1 that is required.
    """
    if len(name) > LONGEST:  # which takes the square of its length
        return None
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=cutoff)
    return folded[close[0]] if close else None
