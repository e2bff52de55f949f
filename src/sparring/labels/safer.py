"""Settings with which codes behind ASE converge more slowly and more safely, to the same result.

Functional, basis, grid, smearing and thresholds stay as they are; only the way to the converged density changes.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["NOT_CONVERGED", "printed_no_convergence", "safer_settings"]

NOT_CONVERGED = {
    "gaussian": "Convergence failure -- run terminated",
    "orca": "SCF NOT CONVERGED",
}
"""Text that codes print if an SCF does not converge, where ASE raises an error that does not say so."""
LARGEST = 4_000_000
"""Bytes of the end of an output that are looked through."""


def safer_settings(name: str, parameters: Mapping[str, object]) -> dict[str, object]:
    """Parameters of an ASE calculator to change for a second attempt; none where there is nothing to change.

    Args:
        name: Name of the calculator.
        parameters: Parameters of the first attempt.
    """
    make = _SETTINGS.get(name)
    return {} if make is None else make(parameters)


def printed_no_convergence(name: str, folder: Path) -> bool:
    """True if an output in a folder says that the SCF has not converged."""
    phrase = NOT_CONVERGED.get(name)
    if phrase is None:
        return False
    for file in sorted(folder.glob("*.out")) + sorted(folder.glob("*.log")):
        try:
            with file.open("rb") as stream:
                stream.seek(max(0, stream.seek(0, 2) - LARGEST))
                if phrase.encode() in stream.read():
                    return True
        except OSError:
            continue
    return False


def _tblite(parameters: Mapping[str, object]) -> dict[str, object]:
    # The electronic temperature, which would help too, changes the energy.
    return {
        "max_iterations": 4 * _integer(parameters.get("max_iterations"), 250),
        "mixer_damping": 0.25 * _number(parameters.get("mixer_damping"), 0.4),
    }


def _orca(parameters: Mapping[str, object]) -> dict[str, object]:
    simple, blocks = str(parameters.get("orcasimpleinput", "")), str(parameters.get("orcablocks", ""))
    if re.search(r"\b(very)?slowconv\b", simple, re.IGNORECASE):
        return {}
    settings: dict[str, object] = {"orcasimpleinput": f"{simple} SlowConv".strip()}
    if not re.search(r"%\s*scf\b", blocks, re.IGNORECASE):
        settings["orcablocks"] = f"{blocks}\n%scf MaxIter 500 end".strip()
    return settings


def _gaussian(parameters: Mapping[str, object]) -> dict[str, object]:
    return {} if any(name.lower() == "scf" for name in parameters) else {"scf": "xqc"}


def _vasp(parameters: Mapping[str, object]) -> dict[str, object]:
    if str(parameters.get("algo", "")).lower() in ("a", "all", "d", "damped"):
        return {}
    return {"algo": "All", "nelm": 4 * _integer(parameters.get("nelm"), 60)}


def _integer(value: object, default: int) -> int:
    return int(value) if isinstance(value, int) and value > 0 else default


def _number(value: object, default: float) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else default


_SETTINGS: dict[str, Callable[[Mapping[str, object]], dict[str, object]]] = {
    "gaussian": _gaussian,
    "orca": _orca,
    "tblite": _tblite,
    "vasp": _vasp,
}
