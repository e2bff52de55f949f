"""The verbs of single steps, on files: each reads its arguments, calls one library function, and writes a file."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from sparring.cli.arguments import (
    CommitteeFolder,
    ConfigOption,
    Preset,
    ResourcesFile,
    StressKey,
    TrustPickle,
    load_config,
    progress_bars,
    use_threads,
)
from sparring.cli.exit_codes import LABELS_FAILED
from sparring.cli.files import CheckLabels, SkipBad, geometries, labelled
from sparring.support.printable import printable
from sparring.support.stopping import stopped_in

__all__ = ["app"]

UNITS = {"energy_unit": "eV", "forces_unit": "eV/Å", "stress_unit": None, "stress_sign": "tension"}

app = typer.Typer()


@app.command()
def fit(
    data: Annotated[Path, typer.Argument(help="Labelled structures, extended XYZ.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Folder for the committee.")],
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    skip_bad: SkipBad = False,
    check_labels: CheckLabels = True,
) -> None:
    """Train a committee on labelled structures."""
    from sparring import Dataset
    from sparring.assembly.planning import train
    from sparring.atoms.dataset import ENERGY, FORCES, STRESS
    from sparring.runs.generation import CHECKPOINTS
    from sparring.runs.stages import write_fit

    resolved = load_config(config, preset)
    use_threads(resolved.threads)
    keys: dict[str, Any] = {"energy_key": ENERGY, "forces_key": FORCES, "stress_key": STRESS}
    keys = {name: getattr(resolved.system, name, key) for name, key in keys.items()}
    units: dict[str, Any] = {name: getattr(resolved.system, name, unit) for name, unit in UNITS.items()}
    checked = check_labels and getattr(resolved.system, "check_labels", True)
    frames = labelled(data, keys=keys, units=units, skip_bad=skip_bad, check_labels=checked, beside=output)
    output.mkdir(parents=True, exist_ok=True)
    with stopped_in("training"):
        fitted = train(resolved, Dataset.from_atoms(frames), progress_bars(), output)
    write_fit(output, fitted)
    shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    typer.echo(f"committee of {fitted.committee.n_members}: {output}")
    typer.echo(f"trained on {fitted.committee.domain}")
    options = " ".join(f"--{name.replace('_', '-')} {key}" for name, key in keys.items() if key is not None)
    typer.echo(f"errors: sparring evaluate {output} {data} {options}")


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
    trust_pickle: TrustPickle = False,
    skip_bad: SkipBad = False,
) -> None:
    """Attack a committee from given structures."""
    from sparring import Dataset, Structures
    from sparring.assembly.labels import inherited
    from sparring.assembly.proposing import one_of_each, proposer, takes_reference
    from sparring.candidates import Status
    from sparring.committee_files import read_committee
    from sparring.evaluation import with_uncertainties
    from sparring.inputs.extxyz import write_structures
    from sparring.proposers.base import propose
    from sparring.runs.generation import Generation
    from sparring.runs.stages import attack_frames

    resolved = load_config(config, preset)
    use_threads(resolved.threads)
    members, frames = read_committee(committee), geometries(seeds, skip_bad=skip_bad, beside=output)
    members.require_known(frames)
    starts = Structures.from_atoms(frames)
    dataset = Dataset.from_atoms(labelled(reference or seeds, skip_bad=skip_bad)) if takes_reference(resolved) else None
    output.parent.mkdir(parents=True, exist_ok=True)
    known = dataset.to_atoms() if dataset else geometries(reference, skip_bad=skip_bad) if reference else []
    molecules, expected = one_of_each([*known, *frames]), Generation(committee).expected_errors()
    made = proposer(resolved, dataset, progress_bars(), molecules=molecules, expected=expected)
    candidates = propose(made, members, starts, resolved.seed)
    heirs = with_uncertainties(candidates.heirs(frames, inherited(resolved)), members)
    write_structures(output, attack_frames(candidates, candidates.origins(len(frames)), heirs))
    stopped = ", ".join(f"{candidates.count(s)} {s.name.lower().replace('_', ' ')}" for s in Status)
    kinds = {"adversarial": "attacks", "random": "attacks", "dynamics": "snapshots"}
    found = None if resolved.attack is None else kinds.get(resolved.attack.kind)
    typer.echo(f"{candidates.structures.n_structures} {found or 'candidates'} ({stopped}): {output}")


@app.command()
def cut(
    committee: CommitteeFolder,
    structures: Annotated[Path, typer.Argument(help="Structures that are too large to label, extended XYZ.")],
    output: Annotated[Path, typer.Option(help="Extended XYZ file for the environments.")],
    n: Annotated[int, typer.Option(help="Largest number of environments of a structure.")] = 1,
    core: Annotated[str, typer.Option(help="Radius about the atom within which atoms move.")] = ("3 Å"),
    shell: Annotated[str, typer.Option(help="Thickness of the shell of fixed atoms about the core.")] = "6 Å",
    kind: Annotated[str | None, typer.Option(help="periodic or cluster [default: as the structure is].")] = None,
    skip_bad: SkipBad = False,
) -> None:
    """Cut the environments of the most uncertain atoms of large structures, small enough to label and to attack."""
    from sparring.committee_files import read_committee
    from sparring.inputs.extxyz import write_structures
    from sparring.proposers.environments import cut
    from sparring.units import quantity

    use_threads()
    lengths = {name: quantity(text, "length") for name, text in (("core", core), ("shell", shell))}
    frames = geometries(structures, skip_bad=skip_bad, beside=output)
    found = cut(read_committee(committee), frames, n=n, kind=kind, **lengths)  # type: ignore[arg-type]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_structures(output, found)
    sizes = sorted(len(atoms) for atoms in found)
    typer.echo(f"{len(found)} environments of {sizes[0]} to {sizes[-1]} atoms: {output}")


@app.command()
def label(
    structures: Annotated[Path, typer.Argument(help="Structures to label, extended XYZ.")],
    config: ConfigOption,
    output: Annotated[Path, typer.Option(help="Extended XYZ for the labelled structures.")],
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    resources: ResourcesFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Label structures with the configuration's labeller; labels that exist are not computed again."""
    from sparring.assembly.labels import label_service_of
    from sparring.inputs.extxyz import write_structures
    from sparring.labels import Label, labelled_atoms

    resolved = load_config(config, preset)
    frames = geometries(structures, skip_bad=skip_bad, beside=output)
    with_state = resolved.system.build().electronic_state
    frames = frames if with_state is None else with_state(frames)
    output.parent.mkdir(parents=True, exist_ok=True)
    label_service = label_service_of(resolved, output.parent, progress_bars())
    with stopped_in("labels"):
        report = label_service.label(frames)
    rows = list(zip(frames, report.labels, report.keys, strict=True))
    write_structures(output, [labelled_atoms(a, one, key) for a, one, key in rows if isinstance(one, Label)])
    for _, one, _ in rows:
        if not isinstance(one, Label):
            typer.echo(printable(f"failed: {one}"), err=True)
    n_labelled = sum(isinstance(one, Label) for one in report.labels)
    typer.echo(
        f"{n_labelled} of {len(frames)} labelled ({report.n_computed} computed, {report.n_reused} reused): {output}"
    )
    if not n_labelled:
        raise typer.Exit(LABELS_FAILED)


