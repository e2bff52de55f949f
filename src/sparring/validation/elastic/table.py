"""Tables of elastic constants: moduli of each committee, and the constants of one crystal."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from sparring.support.tables import Column, Table
from sparring.units import GPA, EnergyUnit
from sparring.validation.base import Published, no_published
from sparring.validation.crystals.showing import columns_of, mean_of, named, number, spread
from sparring.validation.elastic.compute import ElasticConstants

__all__ = ["constants_table", "shown_constants", "table"]

ALIKE = 0.5 * GPA
"""Difference below which constants of the labels, or of the committee, are shown as one."""


def table(
    results: Mapping[str, tuple[ElasticConstants, ...]], unit: EnergyUnit, *, published: Published = no_published
) -> Table:
    """Moduli of a polycrystal and the lowest eigenvalue: mean ± σ of the members, and those of labels; GPa."""
    groups = {"bulk": "bulk modulus (GPa)", "shear": "shear modulus (GPa)", "lowest": "lowest eigenvalue (GPa)"}
    rows = []
    for name, formula, one in named(results):
        cells = [name, formula]
        for key in groups:
            members = np.array([getattr(average, key) for average in one.averages])
            cells += [spread(members, ".1f", GPA), number(getattr(one.label, key), ".1f", GPA)]
        error = np.abs(mean_of(one.constants) - one.label_constants)[np.triu_indices(6)].mean()
        stable = sum(average.lowest > 0 for average in one.averages)
        rows.append((*cells, number(error, ".1f", GPA), f"{stable} of {len(one.constants)}"))
    more = (Column(title="mean error of C", unit="GPa"), Column(title="stable members"))
    return Table(columns=columns_of(tuple(groups.values()), more), rows=tuple(rows))


def constants_table(one: ElasticConstants) -> Table:
    """Constants of a crystal that are not zero, those that are alike in one row; GPa."""
    columns = (
        Column(title=one.about.formula, left=True),
        Column(title="committee", unit="GPa"),
        Column(title="label", unit="GPa"),
        Column(title="error", unit="GPa"),
    )
    rows = []
    for name, members, label in shown_constants(one):
        error = number(float(mean_of(members)) - label, "+.1f", GPA)
        rows.append((name, spread(members, ".1f", GPA), number(label, ".1f", GPA), error))
    return Table(columns=columns, rows=tuple(rows))


def shown_constants(one: ElasticConstants) -> list[tuple[str, Float[np.ndarray, " n_members"], float]]:
    """Names, values of the members and labels of the constants that are not zero; equal ones are averaged.

    Constants are equal where those of the labels (of the committee, where there are none) differ by less than 0.5 GPa.
    """
    mean = mean_of(one.constants)
    reference = one.label_constants if np.isfinite(one.label_constants).all() else mean
    diagonal = [(i, i) for i in range(6)]
    pairs = [*diagonal, *((i, j) for i in range(6) for j in range(i + 1, 6))]
    groups: list[list[tuple[int, int]]] = []
    for pair in pairs:
        if max(abs(reference[pair]), abs(mean[pair])) < 2 * ALIKE:
            continue
        for group in groups:
            first = group[0]
            same_kind = (first[0] == first[1]) == (pair[0] == pair[1]) and (first[1] > 2) == (pair[1] > 2)
            if same_kind and abs(reference[first] - reference[pair]) < ALIKE:
                group.append(pair)
                break
        else:
            groups.append([pair])
    found = []
    for group in groups:
        rows, columns = zip(*group, strict=True)
        names = ", ".join(f"C{i + 1}{j + 1}" for i, j in group)
        members = one.constants[:, list(rows), list(columns)].mean(axis=1)
        found.append((names, members, float(one.label_constants[list(rows), list(columns)].mean())))
    return found
