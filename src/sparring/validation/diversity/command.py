"""``sparring validate diversity``."""

from pathlib import Path
from typing import Annotated

import typer

from sparring.validation.arguments import EnergyKey, ForcesKey, write_results

__all__ = ["diversity"]

Data = Annotated[
    list[Path], typer.Argument(help="Run folders, folders of generations, or labelled structures as extended XYZ.")
]
Reference = Annotated[
    Path | None,
    typer.Option(help="Ground states, one per composition, extended XYZ [default: those of the lowest labels]."),
]
Seed = Annotated[int, typer.Option(help="Random seed of the UMAP embedding.")]
Neighbors = Annotated[int, typer.Option(help="Number of neighbours of the UMAP embedding.")]
Reflect = Annotated[bool, typer.Option(help="Treat mirror images of a molecule as identical in RMSDs.")]
Output = Annotated[Path | None, typer.Option(help="Output folder [default: validation, in or beside the first].")]


def diversity(
    data: Data,
    reference: Reference = None,
    seed: Seed = 0,
    neighbors: Neighbors = 15,
    reflect: Reflect = False,
    energy_key: EnergyKey = "REF_energy",
    forces_key: ForcesKey = "REF_forces",
    output: Output = None,
) -> None:
    """Similarity, distortion and novelty of labelled structures.

    Several runs or files share one embedding, which takes some seconds to start.
    """
    from sparring.inputs.reading import read_atoms
    from sparring.units import KCAL
    from sparring.validation.diversity.compute import diversity, gather
    from sparring.validation.diversity.figure import diversity_figure
    from sparring.validation.diversity.table import diversity_table

    frames = gather(data, energy_key=energy_key, forces_key=forces_key)
    grounds = None if reference is None else read_atoms(reference)
    result = diversity(frames, reference=grounds, seed=seed, n_neighbors=neighbors, reflect=reflect)
    folder = output or (data[0] if data[0].is_dir() else data[0].parent) / "validation"
    written = write_results(folder, "diversity", result, diversity_figure(result), frames)
    typer.echo(diversity_table(result, KCAL).text())
    typer.echo(written)
