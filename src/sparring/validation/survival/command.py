"""``sparring validate survival``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["survival"]

Start = Annotated[
    Path | None,
    typer.Argument(help="Start of all copies, extended XYZ [default: the lowest energy of the committee's data]."),
]
Temperatures = Annotated[
    list[str] | None,
    typer.Option(help="One or more, e.g. 300K,500K; may be repeated [default: 300K; ammonia: 500K to 1000K]."),
]
Copies = Annotated[int | None, typer.Option(help="Number of copies at each temperature [default: 20; ammonia: 100].")]
Time = Annotated[str | None, typer.Option(help="Length of each trajectory [default: 30 ps; ammonia: 5 ps].")]
Timestep = Annotated[str, typer.Option(help="Time step.")]
Windows = Annotated[
    list[str] | None,
    typer.Option(
        help="Allowed distances between two elements or two atoms: H,H,0.80,2.55 or 0,1,0.9,inf; may be repeated."
    ),
]
Bonds = Annotated[str | None, typer.Option(help="Allowed lengths of bonds, relative to those in the start: 0.6,1.6.")]
MinDistance = Annotated[str | None, typer.Option(help="Smallest allowed distance between any two atoms.")]
EnergyBelow = Annotated[
    str | None,
    typer.Option(help="Largest allowed energy below the committee's own minimum, e.g. 1 meV."),
]
Thermostat = Annotated[str, typer.Option(help="Ensemble: nose_hoover, langevin, nve, npt or npt_cell.")]
Friction = Annotated[str, typer.Option(help="Friction of langevin.")]
TimeConstant = Annotated[str, typer.Option(help="Time constant of the thermostat but langevin's.")]
Pressure = Annotated[
    str | None, typer.Option(help="Pressure of npt (volumes move) and npt_cell (cells move) [default: 1 bar].")
]
CellTimeConstant = Annotated[str, typer.Option(help="Time constant of the barostat.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Labels = Annotated[
    int,
    typer.Option(
        help="Largest number of failing frames that the labeller of the run labels, the earliest at each temperature."
    ),
]
AtOnce = Annotated[int, typer.Option(help="Number of copies that are simulated, and stored, together.")]


def survival(
    committee: CommitteeFolder,
    start: Start = None,
    temperature: Temperatures = None,
    copies: Copies = None,
    time: Time = None,
    timestep: Timestep = "0.5 fs",
    window: Windows = None,
    bonds: Bonds = None,
    min_distance: MinDistance = None,
    energy_below: EnergyBelow = None,
    ensemble: Thermostat = "nose_hoover",
    friction: Friction = "10 1/ps",
    time_constant: TimeConstant = "50 fs",
    pressure: Pressure = None,
    cell_time_constant: CellTimeConstant = "500 fs",
    seed: Seed = 0,
    at_once: AtOnce = 50,
    labels: Labels = 10,
    output: Output = None,
    device: Device = "cpu",
    resources: ResourcesFile = None,
) -> None:
    """Fraction of copies that stay physical in molecular dynamics. The same command resumes an interrupted one.

    A copy ends by the criteria of --window, --bonds, --min-distance and --energy-below. Without any of these, the
    criteria are those of the run's system (`system: unphysical:` of your own structures); if it has none, a bond that
    leaves 0.6 to 1.6 times its length, two atoms closer than 0.5 Å, or an energy 0.5 eV below the committee's minimum.

    The defaults for ammonia, whose numbers are published, are those of the paper.
    """
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on
    from sparring.units import quantity, unit_of
    from sparring.validation.records import keep_frames
    from sparring.validation.run_labels import label_service_of_run
    from sparring.validation.run_system import start_of
    from sparring.validation.survival.arguments import criteria_of, extent_of
    from sparring.validation.survival.compute import survival
    from sparring.validation.survival.figure import survival_figure
    from sparring.validation.survival.table import SurvivalRows, failure_table

    use_threads()
    members, atoms = committee_on(read_committee(committee), device), start_of(committee, start)
    limits = {"bonds": bonds, "min_distance": min_distance, "energy_below": energy_below}
    criteria = criteria_of(members, committee, atoms, windows=window or (), **limits)
    extent, folder = extent_of(committee, temperature, copies, time), output or committee / "validation"
    rows, frames = SurvivalRows(extent.duration), list["Atoms"]()
    service, unlabelled = label_service_of_run(committee, progress_bars()) if labels else (None, "")
    typer.echo(f"{atoms.get_chemical_formula()} fails if: {'; '.join(map(str, criteria))}")
    result = survival(
        members,
        atoms,
        criteria=criteria,
        **extent._asdict(),
        timestep=quantity(timestep, "time"),
        ensemble=ensemble,
        friction=quantity(friction, "rate"),
        time_constant=quantity(time_constant, "time"),
        pressure=None if pressure is None else quantity(pressure, "pressure"),
        cell_time_constant=quantity(cell_time_constant, "time"),
        seed=seed,
        n_at_once=at_once,
        batches=folder / "survival",
        write=frames.extend,
        label=None if service is None else service.label,
        n_labels=labels,
        finished=lambda trial: typer.echo(rows.row(trial)),
        progress_bars=progress_bars(),
    )
    typer.echo(rows.total(result))
    if frames:
        typer.echo(failure_table(result, unit_of(atoms.numbers)).text())
        if unlabelled:
            typer.echo(f"failures have no labels: {unlabelled}", err=True)
    written = write_results(folder, "survival", result, survival_figure({committee.name: result}))
    keep_frames(folder / "survival_failures.extxyz", frames)
    typer.echo(written)
    if frames:
        typer.echo(f"geometries at failure, candidates for labels: {folder / 'survival_failures.extxyz'}")
