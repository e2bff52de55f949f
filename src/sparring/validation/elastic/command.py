"""``sparring validate elastic``."""

from typing import Annotated

import typer

from sparring.validation.arguments import CommitteeFolder, Device, Output, ResourcesFile
from sparring.validation.crystals.arguments import CrystalLabels, Crystals

__all__ = ["elastic"]

Strain = Annotated[float, typer.Option(help="Strain of the finite differences.")]


def elastic(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    strain: Strain = 0.005,
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """All elastic constants of crystals with relaxed atoms, bulk and shear modulus and stability, beside the labels'.

    Cells are relaxed on the surface of each member and of the labels. The same command resumes an interrupted one:
    labels are kept in the store of the run.
    """
    from sparring.validation.crystals.results import answered
    from sparring.validation.elastic import compute
    from sparring.validation.elastic.figure import figure
    from sparring.validation.elastic.table import constants_table, table

    found = answered(
        committee,
        "elastic",
        compute.elastic,
        table,
        figure,
        file=crystals,
        n_labels=labels,
        output=output,
        device=device,
        strain=strain,
    )
    for one in found:
        typer.echo(constants_table(one).text())
