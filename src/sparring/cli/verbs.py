"""The verbs: each reads its arguments, calls one library function, and shows or writes what it gives."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparring.cli.arguments import (
    CommitteeFolder,
    ConfigFile,
    ConfigOption,
    Preset,
    load_config,
    progress_bars,
    use_threads,
)

if TYPE_CHECKING:
    from ase import Atoms

    from sparring import Dataset

__all__ = ["app"]

UNITS = {"energy_unit": "eV", "forces_unit": "eV/Å"}

app = typer.Typer(
    help="Train committees of neural-network potentials, and make them robust by attacking their own uncertainty.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def init(
    kind: Annotated[
        str,
        typer.Argument(help="Kind of system: own for your own structures, or one of the paper's; `init ?` lists all."),
    ],
    folder: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
) -> None:
    """Write a commented example configuration to start from."""
    from sparring.commands.starting import init

    for file in init(kind, folder):
        typer.echo(f"wrote {file}")


@app.command()
def check(config: ConfigFile, preset: Preset = None) -> None:
    """Validate a configuration, print what would happen and what one label costs. Writes nothing."""
    from sparring.commands.running import check
    from sparring.config import dump, load, settled

    resolved = settled(load(config, preset))
    typer.echo(dump(resolved))
    estimate = check(resolved)
    typer.echo(f"labels by {estimate.method}")
    typer.echo(f"one label takes {estimate.label.wall_time:.2g} s here and gives {estimate.label.energy:.6f} eV")
    typer.echo(f"about {estimate.n_start} labels to begin with, at most {estimate.n_labels} more from attacks")
    for line in estimate.lines():
        typer.echo(line)
    typer.echo(f"{estimate.n_generations} committees of {resolved.committee.n_members} members are trained")
    for finding in sorted(estimate.findings):
        typer.echo(
            f"{'wrong' if finding.severity == 'stop' else 'note'}: {finding.text}", err=finding.severity == "stop"
        )
    if any(finding.severity == "stop" for finding in estimate.findings):
        typer.echo(
            "a run would stop here; labels of two kinds are mixed only with system.check_labels: false", err=True
        )
        raise typer.Exit(2)


@app.command()
def run(
    config: ConfigFile,
    folder: Annotated[Path | None, typer.Option(help="The run folder [default: runs/<name of the file>].")] = None,
    preset: Preset = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Ask again for labels of the newest generation that crashed, took too long or too much memory.",
        ),
    ] = False,
) -> None:
    """Start a run, go on with it where it stopped, or do nothing if it is finished.

    Exit codes: 0 finished; 1 an error of Sparring itself; 2 a wrong configuration or file; 3 labels failed: see the
    message, mend the cause and give the same command again; 130 Ctrl-C; 143 SIGTERM.
    """
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    from sparring.commands.running import comparison, run
    from sparring.reporting.terminal import GenerationTable
    from sparring.support.progress import progress_bars_on

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_level=True, show_time=False)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(message)s")
    folder = folder or Path("runs") / config.stem
    resolved = load_config(config, preset)
    table = GenerationTable(resolved.system.build())
    run(
        resolved,
        folder,
        retry_failed=retry_failed,
        progress_bars=progress_bars_on(console),
        log=lambda line: console.print(line, style="dim", highlight=False),
        finished_generation=lambda metrics: typer.echo(table.row(metrics)),
    )
    compared = comparison(folder)
    if compared is not None:
        typer.echo(compared)
    typer.echo(f"report: {folder / 'report.html'}")


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """How far a run has come."""
    from sparring.commands.running import comparison
    from sparring.commands.status import status
    from sparring.reporting.terminal import GenerationTable, starting_line
    from sparring.validation.run_system import system_of

    known = status(folder)
    table = GenerationTable(system_of(folder))
    for generation in known:
        if "errors" in generation.metrics:
            typer.echo(table.row(generation.metrics))
        typer.echo(f"  generation {generation.generation}: {', '.join(generation.stages) or 'nothing'} done")
        if line := starting_line(generation.metrics):
            typer.echo(f"  generation {generation.generation}: {line} (see failures.csv)")
        for failed, state in ((generation.failed, ""), (generation.open_failures, "; their stage is open")):
            if failed:
                reasons = ", ".join(f"{reason} {n}" for reason, n in failed.items())
                typer.echo(f"    {sum(failed.values())} labels failed: {reasons}{state}")
    compared = comparison(folder)
    if compared is not None:
        typer.echo(compared)
    elif any("errors" in generation.metrics for generation in known):
        typer.echo(f"errors of all generations on the same structures: sparring report {folder}")


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help="Labelled structures, extended XYZ.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Folder for the committee.")],
    preset: Preset = None,
) -> None:
    """Train a committee on labelled structures."""
    from sparring import Dataset
    from sparring.assembly.planning import train
    from sparring.atoms.dataset import ENERGY, FORCES
    from sparring.inputs.reading import read_atoms
    from sparring.runs.stages import write_fit
    from sparring.systems.own.comparison import in_internal_units

    resolved = load_config(config, preset)
    use_threads(resolved.threads)
    energy_key = getattr(resolved.system, "energy_key", ENERGY)
    forces_key = getattr(resolved.system, "forces_key", FORCES)
    frames = read_atoms(data, labels="required", energy_key=energy_key, forces_key=forces_key, allow_dummy=True)
    units = {name: getattr(resolved.system, name, unit) for name, unit in UNITS.items()}
    frames = in_internal_units(frames, **units)
    fitted = train(resolved, Dataset.from_atoms(frames), progress_bars())
    output.mkdir(parents=True, exist_ok=True)
    write_fit(output, fitted)
    typer.echo(f"committee of {fitted.committee.n_members}: {output}")
    typer.echo(f"trained on {fitted.committee.domain}")
    typer.echo(f"errors: sparring evaluate {output} {data} --energy-key {energy_key} --forces-key {forces_key}")


@app.command()
def attack(
    committee: CommitteeFolder,
    seeds: Annotated[Path, typer.Argument(help="Starting geometries, extended XYZ.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Extended XYZ file for the candidates.")],
    reference: Annotated[
        Path | None,
        typer.Option(help="Labelled structures for the Boltzmann weight's Q and for bonds [default: the seeds]."),
    ] = None,
    preset: Preset = None,
) -> None:
    """Attack a committee from given structures."""
    from sparring import Structures
    from sparring.assembly.labels import inherited
    from sparring.assembly.proposing import one_of_each, proposer
    from sparring.candidates import Status
    from sparring.committee_files import read_committee
    from sparring.inputs.extxyz import write_structures
    from sparring.proposers.base import propose
    from sparring.proposers.formulas import needs_reference
    from sparring.runs.stages import attack_frames

    resolved = load_config(config, preset)
    use_threads(resolved.threads)
    members, frames = read_committee(committee), _geometries(seeds)
    members.require_known(frames)
    starts = Structures.from_atoms(frames)
    formula = getattr(resolved.attack, "objective", None)
    dataset = _labelled(reference or seeds) if formula and needs_reference(formula) else None
    output.parent.mkdir(parents=True, exist_ok=True)
    known = dataset.to_atoms() if dataset else _geometries(reference) if reference else []
    made = proposer(resolved, dataset, progress_bars(), molecules=one_of_each([*known, *frames]))
    candidates = propose(made, members, starts, resolved.seed)
    heirs = candidates.heirs(frames, inherited(resolved))
    write_structures(output, attack_frames(candidates, candidates.origins(len(frames)), heirs))
    stopped = ", ".join(f"{candidates.count(s)} {s.name.lower().replace('_', ' ')}" for s in Status)
    found = {"adversarial": "attacks", "random": "attacks", "dynamics": "snapshots"}.get(resolved.attack.kind)
    typer.echo(f"{candidates.structures.n_structures} {found or 'candidates'} ({stopped}): {output}")


@app.command()
def label(
    structures: Annotated[Path, typer.Argument(help="What to label, extended XYZ.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Extended XYZ for the labelled structures.")],
    preset: Preset = None,
) -> None:
    """Label structures with the configuration's labeller; labels that exist are not computed again."""
    from sparring.assembly.labels import label_service_of
    from sparring.inputs.extxyz import write_structures
    from sparring.labels import Label, labelled_atoms

    resolved = load_config(config, preset)
    frames = _geometries(structures)
    with_state = resolved.system.build().electronic_state
    frames = frames if with_state is None else with_state(frames)
    output.parent.mkdir(parents=True, exist_ok=True)
    label_service = label_service_of(resolved, output.parent, progress_bars())
    report = label_service.label(frames)
    rows = list(zip(frames, report.labels, report.keys, strict=True))
    write_structures(output, [labelled_atoms(a, one, key) for a, one, key in rows if isinstance(one, Label)])
    for _, one, _ in rows:
        if not isinstance(one, Label):
            typer.echo(f"failed: {one}", err=True)
    n_labelled = sum(isinstance(one, Label) for one in report.labels)
    typer.echo(
        f"{n_labelled} of {len(frames)} labelled ({report.n_computed} computed, {report.n_reused} reused): {output}"
    )
    if not n_labelled:
        raise typer.Exit(1)


