"""The verbs of a run: each reads its arguments, calls one library function, and shows what it gives."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.cli.arguments import (
    ConfigFile,
    Preset,
    ResourcesFile,
    TrustPickle,
    load_config,
)
from sparring.cli.exit_codes import WRONG_INPUT
from sparring.cli.files import SkipBad
from sparring.cli.showing import PrintableFormatter
from sparring.support.printable import printable

__all__ = ["app"]

app = typer.Typer()


@app.command()
def init(
    kind: Annotated[
        str,
        typer.Argument(help="Kind of system: own for your own structures, or one of the paper's; `init ?` lists all."),
    ],
    folder: Annotated[Path, typer.Argument(help="Folder for the files.")] = Path(),
) -> None:
    """Write a commented example configuration to start from."""
    from sparring.commands.starting import init

    for file in init(kind, folder):
        typer.echo(f"wrote {file}")


@app.command()
def check(
    config: ConfigFile,
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    resources: ResourcesFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Check a configuration and its structures, and estimate the cost of a run. Writes nothing."""
    from sparring.commands.estimates import offline_lines
    from sparring.commands.running import check
    from sparring.commands.testing import planned_tests
    from sparring.config import dump, settled

    resolved = settled(load_config(config, preset, skip_bad=skip_bad))
    typer.echo(dump(resolved))
    estimate = check(resolved)
    if resolved.labels.labeller.kind == "none":
        typer.echo(f"nothing is labelled or trained: at most {estimate.n_labels} structures of attacks are selected")
        typer.echo(f"a prediction takes {estimate.seconds_per_label:.2g} s here, by {estimate.method}")
    elif estimate.label is None:
        for line in offline_lines(estimate):
            typer.echo(line)
    else:
        typer.echo(f"labels by {estimate.method}")
        typer.echo(f"one label takes {estimate.label.wall_time:.2g} s here and gives {estimate.label.energy:.6f} eV")
        typer.echo(f"about {estimate.n_start} labels to begin with, at most {estimate.n_labels} more from attacks")
        for line in estimate.lines():
            typer.echo(line)
        typer.echo(f"{estimate.n_generations} committees of {resolved.committee.n_members} members are trained")
    for line in planned_tests(resolved):
        typer.echo(line)
    for finding in sorted(estimate.findings):
        stops = finding.severity == "stop"
        typer.echo(f"{'wrong' if stops else 'note'}: {printable(finding.text)}", err=stops)
    if any(finding.severity == "stop" for finding in estimate.findings):
        typer.echo("a run would stop here; it goes on with such labels only with system.check_labels: false", err=True)
        raise typer.Exit(WRONG_INPUT)


