"""The names that ASE calculators are known by. Only a name of these is ever imported."""

import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from ase.calculators.calculator import get_calculator_class
from ase.calculators.names import names as ase_names

from sparring.support.suggestions import did_you_mean


class Package(NamedTuple):
    """An ASE calculator that its own package provides."""

    module: str
    class_name: str
    # Parameters that do not change a label.
    quiet: Mapping[str, object]


# ASE knows these only once their package has been imported. Others register under the entry-point group.
PACKAGES = {"tblite": Package("tblite.ase", "TBLite", {"verbosity": 0})}


def calculator_class(name: str) -> Any:  # noqa: ANN401 - ASE calculators share no type
    """The class of the calculator of that name, as ASE's registry or the table above has it.

    Raises:
        ValueError: If there is none.
        ModuleNotFoundError: If its package is not installed.
    """
    known = {*ase_names, *PACKAGES}
    if name not in known:
        raise ValueError(
            f"unknown ASE calculator {name!r}{did_you_mean(name, known)}; known: {', '.join(sorted(known))}"
        )
    try:
        if name in PACKAGES:
            return getattr(importlib.import_module(PACKAGES[name].module), PACKAGES[name].class_name)
        return get_calculator_class(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"calculator {name!r} needs a package that is not installed: {error}") from error
