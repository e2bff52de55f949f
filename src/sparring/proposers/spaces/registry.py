"""Spaces of other packages."""

from collections.abc import Mapping

from sparring.proposers.spaces.base import Space
from sparring.support.plugins import registered

__all__ = ["PLUGIN_GROUP", "plugin"]

PLUGIN_GROUP = "sparring.spaces"


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> Space:
    """A space that an installed package registers under "sparring.spaces".

    Args:
        name: Name of the entry point, which is a callable.
        parameters: Its keyword arguments.

    Raises:
        ValueError: If no package registers the name, or the result is no space.
    """
    made = registered(PLUGIN_GROUP, name, "space").load()(**dict(parameters or {}))
    if not isinstance(made, Space):
        raise ValueError(f"plugin {name!r} returns no space (owner, initial, displace, project) but {made!r}")
    return made
