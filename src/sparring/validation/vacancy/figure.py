"""Figure of formation energies of vacancies."""

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import STYLE, panels
from sparring.validation.bulk_results import draw_with_labels
from sparring.validation.vacancy.compute import VacanciesOfCrystals

__all__ = ["draw_vacancies", "vacancy_figure"]


def vacancy_figure(result: VacanciesOfCrystals) -> Figure:
    """Formation energies of all sites of all crystals."""
    with rc_context(STYLE):
        figure, (ax,) = panels(width=4.2, height=3.2)
        draw_vacancies(result, ax)
    return figure


def draw_vacancies(result: VacanciesOfCrystals, ax: Axes | None = None) -> Axes:
    """Formation energies in eV: means of the committee with σ as bars, labels as circles."""
    ax = ax or panels()[1][0]
    rows = []
    for one in result.crystals:
        for place, site in enumerate(one.sites):
            name = f"{one.formula}, site {site}" if len(one.sites) > 1 else one.formula
            rows.append((name, one.energy[:, place], float(one.label_energy[place])))
    draw_with_labels(rows, ax)
    finite = np.concatenate([[label, *members] for _, members, label in rows])
    if np.nanmin(finite) > 0:
        ax.set_ylim(bottom=0.0)
    ax.set(title="Vacancies", ylabel="formation energy (eV)")
    return ax
