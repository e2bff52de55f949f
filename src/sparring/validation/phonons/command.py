"""``sparring validate phonons``."""

import typer

from sparring.validation.arguments import CommitteeFolder, Device, Output, ResourcesFile
from sparring.validation.crystals.arguments import CrystalLabels, Crystals, Length

__all__ = ["phonons"]


def phonons(
    committee: CommitteeFolder,
    crystals: Crystals = None,
    length: Length = "10 Å",
    labels: CrystalLabels = 100,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """Phonon density of states and bands of crystals by finite displacements, beside those of the labels.

    Imaginary modes are named. The same command resumes an interrupted one: labels are kept in the store of the run.
    """
    from sparring.units import quantity
    from sparring.validation.crystals.results import answered
    from sparring.validation.phonons import compute
    from sparring.validation.phonons.figure import figure
    from sparring.validation.phonons.section import imaginary_modes, table

    found = answered(
        committee,
        "phonons",
        compute.phonons,
        table,
        figure,
        file=crystals,
        n_labels=labels,
        output=output,
        device=device,
        length=quantity(length, "length"),
    )
    for line in imaginary_modes({committee.name: found}):
        typer.echo(line)
