"""``sparring validate barrier``."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.validation.arguments import (
    CommitteeOrRun,
    Output,
    Preset,
    ResourcesFile,
    TrustPickle,
    load_config,
    progress_bars,
    use_threads,
    write_results,
)

__all__ = ["barrier", "endpoint_files"]

Start = Annotated[
    Path | None,
    typer.Argument(help="Structure near the first minimum, extended XYZ [default: the endpoints of the run's system]."),
]
End = Annotated[
    Path | None,
    typer.Argument(help="Structure near the second minimum, with its atoms in the same order [default: as START]."),
]
Images = Annotated[int, typer.Option(help="Number of images of the path, both endpoints included.")]
MaxForce = Annotated[str, typer.Option(help="Largest force on a path that has converged.")]
Steps = Annotated[int, typer.Option(help="Maximum optimiser steps (path and each endpoint).")]
Climb = Annotated[bool, typer.Option("--climb", help="Let the highest image climb to the saddle point.")]
ReferenceConfig = Annotated[
    Path | None, typer.Option(help="Configuration whose labeller gives the reference path [default: no such path].")
]


def barrier(
    committee: CommitteeOrRun,
    start: Start = None,
    end: End = None,
    images: Images = 11,
    fmax: MaxForce = "0.02 eV/Å",
    steps: Steps = 300,
    climb: Climb = False,
    config: ReferenceConfig = None,
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    output: Output = None,
    resources: ResourcesFile = None,
) -> None:
    """Barrier between two minima, by a nudged elastic band for each committee and for the label method.

    The endpoints are relaxed on each surface. Labels of the reference path are stored like any others.
    """
    from sparring.units import quantity, unit_of
    from sparring.validation.barrier.compute import barriers
    from sparring.validation.barrier.figure import barrier_figure
    from sparring.validation.barrier.table import barrier_table, profile_table

    use_threads()
    folder = output or committee / "validation"
    found, frames = barriers(
        committee,
        endpoint_files(start, end),
        config=None if config is None else load_config(config, preset),
        store=folder,
        progress_bars=progress_bars(),
        n_images=images,
        fmax=quantity(fmax, "force"),
        max_steps=steps,
        climb=climb,
    )
    unit = unit_of(frames[0].numbers)
    newest = list(found.committees)[-1]
    typer.echo(profile_table(newest, found.committees[newest], found.truth, unit).text())
    typer.echo(barrier_table(found, unit).text())
    if found.truth:
        typer.echo(f"labels by {found.truth.method}")
    figure = barrier_figure(found.committees, truth=found.truth, unit=unit)
    written = write_results(folder, "barrier", found, figure, frames)
    for name, reason in found.failures.items():
        typer.echo(f"{name} has no path: {reason}", err=True)
    typer.echo(written)


def endpoint_files(start: Path | None, end: Path | None) -> tuple[Path, Path] | None:
    """Both files, or none.

    Raises:
        ValueError: If there is only one.
    """
    if start is None:
        return None
    if end is None:
        raise ValueError(f"a path has two endpoints, got only {start}; give END.xyz too")
    return start, end
