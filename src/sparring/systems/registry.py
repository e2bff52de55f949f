"""Systems by their section of a configuration, those of other packages among them."""

from collections.abc import Mapping

from ase import Atoms
from pydantic import TypeAdapter, ValidationError

from sparring.support.plugins import registered
from sparring.systems.base import System
from sparring.systems.sections import AnySystem, SystemSection

__all__ = ["PLUGIN_GROUP", "plugin", "read_system"]

PLUGIN_GROUP = "sparring.systems"


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> System:
    """A system that an installed package registers under "sparring.systems".

    Args:
        name: Name of the entry point, a callable that returns a :class:`System`.
        parameters: Keyword arguments of the callable.

    Raises:
        ValueError: If no package registers the name, or its callable returns no system.
    """
    made = registered(PLUGIN_GROUP, name, "system").load()(**dict(parameters or {}))
    if not isinstance(made, System):
        raise ValueError(f"plugin {name!r} must return a sparring.systems.base.System, got {made!r}")
    return made


_ADAPTER: TypeAdapter[SystemSection] = TypeAdapter(AnySystem)


def read_system(section: object) -> System:
    """The system of a run whose configuration was read as plain data.

    A section that this version cannot read, or a plugin that is not installed here, gives a system with a name and
    nothing else, so that a report can be made of all that needs no more.
    """
    try:
        return _ADAPTER.validate_python(section).build()
    except (ValidationError, ValueError, ImportError):
        kind = section.get("kind", "unknown") if isinstance(section, Mapping) else "unknown"
        return System(name=str(kind), structures=_nothing, start=_nothing)


def _nothing(*_: object) -> list[Atoms]:
    raise ValueError("this system cannot be built here: its section is not complete, or its package is not installed")
