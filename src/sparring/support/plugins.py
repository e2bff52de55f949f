"""Entry points of installed packages."""

from importlib.metadata import EntryPoint, entry_points

from sparring.support.suggestions import did_you_mean

__all__ = ["names", "registered"]


def registered(group: str, name: str, what: str) -> EntryPoint:
    """The entry point that a package registers under a name.

    Args:
        group: Group of entry points.
        name: Name of the entry point.
        what: Noun for such a thing, for the error message.

    Raises:
        ValueError: If no package registers the name.
    """
    points = {point.name: point for point in entry_points(group=group)}
    if name not in points:
        known = ", ".join(sorted(points)) or "none; packages register them in their entry points"
        raise ValueError(f"unknown {what} {name!r}{did_you_mean(name, points)}; registered: {known}")
    return points[name]


def names(group: str) -> list[str]:
    """Names that packages register in a group of entry points."""
    return sorted({point.name for point in entry_points(group=group)})
