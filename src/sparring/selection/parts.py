"""Parts of a portfolio in a selection: the labels that each may have."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from sparring.candidates import Candidates
from sparring.support.shares import apportioned

__all__ = ["Part", "parts_of"]


class Part(NamedTuple):
    """Candidates of one part of a portfolio.

    Attributes:
        name: Name of the part; None for all candidates together.
        places: Places of its candidates, in ascending order.
        n: Number of them to keep.
    """

    name: str | None
    places: Int[np.ndarray, " n_candidates"]
    n: int


def parts_of(candidates: Candidates, n: int, shares: Mapping[str, float] | None) -> list[Part]:
    """Parts of a portfolio and their shares of n candidates; a single one without shares, or without parts.

    Candidates that a part lacks for its share go to the others (:func:`sparring.support.shares.apportioned`).

    Args:
        candidates: Candidates.
        n: Largest number of candidates to keep.
        shares: Share of each part; None to choose from all candidates at once.

    Raises:
        ValueError: If a part has no share.
    """
    if shares is None or candidates.source is None:
        everything = np.arange(candidates.structures.n_structures)
        return [Part(None, everything, min(n, len(everything)))]
    if unknown := set(candidates.source) - set(shares):
        raise ValueError(f"a selector with shares needs one for each part, and has none for {sorted(unknown)}")
    sources = np.array(candidates.source)
    places = {name: np.flatnonzero(sources == name) for name in shares}
    numbers = apportioned(n, shares, {name: len(place) for name, place in places.items()})
    return [Part(name, places[name], numbers[name]) for name in shares]
