"""Figure of phonons: bands along the path of high symmetry, and density of states."""

from collections.abc import Sequence

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, STYLE, panels
from sparring.units import THZ
from sparring.validation.crystals.showing import band_with_label
from sparring.validation.phonons.compute import PhononStates

__all__ = ["draw_bands", "draw_states", "figure"]


def figure(found: Sequence[PhononStates]) -> Figure:
    """A row for each crystal: bands and density of states, with frequencies in THz."""
    with rc_context(STYLE):
        drawn, axes = panels(2 * len(found), n_columns=2, width=4.6, height=3.4)
        for left, right, one in zip(axes[::2], axes[1::2], found, strict=True):
            draw_bands(one, left)
            draw_states(one, right)
    return drawn


def draw_bands(one: PhononStates, ax: Axes | None = None) -> Axes:
    """Frequencies along the path: mean of the committee with σ as bands, labels as dashed lines; below 0: imaginary."""
    ax = ax or panels()[1][0]
    for mode in range(one.label_bands.shape[1]):
        members, label = one.bands[..., mode] / THZ, one.label_bands[:, mode] / THZ
        band_with_label(one.distance, members, label, ax, names=(None, None, None))
    ax.axhline(0.0, color=FAINT, lw=0.7)
    names: dict[float, str] = {}
    for name, place in one.ticks:  # two points at one place: the path jumps
        names[place] = f"{names[place]}|{name}" if place in names else name
    ax.set_xticks(list(names), list(names.values()))
    ax.set(title=f"{one.about.formula}, bands", ylabel="frequency (THz)", xlim=(one.distance[0], one.distance[-1]))
    return ax


def draw_states(one: PhononStates, ax: Axes | None = None) -> Axes:
    """Density of states of an atom: mean of the committee with σ as a band, labels as a dashed line."""
    ax = ax or panels()[1][0]
    size = THZ / one.about.n_atoms
    band_with_label(one.energies / THZ, one.states * size, one.label_states * size, ax)
    ax.axvline(0.0, color=FAINT, lw=0.7)
    title = f"{one.about.formula}, density of states"
    ax.set(title=title, xlabel="frequency (THz)", ylabel="states of an atom (1/THz)")
    ax.set_ylim(bottom=0.0)
    ax.legend(loc="best")
    return ax
