"""Random displacements of seeds, without regard to the committee: the baseline of the paper."""

from collections.abc import Callable

from sparring.atoms.structures import Structures
from sparring.candidates import Candidates
from sparring.committee import Committee
from sparring.proposers.ascent import attack
from sparring.proposers.objectives import force_variance
from sparring.proposers.spaces import Space

__all__ = ["random_displacements"]


def random_displacements(
    committee: Committee,
    seeds: Structures,
    *,
    space: Space,
    seed: int,
    min_distance: float = 0.5,
    max_memory: float | None = 4e9,
    progress: Callable[[int, int], None] | None = None,
) -> Candidates:
    """Displace every seed once at random, and predict.

    The score is the variance of forces. A displaced seed with two atoms too close has the geometry of its seed, NaN for
    all predictions and the status OVERLAP.

    Args:
        committee: Committee that predicts.
        seeds: Geometries to displace.
        space: Space whose first displacement is the candidate, such as :class:`sparring.RandomDisplacement`.
        seed: Seed of the random numbers.
        min_distance: Distance of two atoms, in Å, that counts as an overlap.
        max_memory: Bytes to take at a time; None for no limit.
        progress: Callback with the number of chunks done and to do.

    Raises:
        ValueError: If no displaced seed has a finite prediction, or the committee does not know an element.
    """
    # The first point of an ascent is a displaced seed with its predictions.
    start = attack(
        committee,
        seeds,
        force_variance,
        seed=seed,
        space=space,
        n_steps=0,
        min_distance=min_distance,
        max_memory=max_memory,
        progress=progress,
    )
    return start.candidates()
