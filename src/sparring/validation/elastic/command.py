"""``sparring validate elastic``."""

from typing import Annotated

import typer

from sparring.validation.arguments import CommitteeFolder, Device, Output
from sparring.validation.bulk_arguments import CrystalLabels, Crystals

__all__ = ["elastic"]

Strain = Annotated[float, typer.Option(help="Strain of the finite differences.")]


def elastic(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    strain: Strain = 0.005,
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
) -> None:
    """All elastic constants of crystals with relaxed atoms, bulk and shear modulus and stability, beside the labels'.

    Cells are relaxed on the surface of each member and of the labels. The same command resumes an interrupted one:
    labels are kept in the store of the run.
    """
    from sparring.validation.bulk_results import answered
    from sparring.validation.elastic.compute import elastic_of
    from sparring.validation.elastic.figure import elastic_figure
    from sparring.validation.elastic.table import constants_table, elastic_table

    result = answered(
        committee,
        "elastic",
        elastic_of,
        elastic_table,
        elastic_figure,
        file=crystals,
        labels=labels,
        output=output,
        device=device,
        strain=strain,
    )
    for one in result.crystals:
        typer.echo(constants_table(one).text())
