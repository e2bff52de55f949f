"""Programs behind ASE's calculators: where ASE looks for them, and names that no configuration can make work."""

import os
import shlex
import shutil
from typing import Any

from ase.calculators.calculator import FileIOCalculator
from ase.calculators.genericfileio import GenericFileIOCalculator
from ase.config import cfg

__all__ = ["require_program", "unusable"]

_WHERE = "~/.config/ase/config.ini"
_UNUSABLE = {
    "exciting": "its class takes a runner, which is a Python object",
    "plumed": "it is a bias on top of another calculator, which is a Python object",
    "tersoff": "its parameters are Python objects",
}
_VARIABLES = {
    "castep": ("CASTEP_COMMAND",),
    "cp2k": ("ASE_CP2K_COMMAND",),
    "demon": ("ASE_DEMON_COMMAND",),
    "dftb": ("DFTB_COMMAND", "ASE_DFTB_COMMAND"),
    "dmol": ("DMOL_COMMAND", "ASE_DMOL_COMMAND"),
    "gamess_us": ("ASE_GAMESSUS_COMMAND", "ASE_GAMESS_US_COMMAND"),
    "lammpsrun": ("ASE_LAMMPSRUN_COMMAND",),
    "openmx": ("OPENMX_COMMAND", "ASE_OPENMX_COMMAND"),
    "vasp": ("ASE_VASP_COMMAND", "VASP_COMMAND", "VASP_SCRIPT"),
}
"""Environment variables with another name than that of the calculator, or of classes that read them themselves."""
_FALLBACKS = {
    "amber": "sander",
    "castep": "castep",
    "cp2k": None,
    "dftb": "dftb+",
    "dftd3": "dftd3",
    "lammpsrun": "lammps",
    "turbomole": "dscf",
    "vasp": None,
}
"""Default commands of calculators whose class has none; None if there is none."""


def unusable(name: str) -> None:
    """Refuse a calculator that needs Python objects, which a configuration does not have.

    Raises:
        ValueError: If it is one of these.
    """
    if name in _UNUSABLE:
        raise ValueError(
            f"the ASE calculator {name!r} cannot be made from a configuration: {_UNUSABLE[name]}; write a plugin "
            "(entry-point group sparring.labellers), or use another calculator"
        )


def require_program(name: str, found: Any) -> None:  # noqa: ANN401 - ASE calculators share no type
    """Refuse a calculator whose program ASE does not know, or cannot find.

    Args:
        name: The calculator's name.
        found: Its class.

    Raises:
        ValueError: If there is no command, or its program is not there.
    """
    generic = isinstance(found, type) and issubclass(found, GenericFileIOCalculator)
    by_file = isinstance(found, type) and issubclass(found, FileIOCalculator)
    if not (generic or by_file or name in _FALLBACKS):
        return
    command, origin = _configured(name, generic), ""
    if command is None and not generic:
        default = _FALLBACKS[name] if name in _FALLBACKS else getattr(found, "_legacy_default_command", None)
        command, origin = default, " (its default)"
    advice = f"add [{name}] command = ... to {_WHERE}"
    if not generic:
        advice += f", or set {' or '.join(_variables(name))} in the environment"
    if command is None:
        raise ValueError(f"ASE finds no executable for {name!r}; {advice}")
    program = _program(command)
    if program is not None and shutil.which(program) is None:
        raise ValueError(f"ASE would run {program!r}{origin} for {name!r}, which is not there; {advice}")


def _variables(name: str) -> tuple[str, ...]:
    return _VARIABLES.get(name, (f"ASE_{name.upper()}_COMMAND",))


def _configured(name: str, generic: bool) -> str | None:
    """The command in the user's configuration of ASE or in the environment."""
    parser = cfg.parser
    for variable in () if generic else _variables(name):
        if parser.has_section("environment") and variable in parser["environment"]:
            return str(parser["environment"][variable])
        if variable in os.environ:
            return os.environ[variable]
    if parser.has_section(name):
        section = parser[name]
        found = section.get("command") or section.get("binary") or section.get("abinit_command")
        return None if found is None else str(found)
    return None


def _program(command: str) -> str | None:
    """The program of a command line, where that is plain to see."""
    try:
        words = shlex.split(command)
    except ValueError:
        return None
    while words and "=" in words[0]:
        words = words[1:]
    if not words or any(sign in command for sign in ";&|`$("):
        return None
    return words[0]
