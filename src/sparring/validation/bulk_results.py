"""Results about crystals as verbs and runs compute them, and the parts that their tables and notes share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import typer
from jaxtyping import Float

from sparring.committee_files import read_committee
from sparring.dynamics.trajectories import committee_on
from sparring.support.progress import ProgressBars, no_progress_bars
from sparring.support.tables import UNKNOWN, Table
from sparring.validation.arguments import progress_bars, use_threads, write_results
from sparring.validation.bulk import crystals_of
from sparring.validation.records import write_record
from sparring.validation.run_labels import label_service_of_run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["answered", "computed", "draw_with_labels", "kept", "named", "notes_of", "number", "spread"]

R = TypeVar("R")


def computed(
    folder: Path,
    compute: Callable[..., R],
    *,
    file: Path | None = None,
    labels: int,
    device: str = "cpu",
    progress_bars: ProgressBars = no_progress_bars,
    **options: object,
) -> tuple[R, str]:
    """The result of a committee for the crystals of its data or of a file, and why there are no labels.

    Labels are those of the run's labeller, in its store: those that are there are not computed again.

    Args:
        folder: Folder of the committee.
        compute: Function of the committee and its crystals, with `label` and `n_labels`.
        file: File of crystals.
        labels: Largest number of labels for each crystal.
        device: Device of the computation.
        progress_bars: Progress bars of the labels.
        options: Further options of the function.

    Raises:
        ValueError: If there is no crystal.
        RelaxationError: If no member has a result.
    """
    members, crystals = committee_on(read_committee(folder), device), crystals_of(folder, file)
    service, unlabelled = label_service_of_run(folder, progress_bars) if labels else (None, "")
    label = None if service is None else service.label
    return compute(members, crystals, label=label, n_labels=labels, **options), unlabelled


def answered(
    folder: Path,
    name: str,
    compute: Callable[..., R],
    table: Callable[[Mapping[str, R]], Table],
    figure: "Callable[[R], Figure]",
    *,
    output: Path | None,
    **options: Any,  # noqa: ANN401
) -> R:
    """Compute a result for a verb, show its table and notes, and write the result and its figure.

    Args:
        folder: Folder of the committee.
        name: Name of the files.
        compute: Function of the committee and its crystals.
        table: Function that makes the table of results by the names of committees.
        figure: Function that makes the figure of a result.
        output: Folder for the files; None for that of the committee.
        options: Options of :func:`computed`.
    """
    use_threads()
    result, unlabelled = computed(folder, compute, progress_bars=progress_bars(), **options)
    typer.echo(table({folder.name: result}).text())
    for line in (*notes_of({folder.name: result}), *([f"no labels: {unlabelled}"] if unlabelled else [])):
        typer.echo(line, err=True)
    typer.echo(write_results(output or folder / "validation", name, result, figure(result)))
    return result


def kept(folder: Path, name: str, compute: Callable[..., object], **options: Any) -> str:  # noqa: ANN401
    """Compute a result and write it where the report looks for it; returns why there are no labels."""
    result, unlabelled = computed(folder, compute, **options)
    (folder / "validation").mkdir(exist_ok=True)
    write_record(folder / "validation" / f"{name}.json", result)
    return unlabelled


def spread(values: Float[np.ndarray, " n_members"], form: str, size: float = 1.0) -> str:
    """Mean and standard deviation of the values that are known: "140 ± 3"; a dash if there are none."""
    known = np.asarray(values)[np.isfinite(values)] / size
    if not len(known):
        return UNKNOWN
    mean = format(known.mean(), form)
    return f"{mean} ± {known.std(ddof=1):{form}}" if len(known) > 1 else mean


def number(value: float, form: str, size: float = 1.0) -> str:
    """A number; a dash if it is not known."""
    return format(value / size, form) if np.isfinite(value) else UNKNOWN


def named(results: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Committee, formula and result of each crystal of each committee."""
    for name, result in results.items():
        for one in result.crystals:
            yield name, one.formula, one


def draw_with_labels(rows: Sequence[tuple[str, Float[np.ndarray, " n_members"], float]], ax: "Axes") -> None:
    """Draw numbers side by side: means of the committee with σ as bars, labels as circles.

    Args:
        rows: Name, values of the members and that of the labels, NaN where there is none.
        ax: Axes to draw on.
    """
    from sparring.plots.style import GENERATIONS, INK

    places = np.arange(len(rows))
    known = [members[np.isfinite(members)] for _, members, _ in rows]
    mean = [members.mean() if len(members) else np.nan for members in known]
    sigma = [members.std(ddof=1) if len(members) > 1 else 0.0 for members in known]
    labels = np.array([label for *_, label in rows])
    if np.isfinite(labels).any():
        ax.plot(places, labels, "o", ms=9, mfc="none", mec=INK, mew=1.1, label="label")
    style: dict[str, Any] = {"fmt": "o", "ms": 4, "color": GENERATIONS[0], "capsize": 3, "elinewidth": 1.4}
    ax.errorbar(places, mean, yerr=sigma, label="committee ± σ", **style)
    ax.set_xticks(places, [name for name, *_ in rows])
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.legend(loc="best")


def notes_of(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Lines about labels and members without a result."""
    lines = []
    methods = {one.method: None for _, _, one in named(results) if one.method}
    if methods:
        n = [one.n_labels for _, _, one in named(results)]
        lines.append(f"Labels by {', '.join(methods)}: at most {max(n)} for a crystal.")
    for name, formula, one in named(results):
        lines += [f"{name}, {formula}, {failure}" for failure in one.failures]
        if one.unlabelled:
            lines.append(f"{name}, {formula}, labels: {one.unlabelled}")
    return tuple(lines)
