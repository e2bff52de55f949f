"""``sparring validate free-energy``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparring.cli.arguments import CommitteeFolder, Preset, load_config, progress_bars, use_threads

if TYPE_CHECKING:
    from sparring.config import Config
    from sparring.reporting.data import EnergyUnit
    from sparring.validation.free_energy.histograms import FreeEnergies

__all__ = ["free_energy", "free_energy_lines"]


def free_energy(
    committee: CommitteeFolder,
    reference: Annotated[
        Path | None,
        typer.Argument(
            help="A long trajectory on the surface of the labels at that temperature, extended XYZ [default: Langevin "
            "dynamics by OpenMM, if that labels]."
        ),
    ] = None,
    temperature: Annotated[str, typer.Option(help="Of both.")] = "300 K",
    copies: Annotated[int, typer.Option(help="Of the molecule, under the committee.")] = 20,
    time: Annotated[str, typer.Option(help="How long each of them moves.")] = "20 ps",
    equilibration: Annotated[str, typer.Option(help="Of that, how long it is not looked at.")] = "1 ps",
    timestep: Annotated[str, typer.Option(help="How long a step of the committee is.")] = "1 fs",
    friction: Annotated[str, typer.Option(help="Of Langevin dynamics.")] = "1 1/ps",
    reference_time: Annotated[str, typer.Option(help="How long the reference is, if it is not given.")] = "2 ns",
    blocks: Annotated[int, typer.Option(help="Into which the reference is divided for its error.")] = 20,
    bins: Annotated[int, typer.Option(help="Along each torsion.")] = 24,
    seed: Annotated[int, typer.Option(help="Of the velocities and the noise.")] = 0,
    at_once: Annotated[int, typer.Option(help="Copies that move, and are stored, together.")] = 20,
    config: Annotated[
        Path | None, typer.Option(help="Whose labeller gives the reference [default: that of the run].")
    ] = None,
    preset: Preset = None,
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in the committee's].")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda.")] = "cpu",
) -> None:
    """Free energy over two torsions from plain dynamics of a committee, against that of the surface it has learnt.

    Copies start from structures of the reference. The same command goes on where it was interrupted.
    """
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on
    from sparring.inputs.reading import read_atoms
    from sparring.reporting.data import unit_of
    from sparring.reporting.figures import free_energy_figure
    from sparring.reporting.saving import save_figure
    from sparring.runs.saved_run import run_of
    from sparring.units import quantity
    from sparring.validation.free_energy.compute import committee_visits, dynamics_visits, reference_visits
    from sparring.validation.free_energy.histograms import compare
    from sparring.validation.records import write_record
    from sparring.validation.run_system import starting_structures

    use_threads()
    members = committee_on(read_committee(committee), device)
    known = _config(committee, config, preset)
    system = known.system.build()
    if system.torsions is None:
        raise ValueError(
            f"the free energy is that over two torsions, which system {system.name!r} does not name; add "
            "`system: {torsions: ...}` to the configuration"
        )
    plane, molecule = system.torsions(starting_structures(run_of(committee)))
    warm, folder = quantity(temperature, "temperature"), output or committee / "validation"
    rate = quantity(friction, "rate")
    if reference is not None:
        frames = read_atoms(reference, labels="ignored")
        truth, starts = reference_visits(frames, plane, n_blocks=blocks, n_bins=bins, method=str(reference)), frames
    else:
        truth, starts = dynamics_visits(
            _labeller(known, folder),
            plane,
            molecule,
            temperature=warm,
            duration=quantity(reference_time, "time"),
            friction=rate,
            n_blocks=blocks,
            n_bins=bins,
            seed=seed,
            folder=committee.absolute().parent / "validation",
            progress_bars=progress_bars(),
        )
    seen = committee_visits(
        members,
        starts[:: max(1, len(starts) // copies)],
        plane,
        temperature=warm,
        n_copies=copies,
        duration=quantity(time, "time"),
        equilibration=quantity(equilibration, "time"),
        timestep=quantity(timestep, "time"),
        friction=rate,
        n_bins=bins,
        seed=seed,
        n_at_once=at_once,
        pieces=folder / "free_energy",
        progress_bars=progress_bars(),
    )
    result = compare(seen, truth, names=plane.names, temperature=warm, seed=seed)
    unit = unit_of(starts[0].numbers)
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "free_energy.json", result)
    save_figure(free_energy_figure(result, unit=unit), folder / "free_energy")
    typer.echo(free_energy_lines(result, unit))
    typer.echo(f"results: {folder / 'free_energy.json'}, .png and .svg")


def _config(committee: Path, file: Path | None, preset: str | None) -> "Config":
    """The configuration that was named, or that of the run that a generation belongs to."""
    from sparring.runs.saved_run import SavedRun

    if file is not None:
        return load_config(file, preset)
    own = SavedRun(committee.absolute().parent)
    if not own.exists:
        raise ValueError(f"{committee} is no generation of a run; give the configuration of its labeller (--config)")
    return load_config(own.config_file, None)


def _labeller(config: "Config", folder: Path):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """OpenMM, which can do dynamics itself."""
    from sparring.assembly.labels import labeller
    from sparring.labels.openmm import OpenMM

    found = labeller(config)
    if not isinstance(found, OpenMM):
        raise ValueError("only OpenMM makes a reference here; give a REFERENCE, a long trajectory as extended XYZ")
    return found


def free_energy_lines(result: "FreeEnergies", unit: "EnergyUnit") -> str:
    """What comes out, in words."""
    size = unit.size
    committee, reference = (100 * share for share in result.inside)
    compared = (
        f"mean absolute difference there: {result.difference / size:.3f} ± {result.difference_sigma / size:.3f} "
        f"{unit.name}, of which statistical errors alone would give {result.noise / size:.3f}",
        f"the same, weighted by the reference: {result.weighted / size:.3f} {unit.name}",
    )
    nothing = ("nothing to compare: make trajectories longer or bins wider, or see why copies failed",)
    return "\n".join(
        [
            *(f"{role}: {words}" for role, words in zip(("committee", "reference"), result.methods, strict=True)),
            f"copies of the committee that failed: {result.n_failed} of {result.n_blocks[0]}",
            f"bins that both have visited often enough: {int(result.shared.sum())} of {result.shared.size}, where the "
            f"committee is {committee:.1f} % and the reference {reference:.1f} % of the time",
            *(compared if result.shared.any() else nothing),
        ]
    )
