"""Properties of the crystals of a run as verbs and runs compute them, resumable by the labels in their store."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from sparring.committee_files import read_committee
from sparring.dynamics.trajectories import committee_on
from sparring.starting_data.relaxation import RelaxationError
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.tables import Table
from sparring.units import EV, EnergyUnit
from sparring.validation.arguments import progress_bars, use_threads, write_results
from sparring.validation.crystals.showing import notes_of
from sparring.validation.crystals.structures import crystals_of
from sparring.validation.run_labels import label_service_of_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["answered", "computed"]

R = TypeVar("R")


def computed(
    folder: Path,
    compute: Callable[..., R],
    *,
    file: Path | None = None,
    n_labels: int,
    device: str = "cpu",
    progress_bars: ProgressBars = no_progress_bars,
    **options: int | float,
) -> tuple[tuple[R, ...], tuple[str, ...]]:
    """A property of each crystal by a committee.

    Labels are those of the run's labeller, in its store: those that are there are not computed again.

    Args:
        folder: Folder of the committee.
        compute: Function of a committee and a crystal, with `label` and `n_labels`.
        file: File of crystals; None for those that the run began with.
        n_labels: Largest number of labels for each crystal.
        device: Device of the computation.
        progress_bars: Progress bars of the labels.
        options: Further options of the function.

    Returns:
        The results, and lines about crystals without one and about missing labels.

    Raises:
        ValueError: If there is no crystal, or the function refuses all of them.
        RelaxationError: If no member has a result for any crystal.
    """
    members, crystals = committee_on(read_committee(folder), device), crystals_of(folder, file)
    service, unlabelled = label_service_of_run(folder, progress_bars) if n_labels else (None, "")
    label = None if service is None else service.label
    found, refused = list[R](), list[ValueError | RelaxationError]()
    for crystal in crystals:
        try:
            found.append(compute(members, crystal, label=label, n_labels=n_labels, **options))
        except (ValueError, RelaxationError) as error:  # a vacancy in a compound, say; others may have one
            refused.append(error)
    if not found:
        raise refused[0]
    return tuple(found), (*map(str, refused), *([f"no labels: {unlabelled}"] if unlabelled else []))


def answered(
    folder: Path,
    name: str,
    compute: Callable[..., R],
    table: Callable[[Mapping[str, tuple[R, ...]], EnergyUnit], Table],
    figure: "Callable[[tuple[R, ...]], Figure]",
    *,
    output: Path | None,
    **options: Any,  # noqa: ANN401
) -> tuple[R, ...]:
    """Compute a property for a verb, show its table and notes, and write the results and their figure.

    Args:
        folder: Folder of the committee.
        name: Name of the files.
        compute: Function of a committee and a crystal.
        table: Function that makes the table of results by the names of committees.
        figure: Function that makes the figure of results.
        output: Folder for the files; None for that of the committee.
        options: Options of :func:`computed`.
    """
    use_threads()
    found, missing = computed(folder, compute, progress_bars=progress_bars(), **options)
    typer.echo(table({folder.name: found}, EV).text())
    for line in (*notes_of({folder.name: found}), *missing):
        typer.echo(line, err=True)
    typer.echo(write_results(output or folder / "validation", name, found, figure(found)))
    return found
