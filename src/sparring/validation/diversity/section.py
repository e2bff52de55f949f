"""The section of a report about diversity, and the embedded structures for its explorer."""

import shlex
from collections.abc import Sequence

from sparring.inputs.extxyz import read_structures
from sparring.units import EnergyUnit
from sparring.validation.base import Embedded, ReportedRun, ReportFigure
from sparring.validation.diversity.compute import Diversity
from sparring.validation.diversity.figure import diversity_figure
from sparring.validation.results import Results

__all__ = ["embedded", "figures", "notes", "read"]

NOVELTY = (
    "Median (largest) of each group. Novelty: median distance of SOAP vectors to the nearest structure of the previous "
    "training set; in spacings: the same divided by the distance between neighbours in that set."
)


def read(files: Results) -> Diversity | None:
    """The diversity of the labels of a run."""
    command = f"sparring validate diversity {shlex.quote(str(files.run.folder))}"
    diversity = files.of_run("diversity.json", Diversity, command)
    if diversity is not None:
        files.missing.clear()
    return diversity


def embedded(diversity: Diversity, files: Results) -> Embedded | None:
    """The structures with their positions in the embedding; None if their file does not fit."""
    path = files.run.folder / "validation" / "diversity.extxyz"
    try:
        frames = read_structures(path, allow_dummy=True)
    except (ValueError, OSError) as error:
        files.problems.append(f"The explorer has no similarity map: {error}")
        return None
    if len(frames) != len(diversity.energy):
        n_frames, n_rows = len(frames), len(diversity.energy)
        files.problems.append(
            f"The explorer has no similarity map: diversity.extxyz has {n_frames} structures, diversity.json {n_rows}"
        )
        return None
    return Embedded(diversity=diversity, frames=frames)


def figures(results: Diversity, unit: EnergyUnit) -> tuple[ReportFigure, ...]:
    """Similarity map, energies and distortions."""
    caption = (
        "Similarity of all labelled structures, their energies, and their RMSDs to the ground state. Neighbours on the "
        "map are similar; distances between clusters have no meaning."
    )
    figure = diversity_figure(results, unit=unit)
    return (ReportFigure(name="diversity", title="Similarity, energy and distortion", caption=caption, figure=figure),)


def notes(results: Diversity, run: ReportedRun) -> Sequence[str]:
    """Definition of novelty."""
    return (NOVELTY, *run.remarks("diversity"))
