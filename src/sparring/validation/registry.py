"""All validations: those of the package, and those that other installed packages bring."""

from collections.abc import Iterator
from importlib import import_module

from sparring.support import plugins
from sparring.validation.base import Validation

__all__ = ["GROUP", "find", "names"]

GROUP = "sparring.validations"
"""Group of entry points; each names a :class:`sparring.validation.base.Validation`, and is named like its verb."""

BUILT_IN = {
    "holes": "sparring.validation.holes:validation",
    "barrier": "sparring.validation.barrier:validation",
    "bonds": "sparring.validation.bond_scan:validation",
    "survival": "sparring.validation.survival:validation",
    "equation-of-state": "sparring.validation.equation_of_state:validation",
    "elastic": "sparring.validation.elastic:validation",
    "phonons": "sparring.validation.phonons:validation",
    "vacancy": "sparring.validation.vacancy:validation",
    "landscape": "sparring.validation.landscape:validation",
    "landscape-relaxed": "sparring.validation.landscape:relaxed",
    "free-energy": "sparring.validation.free_energy:validation",
    "errors": "sparring.validation.errors:validation",
    "diversity": "sparring.validation.diversity:validation",
}


def names() -> Iterator[str]:
    """Names of all validations, in the order of a report."""
    yield from BUILT_IN
    yield from (name for name in plugins.names(GROUP) if name not in BUILT_IN)


def find(name: str) -> Validation:
    """The validation of a name.

    Raises:
        ValueError: If there is none, or the package that registers it cannot be used.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        point = plugins.registered(GROUP, name, "validation")
        try:
            found = point.load()
        except Exception as error:  # a package can fail in any way
            raise ValueError(f"the validation {name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(found, Validation):
        raise ValueError(f"the entry point {name!r} of {GROUP} must name a Validation, got {type(found).__name__}")
    return found