@app.command()
def evaluate(
    committee: CommitteeFolder,
    data: Annotated[Path, typer.Argument(help="Labelled structures, extended XYZ.")],
    align: Annotated[
        bool, typer.Option(help="Take out what another code's reference energies of elements differ by.")
    ] = False,
    energy_key: Annotated[str, typer.Option(help="What the file calls energies, in eV.")] = "REF_energy",
    forces_key: Annotated[str, typer.Option(help="What the file calls forces, in eV/Å.")] = "REF_forces",
) -> None:
    """Errors of a committee on any labelled structures."""
    from sparring import Dataset
    from sparring.committee_files import read_committee
    from sparring.evaluation import evaluate
    from sparring.inputs.reading import read_atoms
    from sparring.reporting.terminal import errors_table

    use_threads()
    frames = read_atoms(data, labels="required", energy_key=energy_key, forces_key=forces_key, allow_dummy=True)
    members = read_committee(committee)
    typer.echo(errors_table(evaluate(members, Dataset.from_atoms(frames), aligned=align)))
    if members.domain is not None:
        typer.echo(f"committee of {members.n_members}, trained on {members.domain}")


@app.command()
def md(
    committee: CommitteeFolder,
    start: Annotated[Path, typer.Argument(help="Where copies start, extended XYZ.")],
    output: Annotated[Path, typer.Option(help="Extended XYZ for the trajectories.")],
    temperature: Annotated[list[str], typer.Option(help="One or more, e.g. 300K,500K; may be repeated.")],
    copies: Annotated[int, typer.Option(help="Copies of each structure at each temperature.")] = 1,
    time: Annotated[str, typer.Option(help="How long.")] = "5 ps",
    timestep: Annotated[str, typer.Option(help="How long a step is.")] = "0.5 fs",
    ensemble: Annotated[str, typer.Option(help="nose_hoover, langevin or nve.")] = "nose_hoover",
    friction: Annotated[str, typer.Option(help="Of langevin.")] = "10 1/ps",
    time_constant: Annotated[str, typer.Option(help="Of nose_hoover.")] = "50 fs",
    every: Annotated[int, typer.Option(help="After how many steps frames are written.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the velocities and the noise.")] = 0,
    min_distance: Annotated[
        str | None,
        typer.Option(
            help="Atoms closer than this end the trajectory of a copy [default: the criteria of the run's system, or "
            "else 0.5 Å]."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, cuda.")] = "cpu",
) -> None:
    """Molecular dynamics under the mean forces of a committee, many copies and temperatures at once."""
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on, md
    from sparring.reporting.terminal import dynamics_table
    from sparring.units import quantity
    from sparring.validation.stability.arguments import criteria_of_run

    use_threads()
    temperatures = [quantity(one, "temperature") for several in temperature for one in several.split(",")]
    members, frames = committee_on(read_committee(committee), device), _geometries(start)
    criteria = None if min_distance is not None else criteria_of_run(members, committee, frames)
    result = md(
        members,
        frames,
        output,
        temperatures=temperatures,
        n_copies=copies,
        duration=quantity(time, "time"),
        timestep=quantity(timestep, "time"),
        ensemble=ensemble,
        friction=quantity(friction, "rate"),
        time_constant=quantity(time_constant, "time"),
        every=every,
        seed=seed,
        min_distance=quantity(min_distance or "0.5 Å", "length") if criteria is None else 0.0,
        criteria=criteria or (),
        progress=progress_bars()("md"),
    )
    typer.echo(dynamics_table(result, temperatures))
    typer.echo(f"trajectories: {output}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the page and the figures of a run, finished or not."""
    from sparring.reporting import report

    typer.echo(f"report: {report(folder)}")


def _geometries(file: Path) -> "list[Atoms]":
    """The structures of a user's file, whatever labels it has."""
    from sparring.inputs.reading import read_atoms

    return read_atoms(file, labels="ignored", allow_dummy=True)


def _labelled(file: Path) -> "Dataset":
    """The labelled structures of a user's file."""
    from sparring import Dataset
    from sparring.inputs.reading import read_atoms

    return Dataset.from_atoms(read_atoms(file, labels="required", allow_dummy=True))
