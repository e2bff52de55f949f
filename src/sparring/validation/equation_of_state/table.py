"""Table of equations of state: a row for each crystal of each committee."""

from collections.abc import Mapping

from sparring.support.tables import Column, Table
from sparring.units import EV, GPA, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.bulk_results import named, number, spread
from sparring.validation.equation_of_state.compute import EquationsOfState

__all__ = ["state_table"]

VOLUME, ENERGY, MODULUS = ("volume", ".3f"), ("energy", ".4f"), ("bulk_modulus", ".1f")


def state_table(
    results: Mapping[str, EquationsOfState], unit: EnergyUnit = EV, *, published: Published = no_published
) -> Table:
    """Volume and energy of an atom at the minimum, and bulk modulus: mean ± σ of the members, and those of labels."""
    groups = ("volume of an atom (Å³)", "energy of an atom (eV)", "bulk modulus (GPa)")
    columns = [Column(title="", left=True), Column(title="crystal", left=True)]
    columns += [Column(title=title, group=group) for group in groups for title in ("committee", "label")]
    rows = []
    for name, formula, one in named(results):
        sizes = (one.n_atoms, one.n_atoms, GPA)
        cells = [name, formula]
        for (key, form), size in zip((VOLUME, ENERGY, MODULUS), sizes, strict=True):
            cells += [spread(one.of_members(key), form, size), number(getattr(one.label, key), form, size)]
        rows.append(tuple(cells))
    return Table(columns=tuple(columns), rows=tuple(rows))
