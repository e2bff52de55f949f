"""``sparring validate free-energy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from sparring.validation.arguments import (
    CommitteeFolder,
    Device,
    Output,
    Preset,
    TrustPickle,
    load_config,
    progress_bars,
    use_threads,
    write_results,
)

if TYPE_CHECKING:
    from ase import Atoms

    from sparring.config import Config
    from sparring.labels.openmm import OpenMM
    from sparring.surfaces.torsion_plane import TorsionPlane
    from sparring.units import EnergyUnit
    from sparring.validation.free_energy.histograms import FreeEnergies, Visits

__all__ = ["free_energy"]

Reference = Annotated[
    Path | None,
    typer.Argument(
        help="Long trajectory on the surface of the labels at the same temperature, extended XYZ [default: Langevin "
        "dynamics by OpenMM, if OpenMM is the labeller]."
    ),
]
Temperature = Annotated[str, typer.Option(help="Temperature of both trajectories.")]
Copies = Annotated[int, typer.Option(help="Number of copies of the molecule in dynamics with the committee.")]
Time = Annotated[str, typer.Option(help="Length of the trajectory of each copy.")]
Equilibration = Annotated[str, typer.Option(help="Time discarded at the start of each trajectory.")]
Timestep = Annotated[str, typer.Option(help="Time step of the dynamics with the committee.")]
Friction = Annotated[str, typer.Option(help="Friction of Langevin dynamics.")]
ReferenceTime = Annotated[str, typer.Option(help="Length of the reference trajectory, if none is given.")]
Blocks = Annotated[int, typer.Option(help="Number of blocks of the reference, for its statistical error.")]
Bins = Annotated[int, typer.Option(help="Number of bins along each torsion.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
AtOnce = Annotated[int, typer.Option(help="Number of copies that are simulated, and stored, together.")]
ReferenceConfig = Annotated[
    Path | None, typer.Option(help="Configuration whose labeller gives the reference [default: that of the run].")
]


class _Settings(NamedTuple):
    """Settings that the reference and the dynamics of the committee share."""

    temperature: float
    friction: float
    n_blocks: int
    n_bins: int
    seed: int


def free_energy(
    committee: CommitteeFolder,
    reference: Reference = None,
    temperature: Temperature = "300 K",
    copies: Copies = 20,
    time: Time = "20 ps",
    equilibration: Equilibration = "1 ps",
    timestep: Timestep = "1 fs",
    friction: Friction = "1 1/ps",
    reference_time: ReferenceTime = "2 ns",
    blocks: Blocks = 20,
    bins: Bins = 24,
    seed: Seed = 0,
    at_once: AtOnce = 20,
    config: ReferenceConfig = None,
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    output: Output = None,
    device: Device = "cpu",
) -> None:
    """Free energy over two torsions from plain dynamics with a committee, compared with the surface of the labels.

    Copies start from structures of the reference. The same command resumes an interrupted one.
    """
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on
    from sparring.runs.saved_run import run_of
    from sparring.units import quantity, unit_of
    from sparring.validation.free_energy.compute import committee_visits
    from sparring.validation.free_energy.figure import free_energy_figure
    from sparring.validation.free_energy.histograms import compare
    from sparring.validation.run_system import starting_structures

    use_threads()
    members = committee_on(read_committee(committee), device)
    known = _config(committee, config, preset)
    system = known.system.build()
    if system.torsions is None:
        raise ValueError(
            f"the free energy is over two torsions, and system {system.name!r} has none; add "
            "`system: {torsions: ...}` to the configuration"
        )
    plane, molecule = system.torsions(starting_structures(run_of(committee)))
    folder = output or committee / "validation"
    settings = _Settings(
        temperature=quantity(temperature, "temperature"),
        friction=quantity(friction, "rate"),
        n_blocks=blocks,
        n_bins=bins,
        seed=seed,
    )
    if reference is not None:
        truth, starts = _from_file(reference, plane, settings)
    else:
        place = committee.absolute().parent / "validation"
        truth, starts = _by_openmm(known, plane, molecule, place, quantity(reference_time, "time"), settings)
    seen = committee_visits(
        members,
        starts[:: max(1, len(starts) // copies)],
        plane,
        temperature=settings.temperature,
        friction=settings.friction,
        n_copies=copies,
        duration=quantity(time, "time"),
        equilibration=quantity(equilibration, "time"),
        timestep=quantity(timestep, "time"),
        n_bins=bins,
        seed=seed,
        n_at_once=at_once,
        batches=folder / "free_energy",
        progress_bars=progress_bars(),
    )
    result = compare(seen, truth, names=plane.names, temperature=settings.temperature, seed=seed)
    unit = unit_of(starts[0].numbers)
    written = write_results(folder, "free_energy", result, free_energy_figure(result, unit=unit))
    typer.echo(_text(committee.name, result, unit))
    typer.echo(written)


def _config(committee: Path, file: Path | None, preset: str | None) -> "Config":
    """The configuration of a file, or that of the run of a generation."""
    if file is not None:
        return load_config(file, preset)
    from sparring.runs.saved_run import SavedRun

    own = SavedRun(committee.absolute().parent)
    if not own.exists:
        raise ValueError(
            f"{committee} is not a generation of a run; give the configuration of the labeller with --config"
        )
    return own.config()


def _labeller(config: "Config") -> "OpenMM":
    """The labeller OpenMM, which can run dynamics."""
    from sparring.assembly.labels import labeller
    from sparring.labels.openmm import OpenMM

    found = labeller(config)
    if not isinstance(found, OpenMM):
        raise ValueError(
            "no reference: the labeller is not OpenMM, which could compute one; give REFERENCE.xyz, a long trajectory"
        )
    return found


def _from_file(file: Path, plane: "TorsionPlane", settings: _Settings) -> "tuple[Visits, list[Atoms]]":
    from sparring.inputs.reading import read_atoms
    from sparring.validation.free_energy.compute import reference_visits

    frames = read_atoms(file, labels="ignored")
    visits = reference_visits(frames, plane, n_blocks=settings.n_blocks, n_bins=settings.n_bins, method=str(file))
    return visits, frames


def _by_openmm(
    config: "Config", plane: "TorsionPlane", start: "Atoms", folder: Path, duration: float, settings: _Settings
) -> "tuple[Visits, list[Atoms]]":
    from sparring.validation.free_energy.compute import dynamics_visits

    return dynamics_visits(
        _labeller(config),
        plane,
        start,
        duration=duration,
        folder=folder,
        progress_bars=progress_bars(),
        **settings._asdict(),
    )


def _text(name: str, result: "FreeEnergies", unit: "EnergyUnit") -> str:
    """Methods and numbers."""
    from sparring.validation.free_energy.table import free_energy_table

    lines = [f"{role}: {words}" for role, words in zip(("committee", "reference"), result.methods, strict=True)]
    lines.append(free_energy_table({name: result}, unit).text())
    if not result.shared.any():
        lines.append("nothing to compare: use longer trajectories or wider bins, or check why copies failed")
    return "\n".join(lines)
