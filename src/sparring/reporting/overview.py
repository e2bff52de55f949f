"""The overview of a run: its labels, the uncertainty that its attacks climbed, and its progress by generation."""

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import STYLE, generation_colours, panels
from sparring.reporting import figures
from sparring.reporting.data import Generation, Labelled, Paths, Run, Sampled

__all__ = ["attacks_torsions", "colour_of", "draw_energies", "groups_of", "labelled_of", "overview", "paths_of"]


def overview(run: Run) -> Figure:
    """One wide figure: energies of the labels, uncertainty along the attacks, and the progress by generation."""
    with rc_context(STYLE):
        figure, (left, middle, right) = panels(3, width=4.0, height=3.5)
        if run.start is not None:
            draw_energies(run, left)
        left.set_title("Labels of each generation")
        for generation, paths in paths_of(run):
            colour, label = colour_of(run, generation), f"generation {generation.number}"
            figures.path_uncertainty(paths, middle, colour=colour, label=label)
        if middle.has_data():
            figures.note_paths_outside(middle)
            figures.legend_below(middle)
        middle.set_title("Uncertainty along the attacks")
        right.set_title(_draw_progress(run, right) or "Nothing evaluated yet")
    return figure


def _draw_progress(run: Run, ax: Axes) -> str | None:
    """Draw the metric of progress, or else errors of forces; returns the title, None where there are no values yet."""
    unit, progress = run.unit, run.system.progress
    known = [one for one in run.generations if progress and one.metric("system", *progress.keys) is not None]
    if progress is None or not known:
        return _draw_force_errors(run, ax, f"MAE of force components ({unit.name}/Å)")
    reference = known[-1].metric("system", progress.reference) if progress.reference else None
    figures.by_generation(
        [generation.number for generation in known],
        [generation.metric("system", *progress.keys) / unit.size for generation in known],
        ax,
        quantity=progress.quantity.format(unit=unit.name),
        reference=None if reference is None else ("label method", reference / unit.size),
        colours=[colour_of(run, generation) for generation in known],
    )
    return progress.title


def _draw_force_errors(run: Run, ax: Axes, quantity: str) -> str | None:
    """Errors on the set that is the same for all generations; test errors of their own sets are not joined."""
    common = None if run.common is None else {n: run.common.of(n) for n in run.common.generations}
    values = {n: errors.force_mae for n, errors in (common or {}).items() if errors is not None}
    joined = bool(values)
    if not joined:
        own = {one.number: one.metric("errors", "test", "force_mae") for one in run.generations}
        values = {number: error for number, error in own.items() if error is not None}
    if not values:
        return None
    figures.by_generation(
        list(values),
        [value / run.unit.size for value in values.values()],
        ax,
        quantity=quantity,
        colours=[colour_of(run, one) for one in run.generations if one.number in values],
        joined=joined,
    )
    return "Forces, on the same structures" if joined else "Forces, each on its own test set"


def paths_of(run: Run) -> list[tuple[Generation, Paths]]:
    """Paths of the generations that have them."""
    return [(generation, generation.paths) for generation in run.generations if generation.paths is not None]


def labelled_of(run: Run) -> list[tuple[Generation, Labelled]]:
    """Labels of the generations that have them."""
    return [(generation, generation.labelled) for generation in run.generations if generation.labelled is not None]


def groups_of(run: Run) -> dict[str, Sampled]:
    """Labelled structures by their origin: the start, then each generation."""
    groups: dict[str, Sampled] = {} if run.start is None else {"start": run.start}
    return groups | {str(generation.number): labelled for generation, labelled in labelled_of(run)}


def colour_of(run: Run, generation: Generation) -> str:
    """Colour of a generation."""
    return generation_colours(len(run.generations))[run.generations.index(generation)]


def draw_energies(run: Run, ax: Axes) -> None:
    """Energies of labels: every one as a mark; where torsions are attacked, boxes over powers of ten (Fig. 4b)."""
    groups = groups_of(run)
    if attacks_torsions(run):
        failed = {str(generation.number): len(generation.failures) for generation in run.generations}
        figures.energy_distributions(groups, ax, discarded=failed, unit=run.unit)
    else:
        figures.labelled_energies(groups, ax, unit=run.unit)


def attacks_torsions(run: Run) -> bool:
    """True if the attacks of the run moved torsions."""
    return any(generation.torsions is not None for generation in run.generations)
