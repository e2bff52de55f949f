"""The section of a report about elastic constants."""

from collections.abc import Mapping, Sequence

from sparring.support.tables import Table
from sparring.units import EnergyUnit
from sparring.validation.base import ReportedRun, ReportFigure
from sparring.validation.bulk_results import notes_of
from sparring.validation.elastic.compute import ElasticConstantsOfCrystals
from sparring.validation.elastic.figure import elastic_figure
from sparring.validation.elastic.table import constants_table
from sparring.validation.results import Results, each_generation

__all__ = ["figures", "more_tables", "notes", "read"]


def read(files: Results) -> Mapping[str, ElasticConstantsOfCrystals] | None:
    """The elastic constants of each committee."""
    return each_generation("elastic", ElasticConstantsOfCrystals)(files)


def figures(results: Mapping[str, ElasticConstantsOfCrystals], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Constants of the newest committee."""
    name, newest = list(results.items())[-1]
    caption = (
        "Elastic constants with relaxed atoms, and bulk (K) and shear modulus (G) of a polycrystal: means of the "
        "committee with the standard deviation σ of its members, and labels as circles. Of constants that are alike, "
        "the mean is shown under the name of the first."
    )
    figure = elastic_figure(newest)
    return (ReportFigure(name="elastic", title=f"Elastic constants, {name}", caption=caption, figure=figure),)


def more_tables(results: Mapping[str, ElasticConstantsOfCrystals], unit: EnergyUnit) -> tuple[tuple[str, Table], ...]:
    """Constants of each crystal of the newest committee."""
    name, newest = list(results.items())[-1]
    return tuple((f"Constants of {one.formula}, {name}", constants_table(one)) for one in newest.crystals)


def notes(results: Mapping[str, ElasticConstantsOfCrystals], run: ReportedRun) -> Sequence[str]:
    """Definitions, labels and what is missing."""
    definitions = (
        "Each member has its own relaxed cell; ± is the standard deviation between members. Moduli by Voigt, Reuss and "
        "Hill; a crystal is stable where the lowest eigenvalue is above zero. The mean error is that of all 21 "
        "constants against the labels."
    )
    return (definitions, *notes_of(results))
