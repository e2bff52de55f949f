"""``sparring validate holes``."""

from typing import Annotated

import typer

from sparring.validation.arguments import CommitteeOrRun, keep_figure

__all__ = ["holes"]

Fall = Annotated[str, typer.Option(help="Smallest fall of the energy behind the wall.")]
Low = Annotated[float, typer.Option(help="Largest distance of the pair, in units of the sum of its covalent radii.")]


def holes(committee: CommitteeOrRun, fall: Fall = "1 eV", low: Low = 0.5) -> None:
    """Attacks along which atoms merged while the energy of the model fell."""
    from sparring.units import quantity
    from sparring.validation.holes.compute import WALLS, Holes, keep_holes
    from sparring.validation.holes.figure import energy_figure
    from sparring.validation.holes.section import summary
    from sparring.validation.holes.table import holes_table
    from sparring.validation.records import read_record

    files = keep_holes(committee, fall=quantity(fall, "energy"), low=low, again=True)
    results = {file.parents[1].name: read_record(file, Holes) for file in files}
    for name, result in results.items():
        typer.echo(f"{name}: {summary(result)}")
    if any(result.found for result in results.values()):
        typer.echo(holes_table(results).text())
    for file, result in zip(files, results.values(), strict=True):
        if result.paths:
            keep_figure(energy_figure({file.parents[1].name: result}), file.with_suffix(""))
        drawn = ", holes.png and holes.svg" if result.paths else ""
        typer.echo(f"results: {file}, holes.extxyz, {WALLS}{drawn}")
