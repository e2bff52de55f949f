"""The verbs under ``sparring validate``: how good a committee is, measured in several ways."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.cli.arguments import CommitteeFolder, Preset, load_config, progress_bars, use_threads
from sparring.cli.free_energy import free_energy

__all__ = ["app"]

app = typer.Typer(
    help="How good a committee is: errors, barriers, stability of dynamics, landscapes, diversity of data.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command()
def stability(
    committee: CommitteeFolder,
    start: Annotated[
        Path | None,
        typer.Argument(help="Where copies start, extended XYZ [default: the lowest energy of the committee's data]."),
    ] = None,
    temperature: Annotated[
        list[str] | None,
        typer.Option(help="One or more, e.g. 300K,500K; may be repeated [default: 500K to 1000K, every 100K]."),
    ] = None,
    copies: Annotated[int, typer.Option(help="At each temperature.")] = 100,
    time: Annotated[str, typer.Option(help="How long copies are watched.")] = "5 ps",
    timestep: Annotated[str, typer.Option(help="How long a step is.")] = "0.5 fs",
    window: Annotated[
        list[str] | None,
        typer.Option(
            help="Physical distances of two elements or atoms: H,H,0.80,2.55 or 0,1,0.9,inf; may be repeated."
        ),
    ] = None,
    bonds: Annotated[
        str | None, typer.Option(help="How short and how long bonds may become, in parts of their length: 0.6,1.6.")
    ] = None,
    min_distance: Annotated[str | None, typer.Option(help="How close any two atoms may come.")] = None,
    energy_below: Annotated[
        str | None, typer.Option(help="How far below the committee's own minimum energies may be, e.g. 1 meV.")
    ] = None,
    ensemble: Annotated[str, typer.Option(help="nose_hoover, langevin or nve.")] = "nose_hoover",
    friction: Annotated[str, typer.Option(help="Of langevin.")] = "10 1/ps",
    time_constant: Annotated[str, typer.Option(help="Of nose_hoover.")] = "50 fs",
    seed: Annotated[int, typer.Option(help="Of the velocities and the noise.")] = 0,
    at_once: Annotated[int, typer.Option(help="Copies that move, and are stored, together.")] = 50,
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in the committee's].")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda.")] = "cpu",
) -> None:
    """How many copies stay physical in molecular dynamics. The same command goes on where it was interrupted.

    Copies fail by --window, --bonds, --min-distance and --energy-below. Without any of these, they fail by the
    criteria of the run's system (`system: unphysical:` of your own structures); if it has none, when a bond leaves 0.6
    to 1.6 times its length, or two atoms come closer than 0.5 Å.
    """
    from ase import Atoms

    from sparring.cli.stability import StabilityTable, criteria_of, start_of, temperatures_of
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on
    from sparring.inputs.extxyz import write_structures
    from sparring.reporting.figures import stability_figure
    from sparring.reporting.saving import save_figure
    from sparring.units import quantity
    from sparring.validation.records import write_record
    from sparring.validation.stability.compute import stability

    use_threads()
    members, atoms = committee_on(read_committee(committee), device), start_of(committee, start)
    criteria = criteria_of(
        members,
        committee,
        atoms,
        windows=window or (),
        bonds=bonds,
        min_distance=min_distance,
        energy_below=energy_below,
    )
    duration, folder = quantity(time, "time"), output or committee / "validation"
    table = StabilityTable(duration)
    frames: list[Atoms] = []
    typer.echo(f"{atoms.get_chemical_formula()} fails if: {'; '.join(map(str, criteria))}")
    result = stability(
        members,
        atoms,
        temperatures=temperatures_of(temperature),
        criteria=criteria,
        n_copies=copies,
        duration=duration,
        timestep=quantity(timestep, "time"),
        ensemble=ensemble,
        friction=quantity(friction, "rate"),
        time_constant=quantity(time_constant, "time"),
        seed=seed,
        n_at_once=at_once,
        pieces=folder / "stability",
        write=frames.extend,
        finished=lambda trial: typer.echo(table.row(trial)),
        progress_bars=progress_bars(),
    )
    typer.echo(table.total(result))
    write_record(folder / "stability.json", result)
    write_structures(folder / "stability_failures.extxyz", frames)
    save_figure(stability_figure({committee.name: result}), folder / "stability")
    typer.echo(f"results: {folder / 'stability.json'}, .png and .svg")
    if frames:
        typer.echo(f"where copies failed, candidates for labels: {folder / 'stability_failures.extxyz'}")


@app.command()
def errors(
    committee: CommitteeFolder,
    data: Annotated[
        Path | None, typer.Argument(help="Labelled structures [default: the test split of the generation].")
    ] = None,
    later: Annotated[bool, typer.Option("--later", help="Add to the test split what was labelled since.")] = False,
    windows: Annotated[
        str, typer.Option(help="Caps of energy above the lowest label of the composition.")
    ] = "5, 10, 20, 40 kcal/mol",
    group_by: Annotated[
        str | None, typer.Option(help="A key of the structures [default: config_type, or else source].")
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="What Eq. 8 is to find: errors beyond_training, or the worst [default: beyond_training, where the "
            "folder tells what the committee learnt from]."
        ),
    ] = None,
    percentile: Annotated[float, typer.Option(help="Of errors and of variances, where that begins.")] = 80.0,
    align: Annotated[
        bool, typer.Option("--align", help="Take out what another code's reference energies of elements differ by.")
    ] = False,
    energy_key: Annotated[str, typer.Option(help="What the file calls energies, in eV.")] = "REF_energy",
    forces_key: Annotated[str, typer.Option(help="What the file calls forces, in eV/Å.")] = "REF_forces",
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in the committee's].")] = None,
) -> None:
    """Errors on labels that the committee has not seen, by energy and by kind; and whether its uncertainty knew."""
    from sparring.cli.errors import chosen_data, error_tables, positive_of, windows_of
    from sparring.committee_files import read_committee
    from sparring.evaluation import survey
    from sparring.inputs.extxyz import write_structures
    from sparring.reporting.data import unit_of
    from sparring.reporting.figures import errors_figure
    from sparring.reporting.saving import save_figure
    from sparring.validation.errors.compute import error_report
    from sparring.validation.records import write_record

    use_threads()
    members, folder = read_committee(committee), output or committee / "validation"
    chosen = chosen_data(committee, data, later=later, energy_key=energy_key, forces_key=forces_key)
    members.require_known(chosen.dataset)
    training, surveyed = chosen.training, survey(members, chosen.dataset.structures)
    report = error_report(
        surveyed,
        chosen.dataset,
        n_members=members.n_members,
        training=None if training is None else (survey(members.without_domain(), training.structures), training),
        windows=windows_of(windows),
        group_by=group_by,
        aligned=align,
        positive=positive_of(positive, training),
        percentile=percentile,
        data=chosen.name,
    )
    unit = unit_of(chosen.dataset.structures.atomic_numbers.numpy())
    typer.echo(error_tables(report, unit=unit))
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "errors.json", report)
    write_structures(folder / "errors.extxyz", surveyed.annotate(chosen.dataset.to_atoms()))
    save_figure(errors_figure(report, unit=unit), folder / "errors")
    typer.echo(chosen.note())
    typer.echo(f"results: {folder / 'errors.json'}, .extxyz, .png and .svg")


@app.command()
def barrier(
    committee: Annotated[
        Path, typer.Argument(help="A folder with a committee, e.g. runs/x/generation-03, or a run: all its committees.")
    ],
    start: Annotated[
        Path | None,
        typer.Argument(help="Geometry near the first minimum, extended XYZ [default: that of the run's system]."),
    ] = None,
    end: Annotated[
        Path | None,
        typer.Argument(help="Geometry near the second, atoms in the same order [default: that of the system]."),
    ] = None,
    images: Annotated[int, typer.Option(help="Of the path, both ends among them.")] = 11,
    fmax: Annotated[str, typer.Option(help="The largest force on a path that has converged.")] = "0.02 eV/Å",
    steps: Annotated[int, typer.Option(help="At most, for a path and for each of its ends.")] = 300,
    climb: Annotated[bool, typer.Option("--climb", help="Let the highest image climb to the saddle.")] = False,
    config: Annotated[
        Path | None, typer.Option(help="Whose labeller gives the true path to compare with [default: no such path].")
    ] = None,
    preset: Preset = None,
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in the committee's].")] = None,
) -> None:
    """The barrier between two minima, by a nudged elastic band on the surface of each committee, and on the labels'.

    Ends are relaxed on each surface by itself. Labels of the true path are kept like any others.
    """
    from sparring.cli.barrier import barrier_tables, ends_of
    from sparring.inputs.extxyz import write_structures
    from sparring.reporting.data import unit_of
    from sparring.reporting.figures import barrier_figure
    from sparring.reporting.saving import save_figure
    from sparring.units import quantity
    from sparring.validation.barrier.compute import barriers
    from sparring.validation.records import write_record

    use_threads()
    folder = output or committee / "validation"
    found, frames = barriers(
        committee,
        ends_of(start, end),
        config=None if config is None else load_config(config, preset),
        store=folder,
        progress_bars=progress_bars(),
        n_images=images,
        fmax=quantity(fmax, "force"),
        max_steps=steps,
        climb=climb,
    )
    unit = unit_of(frames[0].numbers)
    typer.echo(barrier_tables(found, unit))
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "barrier.json", found)
    write_structures(folder / "barrier.extxyz", frames)
    save_figure(barrier_figure(found.committees, truth=found.truth, unit=unit), folder / "barrier")
    for name, reason in found.failures.items():
        typer.echo(f"{name} has no path: {reason}", err=True)
    typer.echo(f"results: {folder / 'barrier.json'}, .extxyz, .png and .svg")


@app.command()
def diversity(
    data: Annotated[
        list[Path],
        typer.Argument(help="Run folders, folders of generations, or labelled structures as extended XYZ."),
    ],
    reference: Annotated[
        Path | None,
        typer.Option(help="Ground states, one of a composition, extended XYZ [default: those of the lowest labels]."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the map.")] = 0,
    neighbors: Annotated[int, typer.Option(help="Over how many neighbours the map is made.")] = 15,
    reflect: Annotated[bool, typer.Option(help="Take mirror images of a molecule for one in RMSDs.")] = False,
    energy_key: Annotated[str, typer.Option(help="What files call energies, in eV.")] = "REF_energy",
    forces_key: Annotated[str, typer.Option(help="What files call forces, in eV/Å.")] = "REF_forces",
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in or beside the first].")] = None,
) -> None:
    """How alike, how distorted and how new labelled structures are.

    Several runs or files share one map, which takes some seconds to begin.
    """
    from sparring.inputs.extxyz import write_structures
    from sparring.inputs.reading import read_atoms
    from sparring.reporting.figures import diversity_figure
    from sparring.reporting.saving import save_figure
    from sparring.validation.diversity.compute import diversity, diversity_table, gather
    from sparring.validation.records import write_record

    frames = gather(data, energy_key=energy_key, forces_key=forces_key)
    grounds = None if reference is None else read_atoms(reference)
    result = diversity(frames, reference=grounds, seed=seed, n_neighbors=neighbors, reflect=reflect)
    folder = output or (data[0] if data[0].is_dir() else data[0].parent) / "validation"
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / "diversity.json", result)
    write_structures(folder / "diversity.extxyz", frames)
    save_figure(diversity_figure(result), folder / "diversity")
    typer.echo(diversity_table(result))
    typer.echo(f"results: {folder / 'diversity.json'}, .extxyz, .png and .svg")


@app.command()
def landscape(
    committee: Annotated[
        Path, typer.Argument(help="A folder with a committee, e.g. runs/x/generation-03, or a run: all its committees.")
    ],
    structures: Annotated[
        Path | None,
        typer.Argument(
            help="Structures on a grid of one or two variables, extended XYZ [default: the grid that belongs to the "
            "run's system]."
        ),
    ] = None,
    x: Annotated[str | None, typer.Option(help="What the file calls the first variable.")] = None,
    y: Annotated[str | None, typer.Option(help="And the second, if there are two.")] = None,
    x_unit: Annotated[str, typer.Option(help="For the figure.")] = "",
    y_unit: Annotated[str, typer.Option(help="For the figure.")] = "",
    points: Annotated[
        str | None, typer.Option(help="Along the sides of a grid that belongs to a system, e.g. 17x17.")
    ] = None,
    grid: Annotated[str | None, typer.Option(help="Over two torsions: rigid or relaxed [default: rigid].")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Whose labeller labels points that carry no REF_energy [default: that of the run]."),
    ] = None,
    preset: Preset = None,
    label: Annotated[bool, typer.Option(help="Whether to label them.")] = True,
    align: Annotated[
        bool, typer.Option("--align", help="Compare energies above each surface's own at the lowest true point.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Folder [default: validation, in the committee's].")] = None,
) -> None:
    """Energy and uncertainty over one or two variables beside the truth, generation by generation.

    Labels are kept like any others, so the same command goes on where it was interrupted.
    """
    from sparring.cli.landscape import grid_kind, grid_of, landscape_table, points_of, truth_lines
    from sparring.inputs.extxyz import write_structures
    from sparring.reporting.data import unit_of
    from sparring.reporting.figures import landscape_sheet
    from sparring.reporting.saving import save_figure
    from sparring.validation.landscape.compute import survey
    from sparring.validation.records import write_record

    use_threads()
    folder, which = output or committee / "validation", grid_kind(grid)
    found = survey(
        committee,
        grid=grid_of(structures, (x, y), (x_unit, y_unit)),
        points=points_of(points),
        which=which,
        config=None if config is None else load_config(config, preset),
        labels=label,
        store=folder,
        progress_bars=progress_bars(),
    )
    unit = unit_of(found.grid.structures[0].numbers)
    typer.echo("\n".join(truth_lines(found)))
    typer.echo(landscape_table(found.landscapes, unit, aligned=align))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("landscape_relaxed" if which == "relaxed" else "landscape")
    write_record(file.with_suffix(".json"), found.landscapes)
    write_structures(file.with_suffix(".extxyz"), found.grid.carrying(found.truth.energy))
    save_figure(landscape_sheet(found.landscapes, unit=unit, aligned=align), file)
    for reason in found.truth.failures:
        typer.echo(f"no label: {reason}", err=True)
    typer.echo(f"results: {file.with_suffix('.json')}, .extxyz, .png and .svg")


app.command("free-energy")(free_energy)
