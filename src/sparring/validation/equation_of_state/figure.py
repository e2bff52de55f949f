"""Figure of equations of state: energy against volume."""

from collections.abc import Sequence

import numpy as np
from ase.eos import birchmurnaghan
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import INK, panels
from sparring.units import GPA
from sparring.validation.crystals.showing import DASHED, band_with_label, number, panel_of_each, spread
from sparring.validation.equation_of_state.compute import EquationOfState

__all__ = ["draw_state", "figure"]


def figure(found: Sequence[EquationOfState]) -> Figure:
    """A panel for each crystal."""
    return panel_of_each(found, draw_state, width=5.0, height=3.6)


def draw_state(one: EquationOfState, ax: Axes | None = None) -> Axes:
    """Energy of an atom against its volume: mean of the committee with σ as a band, labels as circles and their fit.

    Energies are above the lowest label, or above the lowest one of the members where there is no label.
    """
    ax = ax or panels()[1][0]
    has_label, n_atoms = np.isfinite(one.label_energy).any(), one.about.n_atoms
    lowest = np.nanmin(one.label_energy if has_label else one.energy)
    names = (
        f"committee: B = {spread(one.of_members('bulk_modulus'), '.0f', GPA)} GPa",
        "± σ",
        f"label: B = {number(one.label.bulk_modulus, '.0f', GPA)} GPa",
    )
    circles = {"ls": "none", "marker": "o", "ms": 4.5, "mfc": "white", "mec": INK, "mew": 1.0}
    members, label = ((energy - lowest) / n_atoms for energy in (one.energy, one.label_energy))
    band_with_label(one.volumes / n_atoms, members, label, ax, names=names, **circles)
    if np.isfinite(one.label.volume):
        fine, fit = np.linspace(one.volumes[0], one.volumes[-1], 200), one.label
        curve = np.asarray(birchmurnaghan(fine, fit.energy, fit.bulk_modulus, fit.derivative, fit.volume))
        ax.plot(fine / n_atoms, (curve - lowest) / n_atoms, color=INK, lw=0.8, ls=DASHED)
    ax.set(title=one.about.formula, xlabel="volume of an atom (Å³)", ylabel="energy of an atom (eV)")
    ax.legend(loc="best")
    return ax
