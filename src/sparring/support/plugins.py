"""What other installed packages bring: labellers, spaces."""

import difflib
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

__all__ = ["names", "nearest", "registered"]


def registered(group: str, name: str, what: str) -> EntryPoint:
    """What a package registers under a name.

    Args:
        group: The group of entry points.
        name: The name.
        what: What such a thing is called, for the message.

    Raises:
        ValueError: If no package registers the name.
    """
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none; packages register them in their entry points"
        raise ValueError(f"unknown {what} {name!r}{nearest(name, points)}; registered: {known}")
    return points[name]


def names(group: str) -> list[str]:
    """Names that packages register in a group of entry points."""
    return sorted({point.name for point in entry_points(group=group)})


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: which of the known ones it is most like, if any."""
    folded = {candidate.casefold(): candidate for candidate in known}
    close = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    return f", did you mean {folded[close[0]]!r}?" if close else ""
