"""``sparring validate phonons``."""

from typing import Annotated

import typer

from sparring.validation.arguments import CommitteeFolder, Device, Output
from sparring.validation.bulk_arguments import CrystalLabels, Crystals, Length

__all__ = ["phonons"]

Displacement = Annotated[str, typer.Option(help="Displacement of the atoms in the finite differences.")]


def phonons(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    length: Length = "10 Å",
    displacement: Displacement = "0.01 Å",
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
) -> None:
    """Phonon density of states and bands of crystals by finite displacements, beside those of the labels.

    Imaginary modes are named. The same command resumes an interrupted one: labels are kept in the store of the run.
    """
    from sparring.units import quantity
    from sparring.validation.bulk_results import answered
    from sparring.validation.phonons.compute import phonons_of
    from sparring.validation.phonons.figure import phonon_figure
    from sparring.validation.phonons.table import imaginary_modes, phonon_table

    result = answered(
        committee,
        "phonons",
        phonons_of,
        phonon_table,
        phonon_figure,
        file=crystals,
        labels=labels,
        output=output,
        device=device,
        length=quantity(length, "length"),
        displacement=quantity(displacement, "length"),
    )
    for line in imaginary_modes({committee.name: result}):
        typer.echo(line)
