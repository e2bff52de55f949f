"""Figure of equations of state: energy against volume."""

import numpy as np
from ase.eos import birchmurnaghan
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FIT, GENERATIONS, INK, STYLE, panels
from sparring.units import GPA
from sparring.validation.bulk_results import number, spread
from sparring.validation.equation_of_state.compute import BirchMurnaghan, EquationOfState, EquationsOfState

__all__ = ["draw_state", "state_figure"]


def state_figure(result: EquationsOfState) -> Figure:
    """A panel for each crystal."""
    with rc_context(STYLE):
        figure, axes = panels(len(result.crystals), width=5.0, height=3.6)
        for ax, one in zip(axes, result.crystals, strict=True):
            draw_state(one, ax)
    return figure


def draw_state(one: EquationOfState, ax: Axes | None = None) -> Axes:
    """Energy of an atom against its volume: mean of the committee with σ as a band, labels as circles, fits as lines.

    Energies are above the lowest label, or above the lowest mean where there is no label.
    """
    ax = ax or panels()[1][0]
    volumes = one.volumes / one.n_atoms
    known = one.energy[np.isfinite(one.energy).all(axis=1)]
    mean = known.mean(axis=0) if len(known) else np.full(len(volumes), np.nan)
    labelled = one.label_energy[np.isfinite(one.label_energy)]
    lowest = labelled.min() if len(labelled) else np.nanmin(mean)

    def shown(energy: np.ndarray) -> np.ndarray:
        above: np.ndarray = (energy - lowest) / one.n_atoms
        return above

    words = f"committee: B = {spread(one.of_members('bulk_modulus'), '.0f', GPA)} GPa"
    if len(known) > 1:
        sigma = known.std(axis=0, ddof=1)
        ax.fill_between(volumes, shown(mean - sigma), shown(mean + sigma), color=FIT, alpha=0.5, lw=0, label="± σ")
    ax.plot(volumes, shown(mean), "-", color=GENERATIONS[0], lw=1.4, label=words)
    if len(labelled):
        words = f"label: B = {number(one.label.bulk_modulus, '.0f', GPA)} GPa"
        ax.plot(volumes, shown(one.label_energy), "o", ms=4.5, mfc="white", mec=INK, mew=1.0, label=words)
        if np.isfinite(one.label.volume):
            fine = np.linspace(one.volumes[0], one.volumes[-1], 200)
            ax.plot(fine / one.n_atoms, shown(_curve(one.label, fine)), color=INK, lw=0.8, ls=(0, (4, 2)))
    ax.set(title=one.formula, xlabel="volume of an atom (Å³)", ylabel="energy of an atom (eV)")
    ax.legend(loc="best")
    return ax


def _curve(fit: BirchMurnaghan, volumes: np.ndarray) -> np.ndarray:
    return np.asarray(birchmurnaghan(volumes, fit.energy, fit.bulk_modulus, fit.derivative, fit.volume))
