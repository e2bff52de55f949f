"""``sparring validate landscape``."""

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

__all__ = ["landscape"]

Structures = Annotated[
    Path | None,
    typer.Argument(
        help="Structures on a grid of one or two variables, extended XYZ [default: the built-in grid of the system]."
    ),
]
X = Annotated[str | None, typer.Option(help="Name of the first variable in the file.")]
Y = Annotated[str | None, typer.Option(help="Name of the second variable, if there are two.")]
XUnit = Annotated[str, typer.Option(help="Unit of the first variable in the figure.")]
YUnit = Annotated[str, typer.Option(help="Unit of the second variable in the figure.")]
Points = Annotated[str | None, typer.Option(help="Numbers of points of a built-in grid, e.g. 17x17.")]
GridChoice = Annotated[
    str | None, typer.Option(help="Kind of the grid over two torsions: rigid or relaxed [default: rigid].")
]
LabelConfig = Annotated[
    Path | None,
    typer.Option(help="Configuration whose labeller labels points without REF_energy [default: that of the run]."),
]
ComputeLabels = Annotated[bool, typer.Option(help="Compute missing labels.")]
Align = Annotated[
    bool, typer.Option("--align", help="Take energies relative to the point with the lowest true energy.")
]


def landscape(
    committee: CommitteeOrRun,
    structures: Structures = None,
    x: X = None,
    y: Y = None,
    x_unit: XUnit = "",
    y_unit: YUnit = "",
    points: Points = None,
    grid: GridChoice = None,
    config: LabelConfig = None,
    preset: Preset = None,
    trust_pickle: TrustPickle = False,
    label: ComputeLabels = True,
    align: Align = False,
    output: Output = None,
    resources: ResourcesFile = None,
) -> None:
    """Energy and uncertainty over one or two variables, beside the true energy, for each generation.

    Labels are stored like any others, so the same command resumes an interrupted one.
    """
    from sparring.units import unit_of
    from sparring.validation.landscape.arguments import grid_kind, grid_of, points_of
    from sparring.validation.landscape.compute import landscapes
    from sparring.validation.landscape.figure import landscape_figure
    from sparring.validation.landscape.table import landscape_table, truth_lines

    use_threads()
    folder, which = output or committee / "validation", grid_kind(grid)
    found = landscapes(
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
    typer.echo(landscape_table(found.landscapes.committees, unit, aligned=align).stacked_text())
    name = "landscape_relaxed" if which == "relaxed" else "landscape"
    figure = landscape_figure(found.landscapes, unit=unit, aligned=align)
    written = write_results(folder, name, found.landscapes, figure, found.grid.carrying(found.truth.energy))
    for reason in found.truth.failures:
        typer.echo(f"no label: {reason}", err=True)
    typer.echo(written)
