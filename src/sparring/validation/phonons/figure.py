"""Figure of phonons: bands along the path of high symmetry, and density of states."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, FIT, GENERATIONS, INK, STYLE, panels
from sparring.units import THZ
from sparring.validation.phonons.compute import PhononStates, PhononStatesOfCrystals

__all__ = ["draw_bands", "draw_states", "phonon_figure"]

DASHED = (0, (4, 2))


def phonon_figure(result: PhononStatesOfCrystals) -> Figure:
    """A row for each crystal: bands and density of states, with frequencies in THz."""
    with rc_context(STYLE):
        figure, axes = panels(2 * len(result.crystals), n_columns=2, width=4.6, height=3.4)
        for left, right, one in zip(axes[::2], axes[1::2], result.crystals, strict=True):
            draw_bands(one, left)
            draw_states(one, right)
    return figure


def draw_bands(one: PhononStates, ax: Axes | None = None) -> Axes:
    """Frequencies along the path: mean of the committee with σ as bands, labels as dashed lines; below 0: imaginary."""
    ax = ax or panels()[1][0]
    known = one.bands[np.isfinite(one.bands).all(axis=(1, 2))] / THZ
    mean = known.mean(axis=0)
    for mode in range(mean.shape[1]):
        if len(known) > 1:
            sigma = known[..., mode].std(axis=0, ddof=1)
            low, high = mean[:, mode] - sigma, mean[:, mode] + sigma
            ax.fill_between(one.distance, low, high, color=FIT, alpha=0.5, lw=0)
        ax.plot(one.distance, mean[:, mode], color=GENERATIONS[0], lw=1.2)
    if np.isfinite(one.label_bands).all():
        ax.plot(one.distance, one.label_bands / THZ, color=INK, lw=0.9, ls=DASHED)
    ax.axhline(0.0, color=FAINT, lw=0.7)
    names: dict[float, str] = {}
    for name, place in one.ticks:  # two points at one place: the path jumps
        names[place] = f"{names[place]}|{name}" if place in names else name
    ax.set_xticks(list(names), list(names.values()))
    ax.set(title=f"{one.formula}, bands", ylabel="frequency (THz)", xlim=(one.distance[0], one.distance[-1]))
    return ax


def draw_states(one: PhononStates, ax: Axes | None = None) -> Axes:
    """Density of states: mean of the committee with σ as a band, labels as a dashed line."""
    ax = ax or panels()[1][0]
    frequency = one.energies / THZ
    # States of one atom, for each THz.
    known = one.states[np.isfinite(one.states).all(axis=1)] * THZ / one.n_atoms
    mean = known.mean(axis=0)
    if len(known) > 1:
        sigma = known.std(axis=0, ddof=1)
        ax.fill_between(frequency, mean - sigma, mean + sigma, color=FIT, alpha=0.5, lw=0, label="± σ")
    ax.plot(frequency, mean, color=GENERATIONS[0], lw=1.4, label="committee")
    if np.isfinite(one.label_states).all():
        ax.plot(frequency, one.label_states * THZ / one.n_atoms, color=INK, lw=0.9, ls=DASHED, label="label")
    ax.axvline(0.0, color=FAINT, lw=0.7)
    ax.set(title=f"{one.formula}, density of states", xlabel="frequency (THz)", ylabel="states of an atom (1/THz)")
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="best")
    return ax
