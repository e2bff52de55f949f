"""Proposers of other packages, and the colours and words by which the report shows what each proposer found."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple

from sparring.proposers.base import Proposer
from sparring.support.plugins import registered

__all__ = ["PLUGIN_GROUP", "STYLES", "SourceStyle", "plugin", "plugin_style"]

PLUGIN_GROUP = "sparring.proposers"


class SourceStyle(NamedTuple):
    """The look of structures from one source in figures and in the explorer.

    Attributes:
        colour: Colour, as "#882255".
        marker: Marker of Matplotlib.
        words: Name in legends.
    """

    colour: str
    marker: str
    words: str


STYLES = {
    "attack": SourceStyle("#882255", "o", "attack"),
    "random": SourceStyle("#117733", "^", "random"),
    "dynamics": SourceStyle("#0077bb", "v", "dynamics"),
    "biased_dynamics": SourceStyle("#ee7733", "<", "biased dynamics"),
    "scan": SourceStyle("#999933", "d", "scan"),
}
"""The built-in proposers, by the source that their structures have in the data."""

TAKEN = {*STYLES, "file"}
"""Sources that mean something else in the data."""


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> Proposer:
    """A proposer that an installed package registers under "sparring.proposers".

    Args:
        name: Name of the entry point, whose object is called with the parameters and returns a proposer.
        parameters: Its keyword arguments.

    Raises:
        ValueError: If no package registers the name, the name is taken, the parameters do not fit, or the result is no
            proposer.
    """
    if name in TAKEN:
        raise ValueError(f"the name {name!r} is taken by a source of Sparring's own; register the plugin by another")
    make = _loaded(name)
    try:
        proposer = make(**dict(parameters or {}))
    except TypeError as error:
        raise ValueError(f"proposer {name!r} does not take the parameters {dict(parameters or {})}: {error}") from error
    if not callable(proposer):
        raise ValueError(f"plugin {name!r} returns no proposer (committee, seeds, seed) -> Candidates but {proposer!r}")
    return proposer  # type: ignore[no-any-return]


def plugin_style(source: str) -> SourceStyle | None:
    """The style that a package gives to the structures of its proposer, as ``style`` of what it registers.

    None if no installed package has a proposer of that name, or it has no style.
    """
    if source not in entry_points(group=PLUGIN_GROUP).names:
        return None
    try:
        style = getattr(_loaded(source), "style", None)
    except (ImportError, AttributeError):  # a report is made also where the package is broken
        return None
    return SourceStyle(*style) if style is not None else None


def _loaded(name: str) -> Any:  # noqa: ANN401 - an object of another package
    return registered(PLUGIN_GROUP, name, "proposer").load()
