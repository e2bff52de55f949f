"""A validation that another package brings: one file, and one line of entry points."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import typer
from matplotlib.figure import Figure

from sparring.committee_files import read_committee
from sparring.evaluation import predict_structures
from sparring.support.tables import Column, Table
from sparring.units import EnergyUnit, unit_of
from sparring.validation.arguments import CommitteeFolder, write_results
from sparring.validation.base import Published, ReportFigure, Validation, no_published
from sparring.validation.errors.test_sets import data_of_generation
from sparring.validation.results import each_generation


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Standard deviation of the energies between members, averaged over the test split."""

    n_structures: int
    energy_sigma: float


def spread(folder: Path) -> Spread:
    """The spread of a committee on the test split of its generation."""
    dataset = data_of_generation(folder).dataset
    predictions = predict_structures(read_committee(folder), dataset.structures)
    return Spread(n_structures=len(dataset), energy_sigma=float((predictions.energy_variance**0.5).mean()))


def spread_table(results: Mapping[str, Spread], unit: EnergyUnit, *, published: Published = no_published) -> Table:
    """A row for each committee."""
    sigma = Column(title="mean σ_E", unit=unit.name, format="{:.5f}", size=unit.size)
    rows = tuple((name, one.n_structures, one.energy_sigma) for name, one in results.items())
    return Table(columns=(Column(title="", left=True), Column(title="n"), sigma), rows=rows)


def spread_figure(results: Mapping[str, Spread], unit: EnergyUnit) -> Figure:
    """A bar for each committee."""
    figure = Figure(figsize=(4.0, 3.0))
    figure.add_subplot().bar(list(results), [one.energy_sigma / unit.size for one in results.values()])
    return figure


def figures(results: Mapping[str, Spread], unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """The figure with its words."""
    caption = "Standard deviation between the members on the test split."
    return (ReportFigure(name="spread", title="Spread", caption=caption, figure=spread_figure(results, unit)),)


def command(committee: CommitteeFolder) -> None:
    """Spread of the energies between the members of a committee."""
    result = spread(committee)
    unit = unit_of(data_of_generation(committee).dataset.structures.atomic_numbers.numpy())
    typer.echo(spread_table({committee.name: result}, unit).text())
    typer.echo(write_results(committee / "validation", "spread", result, spread_figure({"committee": result}, unit)))


validation = Validation(
    name="spread",
    title="Spread of energies",
    compute=spread,
    command=command,
    read=each_generation("spread", Spread),
    table=spread_table,
    figures=figures,
)
