"""Arguments that the verbs about crystals share."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["CrystalLabels", "Crystals", "Length"]

Crystals = Annotated[
    Path | None,
    typer.Argument(
        help="Crystals, extended XYZ [default: the lowest energy of each formula in the data that the run began with, "
        "in its smallest cell]."
    ),
]
CrystalLabels = Annotated[
    int, typer.Option("--labels", help="Largest number of labels for each crystal by the run's labeller; 0 for none.")
]
Length = Annotated[str, typer.Option(help="Smallest distance between an atom and its image in the supercell.")]
