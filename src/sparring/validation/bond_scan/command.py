"""``sparring validate bonds``."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.validation.arguments import (
    CommitteeFolder,
    Device,
    Output,
    ResourcesFile,
    progress_bars,
    use_threads,
    write_results,
)

__all__ = ["bonds"]

Start = Annotated[
    Path | None,
    typer.Argument(help="Structure near a minimum, extended XYZ [default: the lowest energy of the committee's data]."),
]
Labels = Annotated[int, typer.Option(help="Largest number of labels by the run's labeller; 0 for none.")]
Tolerance = Annotated[str, typer.Option(help="Smallest fall, depth or error of the energy that is flagged.")]
Sigmas = Annotated[float, typer.Option(help="Number of standard deviations that an error may have.")]


def bonds(
    committee: CommitteeFolder,
    start: Start = None,
    labels: Labels = 100,
    tolerance: Tolerance = "0.2 eV",
    sigmas: Sigmas = 3.0,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """Scan each bond and angle from 0.7 to 1.4 of its length, and flag holes without any dynamics.

    A hole is a fall of the energy behind a wall or below that of the start by more than the tolerance, or an energy in
    reach of dynamics that is below the label by more than the tolerance and a number of σ.
    """
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on
    from sparring.units import quantity, unit_of
    from sparring.validation.bond_scan.compute import scan_bonds
    from sparring.validation.bond_scan.figure import bonds_figure
    from sparring.validation.bond_scan.section import summary
    from sparring.validation.bond_scan.table import flag_table
    from sparring.validation.run_labels import label_service_of_run
    from sparring.validation.run_system import start_of, system_of

    use_threads()
    members, atoms = committee_on(read_committee(committee), device), start_of(committee, start)
    system = system_of(committee)
    service, unlabelled = label_service_of_run(committee, progress_bars()) if labels else (None, "")
    result, flagged = scan_bonds(
        members,
        atoms,
        bonds=None if system is None or atoms.pbc.any() else system.bonds,
        label=None if service is None else service.label,
        n_labels=labels,
        tolerance=quantity(tolerance, "energy"),
        n_sigma=sigmas,
    )
    unit = unit_of(atoms.numbers)
    typer.echo(summary(result))
    if result.found:
        typer.echo(flag_table(result, unit).text())
    if unlabelled:
        typer.echo(f"scans have no labels: {unlabelled}", err=True)
    figure = bonds_figure(result, unit=unit)
    typer.echo(write_results(output or committee / "validation", "bonds", result, figure, flagged))
