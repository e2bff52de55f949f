"""``sparring validate equation-of-state``."""

from typing import Annotated

import typer

from sparring.validation.arguments import CommitteeFolder, Device, Output, ResourcesFile
from sparring.validation.crystals.arguments import CrystalLabels, Crystals

__all__ = ["equation_of_state"]

Range = Annotated[float, typer.Option(help="Largest change of the volume, as a part of it.")]
Points = Annotated[int, typer.Option(help="Number of volumes.")]


def equation_of_state(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    volume_range: Range = 0.1,
    points: Points = 11,
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """Energy of crystals against their volume, with equilibrium volume and bulk modulus, beside those of labels.

    The same command resumes an interrupted one: labels are kept in the store of the run.
    """
    from sparring.validation.crystals.results import answered
    from sparring.validation.equation_of_state import compute
    from sparring.validation.equation_of_state.figure import figure
    from sparring.validation.equation_of_state.section import table

    answered(
        committee,
        "equation_of_state",
        compute.equation_of_state,
        table,
        figure,
        file=crystals,
        n_labels=labels,
        output=output,
        device=device,
        volume_range=volume_range,
        n_points=points,
    )
