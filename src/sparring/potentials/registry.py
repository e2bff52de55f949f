"""Architectures by name: those that ship with Sparring, and those that installed packages register."""

import json
from collections.abc import Mapping
from importlib.metadata import EntryPoint

from sparring.potentials.ace.network import ACE
from sparring.potentials.base import Architecture
from sparring.potentials.foreign.adapters import ADAPTERS
from sparring.potentials.foreign.packages import ADAPTER_GROUP
from sparring.potentials.heads.head import Head
from sparring.potentials.mlp import CoordinateMLP
from sparring.potentials.painn import PaiNN
from sparring.potentials.prior import WithPrior
from sparring.potentials.schnet import SchNet
from sparring.support.plugins import names, registered

__all__ = [
    "ARCHITECTURES",
    "PLUGIN_GROUP",
    "architecture_class",
    "plugin",
    "provider",
    "require_readable",
    "saved_architecture",
]

ARCHITECTURES: dict[str, type[Architecture]] = {kind.kind: kind for kind in (SchNet, PaiNN, ACE, CoordinateMLP)}
_BUILT_IN: dict[str, type[Architecture]] = {
    **ARCHITECTURES,
    **ADAPTERS,
    Head.kind: Head,
    WithPrior.kind: WithPrior,
}
"""Architectures that can be read, also those that are trained elsewhere."""
PLUGIN_GROUP = "sparring.potentials"


def plugin(name: str, parameters: Mapping[str, object] | None = None) -> Architecture:
    """An architecture that an installed package registers under the entry-point group "sparring.potentials".

    Args:
        name: Name of the entry point, which is the ``kind`` of the class behind it.
        parameters: Keyword arguments of the constructor.

    Raises:
        ValueError: If no package registers the name, it cannot be imported or is no architecture, or the parameters are
            not accepted.
    """
    made = _load(registered(PLUGIN_GROUP, name, "potential"))
    try:
        return made(**dict(parameters or {}))
    except TypeError as error:
        raise ValueError(f"potential {name!r} does not accept parameters {dict(parameters or {})}: {error}") from error


def architecture_class(kind: str) -> type[Architecture]:
    """The class of an architecture: a built-in one, or else one that an installed package registers.

    Raises:
        ValueError: If there is none of that name, or it cannot be imported.
    """
    return _BUILT_IN[kind] if kind in _BUILT_IN else _load(_registered(kind))


def saved_architecture(kind: str, package: object) -> type[Architecture]:
    """The class of the architecture of a saved committee.

    Args:
        kind: Name of the architecture.
        package: Name and version of the package that registered it, if known.

    Raises:
        ValueError: If this installation does not have it.
    """
    try:
        return architecture_class(kind)
    except ValueError as error:
        of = f" of the package {package}" if package else ""
        raise ValueError(
            f"the committee is of the architecture {kind!r}{of}, which this installation does not have: {error}; "
            f"built in are {sorted(ARCHITECTURES)}; install the package that registers {kind!r} under {PLUGIN_GROUP!r}"
        ) from error


def provider(kind: str) -> str | None:
    """Name and version of the package that registers an architecture; None for a built-in one, or if unknown."""
    if kind in _BUILT_IN:
        return None
    package = _registered(kind).dist
    return None if package is None else f"{package.name} {package.version}"


def require_readable(architecture: Architecture) -> None:
    """Check that a saved committee of this architecture could be read again.

    Raises:
        ValueError: If its class is not registered under its ``kind``, or its hyperparameters do not rebuild it.
    """
    made, kind = type(architecture), getattr(architecture, "kind", None)
    head = f"a committee of {made.__name__} (kind {kind!r}) cannot be saved, because it could not be read again: "
    remedy = f"register the class under the entry-point group {PLUGIN_GROUP!r}, or save each member's state_dict()"
    try:
        registered_class = architecture_class(str(kind))
    except ValueError as error:
        raise ValueError(f"{head}{error}; {remedy}") from error
    if registered_class is not made:
        other = f"{registered_class.__module__}.{registered_class.__qualname__}"
        raise ValueError(f"{head}{kind!r} is the kind of {other}; give the class a `kind` of its own and {remedy}")
    if isinstance(architecture, Head):
        if not isinstance(architecture.backbone, Architecture):
            raise ValueError(
                f"{head}its backbone is a {type(architecture.backbone).__name__}, which is no sparring.Architecture; "
                "make it one, or keep the committee in a script of your own"
            )
        require_readable(architecture.backbone)
    if isinstance(architecture, WithPrior):
        require_readable(architecture.network)
    if kind not in _BUILT_IN:
        _require_rebuildable(architecture, head)


def _require_rebuildable(architecture: Architecture, head: str) -> None:
    try:
        values = json.loads(json.dumps(dict(architecture.hyperparameters)))
        rebuilt = type(architecture)(**values)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{head}its hyperparameters do not rebuild it ({error}); make them the keyword arguments of the "
            "constructor, with values that JSON has"
        ) from error
    saved, again = ({name: w.shape for name, w in one.state_dict().items()} for one in (architecture, rebuilt))
    if saved != again:
        different = sorted(name for name in {*saved, *again} if saved.get(name) != again.get(name))
        raise ValueError(
            f"{head}its hyperparameters rebuild a module of other weights ({', '.join(different[:3])}); give it all "
            "keyword arguments of the constructor"
        )


def _registered(kind: str) -> EntryPoint:
    """The entry point of an architecture, or else of an adapter."""
    if kind in names(ADAPTER_GROUP) and kind not in names(PLUGIN_GROUP):
        return registered(ADAPTER_GROUP, kind, "adapter")
    return registered(PLUGIN_GROUP, kind, "potential")


def _load(point: EntryPoint) -> type[Architecture]:
    where = f"potential {point.name!r} is registered as {point.value}"
    try:
        made = point.load()
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{where}, which cannot be imported: {error}; reinstall the package") from error
    if not (isinstance(made, type) and issubclass(made, Architecture)):
        raise ValueError(f"{where}, which is not a subclass of sparring.Architecture but {made!r}")
    if getattr(made, "kind", None) != point.name:
        kind = getattr(made, "kind", None)
        raise ValueError(f"{where}, whose kind is {kind!r}; the name of the entry point and `kind` must be the same")
    return made
