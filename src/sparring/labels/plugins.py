"""Labellers and ASE calculators of other packages, registered as entry points."""

from collections.abc import Mapping
from multiprocessing.reduction import ForkingPickler
from typing import Any

from ase import Atoms

from sparring.labels.ase import FromCalculator
from sparring.labels.base import Label, Labeller
from sparring.labels.identity import absolute, described
from sparring.support.plugins import registered

__all__ = ["PLUGIN_GROUP", "plugin"]

PLUGIN_GROUP = "sparring.labellers"


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> Labeller:
    """A labeller, or an ASE calculator, that an installed package registers under "sparring.labellers".

    Args:
        name: Name of the entry point, which is a callable.
        parameters: Keyword arguments of the callable.

    Raises:
        ValueError: If no package registers the name, or it gives neither labeller nor ASE calculator.
    """
    point = registered(PLUGIN_GROUP, name, "labeller")
    made: Any = point.load()(**absolute(parameters or {}))
    version = f"{point.dist.name} {point.dist.version}" if point.dist is not None else None
    if not isinstance(made, Labeller):
        made = FromCalculator(made, method=f"{name} {described(parameters or {})}", version=version)
    try:
        ForkingPickler.dumps(made)
    # What pickling raises depends on what is in the way; what was made here can be made in a worker, too.
    except Exception:
        return _Remade(name, absolute(parameters or {}), made)
    found: Labeller = made
    return found


class _Remade:
    """A plugin's labeller that cannot be pickled, and is made anew in every process."""

    def __init__(self, name: str, parameters: Mapping[str, object], made: Labeller) -> None:
        self._recipe = (name, parameters)
        self._made = made
        self.method = made.method
        self.version = made.version

    def __call__(self, atoms: Atoms) -> Label:
        return self._made(atoms)

    def safer(self) -> Labeller | None:
        """The plugin's own safer variant, if it has one."""
        make = getattr(self._made, "safer", None)
        found: Labeller | None = make() if callable(make) else None
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return plugin, self._recipe