@app.command()
def run(
    config: ConfigFile,
    folder: Annotated[Path | None, typer.Option(help="The run folder [default: runs/<name of the file>].")] = None,
    preset: Preset = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            "--retry-failed",
            help="Compute labels of the newest generation again that crashed, took too long or too much memory.",
        ),
    ] = False,
    accept_missing: Annotated[
        bool,
        typer.Option(
            "--accept-missing",
            help="Go on without offline labels that were asked for and have not come; they count as failed.",
        ),
    ] = False,
    trust_pickle: TrustPickle = False,
    resources: ResourcesFile = None,
    skip_bad: SkipBad = False,
) -> None:
    """Start a run, resume it where it stopped, or do nothing if it is finished.

    Exit codes: 0 finished; 1 an error of Sparring itself; 2 a wrong configuration or file, or a full disk; 3 labels are
    awaited; 4 labels failed: see the message, fix the cause and give the same command again; 5 stopped by Ctrl-C,
    SIGTERM, SIGUSR1 or SIGHUP; 128 and its number after a second such signal.
    """
    import logging

    from rich.console import Console
    from rich.logging import RichHandler

    from sparring.commands.running import comparison, outcome, run
    from sparring.reporting.answers import answers
    from sparring.reporting.terminal import GenerationTable
    from sparring.support.progress import progress_bars_on

    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False, show_level=True, show_time=False)
    handler.setFormatter(PrintableFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    folder = folder or Path("runs") / config.stem
    resolved = load_config(config, preset, skip_bad=skip_bad)
    table, unlabelled = GenerationTable(resolved.system.build()), resolved.labels.labeller.kind == "none"
    run(
        resolved,
        folder,
        retry_failed=retry_failed,
        accept_missing=accept_missing,
        progress_bars=progress_bars_on(console),
        log=lambda line: console.print(printable(line), style="dim", highlight=False, markup=False, emoji=False),
        finished_generation=None if unlabelled else lambda metrics: typer.echo(table.row(metrics)),
    )
    compared = comparison(folder)
    if compared is not None:
        typer.echo(compared)
    for line in outcome(folder):
        typer.echo(line)
    for answer in answers(folder):
        typer.echo(answer.line())
    typer.echo(f"report: {folder / 'report.html'}")


@app.command()
def status(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Show the progress of a run."""
    from sparring.commands.running import comparison, outcome
    from sparring.commands.status import core_hours_line, status
    from sparring.reporting.answers import answers
    from sparring.reporting.terminal import GenerationTable, starting_line
    from sparring.reporting.uncertain_atoms import uncertain_atoms_table
    from sparring.reporting.yields import yield_table
    from sparring.runs.uncertain_atoms import uncertain_atoms_of_run
    from sparring.runs.yields import yields_of_run
    from sparring.units import KCAL
    from sparring.validation.run_system import system_of

    known = status(folder)
    system = system_of(folder)
    table = GenerationTable(system)
    for generation in known:
        if generation.metrics.get("errors", {}).get("test", {}).get("n_structures"):  # type: ignore[attr-defined]
            typer.echo(table.row(generation.metrics))
        typer.echo(f"  generation {generation.generation}: {', '.join(generation.stages) or 'nothing'} done")
        if line := starting_line(generation.metrics):
            typer.echo(f"  generation {generation.generation}: {line} (see failures.csv)")
        for failed, state in ((generation.failed, ""), (generation.open_failures, "; their stage is open")):
            if failed:
                reasons = ", ".join(f"{reason} {n}" for reason, n in failed.items())
                typer.echo(f"    {sum(failed.values())} labels failed: {reasons}{state}")
        if generation.awaited:
            file = folder / f"generation-{generation.generation:02d}" / "offline" / "to_label.extxyz"
            typer.echo(f"    {generation.awaited} label{'s are' if generation.awaited > 1 else ' is'} awaited: {file}")
    if line := core_hours_line(folder):
        typer.echo(line)
    if yields := yields_of_run(folder):
        typer.echo(yield_table(yields, KCAL if system is None else system.unit).text())
    if uncertain := uncertain_atoms_of_run(folder):
        typer.echo(uncertain_atoms_table(uncertain).text())
    lines = outcome(folder)
    for line in lines:
        typer.echo(line)
    compared = comparison(folder)
    if compared is not None:
        typer.echo(compared)
    elif not lines and any("errors" in generation.metrics for generation in known):
        typer.echo(f"errors of all generations on the same structures: sparring report {folder}")
    for answer in answers(folder):
        typer.echo(answer.line())


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A run folder, the folder of a committee, or a label store.")],
) -> None:
    """Compare every file with its checksum. Exit code 2 if one is not as it was written."""
    from sparring.commands.verifying import verify

    found = verify(folder)
    for problem in found.problems:
        typer.echo(problem)
    for name in found.unlinked:
        typer.echo(f"{name} was written by an older version, without links to the generation before")
    if found.problems:
        raise typer.Exit(WRONG_INPUT)
    typer.echo(f"{found.n_files} files are as they were written")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A run folder.")]) -> None:
    """Write the report of a run, finished or not: a page and its figures."""
    from sparring.reporting import report

    typer.echo(f"report: {report(folder)}")