@app.command()
def evaluate(
    committee: CommitteeFolder,
    data: Annotated[Path, typer.Argument(help="Labelled structures, extended XYZ.")],
    align: Annotated[
        bool, typer.Option(help="Remove differences of the elements' reference energies, as between two codes.")
    ] = False,
    energy_key: Annotated[str, typer.Option(help="Name of the energies in the file, in eV.")] = "REF_energy",
    forces_key: Annotated[str, typer.Option(help="Name of the forces in the file, in eV/Å.")] = "REF_forces",
    stress_key: StressKey = "REF_stress",
    skip_bad: SkipBad = False,
    check_labels: CheckLabels = True,
) -> None:
    """Print the errors of a committee on labelled structures."""
    from sparring import Dataset
    from sparring.committee_files import read_committee
    from sparring.evaluation import evaluate
    from sparring.reporting.terminal import errors_table

    use_threads()
    keys: dict[str, Any] = {"energy_key": energy_key, "forces_key": forces_key, "stress_key": stress_key}
    frames = labelled(data, keys=keys, skip_bad=skip_bad, check_labels=check_labels)
    members = read_committee(committee)
    typer.echo(errors_table(evaluate(members, Dataset.from_atoms(frames), aligned=align)))
    if members.domain is not None:
        typer.echo(f"committee of {members.n_members}, trained on {members.domain}")


@app.command()
def md(
    committee: CommitteeFolder,
    start: Annotated[Path, typer.Argument(help="Starting geometries, extended XYZ.")],
    output: Annotated[Path, typer.Option(help="Extended XYZ for the trajectories.")],
    temperature: Annotated[list[str], typer.Option(help="Temperatures, e.g. 300K,500K; may be repeated.")],
    copies: Annotated[int, typer.Option(help="Number of replicas of each structure at each temperature.")] = 1,
    time: Annotated[str, typer.Option(help="Length of the trajectories.")] = "5 ps",
    timestep: Annotated[str, typer.Option(help="Time step.")] = "0.5 fs",
    ensemble: Annotated[
        str, typer.Option(help="Ensemble: nose_hoover, langevin, nve, npt or npt_cell.")
    ] = "nose_hoover",
    friction: Annotated[str, typer.Option(help="Friction of langevin.")] = "10 1/ps",
    time_constant: Annotated[str, typer.Option(help="Time constant of the thermostat but langevin's.")] = "50 fs",
    pressure: Annotated[
        str | None, typer.Option(help="Pressure of npt (volumes move) and npt_cell (cells move) [default: 1 bar].")
    ] = None,
    cell_time_constant: Annotated[str, typer.Option(help="Time constant of the barostat.")] = "500 fs",
    every: Annotated[int, typer.Option(help="Number of steps between frames.")] = 10,
    seed: Annotated[int, typer.Option(help="Random seed of the velocities and the noise.")] = 0,
    min_distance: Annotated[
        str | None,
        typer.Option(
            help="Distance of two atoms below which a trajectory ends [default: the criteria of the run's system, or "
            "else 0.5 Å]."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: cpu or cuda.")] = "cpu",
    skip_bad: SkipBad = False,
) -> None:
    """Molecular dynamics under the mean forces of a committee, for many replicas and temperatures at once."""
    from sparring.committee_files import read_committee
    from sparring.dynamics.trajectories import committee_on, md
    from sparring.reporting.terminal import dynamics_table
    from sparring.units import quantity
    from sparring.validation.survival.arguments import criteria_of_run

    use_threads()
    temperatures = [quantity(one, "temperature") for several in temperature for one in several.split(",")]
    members, frames = (
        committee_on(read_committee(committee), device),
        geometries(start, skip_bad=skip_bad, beside=output),
    )
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
        pressure=None if pressure is None else quantity(pressure, "pressure"),
        cell_time_constant=quantity(cell_time_constant, "time"),
        every=every,
        seed=seed,
        min_distance=quantity(min_distance or "0.5 Å", "length") if criteria is None else 0.0,
        criteria=criteria or (),
        progress=progress_bars()("md"),
    )
    typer.echo(dynamics_table(result, temperatures))
    typer.echo(f"trajectories: {output}")
