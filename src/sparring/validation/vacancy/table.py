"""Table of vacancies: a row for each site of each crystal of each committee."""

from collections.abc import Mapping

import numpy as np

from sparring.support.tables import Column, Table
from sparring.units import EV, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.bulk_results import named, number, spread
from sparring.validation.vacancy.compute import VacanciesOfCrystals

__all__ = ["vacancy_table"]


def vacancy_table(
    results: Mapping[str, VacanciesOfCrystals], unit: EnergyUnit = EV, *, published: Published = no_published
) -> Table:
    """Formation energies: mean ± σ of the members, those of labels, and the error."""
    columns = (
        Column(title="", left=True),
        Column(title="vacancy", left=True),
        Column(title="atoms"),
        Column(title="committee", unit="eV"),
        Column(title="label", unit="eV"),
        Column(title="error", unit="eV"),
    )
    rows = []
    for name, formula, one in named(results):
        for place, site in enumerate(one.sites):
            members, label = one.energy[:, place], float(one.label_energy[place])
            what = f"{formula}, site {site}" if len(one.sites) > 1 else formula
            error = number(float(np.nanmean(members)) - label, "+.3f")
            rows.append((name, what, one.n_atoms, spread(members, ".3f"), number(label, ".3f"), error))
    return Table(columns=columns, rows=tuple(rows))
