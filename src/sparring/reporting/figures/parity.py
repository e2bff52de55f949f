"""Predictions of a committee against labels."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from sparring.plots.style import FAINT, FIT, TEST, panels
from sparring.reporting.data import Predictions
from sparring.reporting.figures.run import MANY, padded
from sparring.units import GPA, KCAL, EnergyUnit

__all__ = ["parity_energy", "parity_forces", "parity_stress"]


def parity_energy(predictions: Predictions, ax: Axes | None = None, *, unit: EnergyUnit = KCAL) -> Axes:
    """Energies of the committee against the labels, in eV above the lowest label; mean absolute errors in `unit`."""
    return _parity(
        predictions.energy,
        predictions.committee_energy,
        predictions.is_test,
        ax,
        quantity="energy above lowest (eV)",
        size=unit.size,
        unit_name=unit.name,
    )


def parity_forces(predictions: Predictions, ax: Axes | None = None, *, unit: EnergyUnit = KCAL) -> Axes:
    """Force components of the committee against the labels, in eV/Å; mean absolute errors in `unit` per Å."""
    return _parity(
        predictions.forces,
        predictions.committee_forces,
        predictions.is_test_component,
        ax,
        quantity="force component (eV/Å)",
        size=unit.size,
        unit_name=f"{unit.name}/Å",
    )


def parity_stress(predictions: Predictions, ax: Axes | None = None) -> Axes:
    """Components of stresses of the committee against the labels, in GPa, six of each structure."""
    return _parity(
        predictions.stress / GPA,
        predictions.committee_stress / GPA,
        predictions.is_test_stress,
        ax,
        quantity="stress component (GPa)",
        size=1.0,
        unit_name="GPa",
    )


def _parity(
    label: Float[np.ndarray, " n"],
    committee: Float[np.ndarray, " n"],
    is_test: Bool[np.ndarray, " n"],
    ax: Axes | None,
    *,
    quantity: str,
    size: float,
    unit_name: str,
) -> Axes:
    ax = ax or panels(height=4.0)[1][0]
    low, high = padded(np.concatenate([label, committee]))
    ax.axline((0.0, 0.0), slope=1.0, color=FAINT, lw=0.8, zorder=1)
    for name, rows, colour in (("fit", ~is_test, FIT), ("test", is_test, TEST)):
        if rows.any():
            mae = np.abs(committee - label)[rows].mean() / size
            marks = {"s": 14, "color": colour, "lw": 0.4, "edgecolors": "white", "rasterized": rows.sum() > MANY}
            ax.scatter(label[rows], committee[rows], label=f"{name}: MAE {mae:.3g} {unit_name}", zorder=2, **marks)
    ax.set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set(xlabel=f"label: {quantity}", ylabel=f"committee: {quantity}")
    ax.legend(loc="upper left", handletextpad=0.1)
    return ax
