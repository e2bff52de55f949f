"""Figure of formation energies of vacancies."""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import STYLE, panels
from sparring.validation.crystals.showing import bars_with_labels
from sparring.validation.vacancy.compute import Vacancies

__all__ = ["draw_vacancies", "figure", "sites_of"]


def figure(found: Sequence[Vacancies]) -> Figure:
    """Formation energies of all sites of all crystals."""
    with rc_context(STYLE):
        drawn, (ax,) = panels(width=4.2, height=3.2)
        draw_vacancies(found, ax)
    return drawn


def draw_vacancies(found: Sequence[Vacancies], ax: Axes | None = None) -> Axes:
    """Formation energies in eV: means of the committee with σ as bars, labels as circles."""
    ax = ax or panels()[1][0]
    bars_with_labels([(name, members, label) for _, name, members, label in sites_of(found)], ax)
    if ax.get_ylim()[0] > 0:
        ax.set_ylim(bottom=0.0)
    ax.set(title="Vacancies", ylabel="formation energy (eV)")
    return ax


def sites_of(found: Sequence[Vacancies]) -> Iterator[tuple[int, str, Float[np.ndarray, " n_members"], float]]:
    """Number of atoms of the supercell, name, energies of the members and that of the labels for each site."""
    for one in found:
        for place, site in enumerate(one.sites):
            name = f"{one.about.formula}, site {site}" if len(one.sites) > 1 else one.about.formula
            yield one.n_atoms, name, one.energy[:, place], float(one.label_energy[place])
