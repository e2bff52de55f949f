"""Numbers of a run as text for a terminal."""

from collections.abc import Mapping
from typing import Any

from sparring.units import KCAL_PER_MOL
from sparring.validation.errors import Errors

__all__ = ["GenerationTable", "errors_table"]


class GenerationTable:
    """One row a generation, with the heading above the first; energies in kcal/mol, except for wells, in eV."""

    def __init__(self) -> None:
        self._headed = False

    def row(self, metrics: Mapping[str, Any]) -> str:
        """The row of a generation, from its ``metrics.json``."""
        columns = _columns(metrics)
        width = {name: max(len(name), len(value)) for name, value in columns.items()}
        line = "  ".join(value.rjust(width[name]) for name, value in columns.items())
        if self._headed:
            return line
        self._headed = True
        return "  ".join(name.rjust(width[name]) for name in columns) + "\n" + line


def _columns(metrics: Mapping[str, Any]) -> dict[str, str]:
    test, system = metrics["errors"]["test"], metrics["system"]
    is_well = "grid_rmse" in system
    unit, scale = ("eV", 1.0) if is_well else ("kcal/mol", 1 / KCAL_PER_MOL)
    attack, labels = metrics.get("attack", {}), metrics.get("labels", {})
    stopped = attack.get("n_not_finite", 0) + attack.get("n_overlap", 0)
    columns = {
        "generation": str(metrics["generation"]),
        "structures": str(metrics["n_structures"]),
        f"test MAE {unit}": f"{test['energy_mae'] * scale:.3f}",
        f"{unit}/Å": f"{test['force_mae'] * scale:.3f}",
    }
    if is_well:
        columns["grid RMSE eV"] = f"{system['grid_rmse']:.3f}"
    if "barrier_reference" in system:
        columns["barrier kcal/mol"] = _energy(system["barrier"])
        columns["DFT"] = _energy(system["barrier_reference"])
        columns["error"] = _energy(system["barrier_error"], sign="+")
    columns |= {
        "attacks": str(attack.get("n_seeds", "-")),
        "stopped": str(stopped) if attack else "-",
        "chosen": str(labels.get("n_chosen", "-")),
        "labelled": str(labels["n_chosen"] - labels["n_failed"]) if labels else "-",
        "computed": str(labels.get("n_computed", "-")),
        "failed": str(labels.get("n_failed", "-")),
    }
    return columns


def _energy(energy: float | None, sign: str = "") -> str:
    return "none" if energy is None else f"{energy / KCAL_PER_MOL:{sign}.2f}"


def errors_table(errors: Errors) -> str:
    """Errors in both units."""
    rows = [
        ("energy MAE", errors.energy_mae, "eV", "kcal/mol"),
        ("energy RMSE", errors.energy_rmse, "eV", "kcal/mol"),
        ("force MAE", errors.force_mae, "eV/Å", "kcal/mol/Å"),
        ("force RMSE", errors.force_rmse, "eV/Å", "kcal/mol/Å"),
    ]
    lines = [
        f"{name:<12}{value:12.5f} {unit:<6}{value / KCAL_PER_MOL:12.4f} {other}" for name, value, unit, other in rows
    ]
    return "\n".join([f"{errors.n_structures} structures", *lines])
