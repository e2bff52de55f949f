"""Which figures a run has: panels put together, each with a name, a title and the words below it."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import COLUMNS, STYLE, generation_colours, panels
from sparring.reporting import figures
from sparring.reporting.data import Generation, Labelled, Paths, Predictions, Run, Sampled
from sparring.validation.base import ReportFigure

Part = TypeVar("Part")


def sheets(run: Run) -> tuple[ReportFigure, ...]:
    """All figures for which the run has data, in the order in which the page shows them."""
    makers = (
        _learning_curves,
        _parity_energy,
        _parity_forces,
        _path_energy,
        _path_uncertainty,
        _attack_torsions,
        _labelled_energies,
        _uncertainty_error,
        _label_cost,
    )
    with rc_context(STYLE):
        return tuple(sheet for sheet in (make(run) for make in makers) if sheet is not None)


def overview(run: Run) -> Figure:
    """One wide figure that tells the story: what was labelled, how attacks raised the uncertainty, what it taught."""
    with rc_context(STYLE):
        figure, (left, middle, right) = panels(3, width=4.0, height=3.5)
        if run.start is not None:
            _draw_energies(run, left)
        left.set_title("Labels it asked for")
        for generation, paths in _paths(run):
            colour, label = _colour(run, generation), f"generation {generation.number}"
            figures.path_uncertainty(paths, middle, colour=colour, label=label)
        if middle.has_data():
            figures.note_paths_outside(middle)
            figures.legend_below(middle)
        middle.set_title("Attacks climb the uncertainty")
        right.set_title(_draw_progress(run, right) or "Nothing evaluated yet")
    return figure


def comparison(run: Run) -> ReportFigure | None:
    """Errors of all generations on one set, beside each one's own test errors; None where they are not known."""
    if run.common is None or not run.common.generations:
        return None
    with rc_context(STYLE):
        figure, axes = panels(2, height=3.4)
        for kind, ax in zip(("energy", "force"), axes, strict=True):
            known = ((one.number, one.metric("errors", "test", f"{kind}_mae")) for one in run.generations)
            own = {number: error for number, error in known if error is not None}
            figures.errors_on_one_set(run.common, ax, kind=kind, own=own, unit=run.unit)
        axes[0].set_title("Energies")
        axes[1].set_title("Forces")
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=2)
    return ReportFigure(
        name="errors_on_one_set",
        title="Errors by generation, on the same structures",
        caption="A line joins errors on the same structures. Diamonds are test errors of each generation on its own, "
        "other structures: they do not say which generation is better.",
        figure=figure,
    )


def _paths(run: Run) -> list[tuple[Generation, Paths]]:
    return [(generation, generation.paths) for generation in run.generations if generation.paths is not None]


def _predictions(run: Run) -> list[tuple[Generation, Predictions]]:
    parts = ((generation, generation.predictions) for generation in run.generations)
    return [(generation, predictions) for generation, predictions in parts if predictions is not None]


def _labelled(run: Run) -> list[tuple[Generation, Labelled]]:
    return [(generation, generation.labelled) for generation in run.generations if generation.labelled is not None]


def _groups(run: Run) -> dict[str, Sampled]:
    groups: dict[str, Sampled] = {} if run.start is None else {"start": run.start}
    return groups | {str(generation.number): labelled for generation, labelled in _labelled(run)}


def _colour(run: Run, generation: Generation) -> str:
    return generation_colours(len(run.generations))[run.generations.index(generation)]


def _draw_progress(run: Run, ax: Axes) -> str | None:
    """Draws the one number that says whether the run gets anywhere; returns its title, None where there is none yet."""
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
        colours=[_colour(run, generation) for generation in known],
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
        colours=[_colour(run, one) for one in run.generations if one.number in values],
        joined=joined,
    )
    return "Forces, on the same structures" if joined else "Forces, each on its own test set"


def _panel_each(
    run: Run, parts: Sequence[tuple[Generation, Part]], draw: Callable[[Part, Axes, str], Axes], *, height: float = 3.2
) -> Figure:
    """A panel for each generation's part, in its colour, all with the same limits."""
    figure, axes = panels(len(parts), height=height)
    for (generation, part), ax in zip(parts, axes, strict=True):
        draw(part, ax, _colour(run, generation))
        ax.set_title(f"generation {generation.number}", color=_colour(run, generation))
    x_limits, y_limits = np.array([ax.get_xlim() for ax in axes]), np.array([ax.get_ylim() for ax in axes])
    for place, ax in enumerate(axes):
        ax.set_xlim(x_limits[:, 0].min(), x_limits[:, 1].max())
        ax.set_ylim(y_limits[:, 0].min(), y_limits[:, 1].max())
        if place % COLUMNS:
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    return figure


def _learning_curves(run: Run) -> ReportFigure | None:
    parts = [(generation, generation.training) for generation in run.generations if generation.training is not None]
    if not parts:
        return None
    return ReportFigure(
        name="learning_curves",
        title="Learning curves",
        caption="Every line is one member. A member keeps the weights of its best validation epoch (dot).",
        figure=_panel_each(run, parts, lambda training, ax, _: figures.learning_curves(training, ax)),
    )


def _parity_energy(run: Run) -> ReportFigure | None:
    if not (parts := _predictions(run)):
        return None
    return ReportFigure(
        name="parity_energy",
        title="Energies: committee against labels",
        caption="Every generation on its own data set, so errors of two panels are of different structures. No member "
        "was ever trained on a test point.",
        figure=_panel_each(run, parts, lambda part, ax, _: figures.parity_energy(part, ax, unit=run.unit), height=4.0),
    )


def _parity_forces(run: Run) -> ReportFigure | None:
    if not (parts := [(generation, part) for generation, part in _predictions(run) if len(part.forces)]):
        return None
    return ReportFigure(
        name="parity_forces",
        title="Forces: committee against labels",
        caption="Every Cartesian component of every atom.",
        figure=_panel_each(run, parts, lambda part, ax, _: figures.parity_forces(part, ax, unit=run.unit), height=4.0),
    )


def _path_energy(run: Run) -> ReportFigure | None:
    if not (parts := _paths(run)):
        return None
    figure = _panel_each(
        run, parts, lambda paths, ax, colour: figures.path_energy(paths, ax, unit=run.unit, colour=colour)
    )
    return ReportFigure(
        name="path_energy",
        title="Energy along the attacks",
        caption="What the committee believes, not the truth. A dot marks the best step: the geometry that is kept."
        + "".join(_fell(generation) for generation, _ in parts),
        figure=_paths_noted(figure),
    )


def _fell(generation: Generation) -> str:
    """A word on attacks that only relaxed."""
    fell, total = (generation.metric("attack", name) for name in ("n_energy_fell", "n_seeds"))
    if not fell or not total or fell < 0.8 * total:
        return ""
    return (
        f" In generation {generation.number} the energy fell in {fell} of {total} attacks: if they are weighted by "
        "Boltzmann's factor, kT is small for so large a molecule (per of boltzmann in attack.objective)."
    )


def _path_uncertainty(run: Run) -> ReportFigure | None:
    if not (parts := _paths(run)):
        return None
    figure = _panel_each(run, parts, lambda paths, ax, colour: figures.path_uncertainty(paths, ax, colour=colour))
    return ReportFigure(
        name="path_uncertainty",
        title="Uncertainty along the attacks",
        caption="The root of the committee's variance of forces (Eq. 7). A dot marks the geometry that is kept.",
        figure=_paths_noted(figure),
    )


def _paths_noted(figure: Figure) -> Figure:
    for ax in figure.axes:
        figures.note_paths_outside(ax)
    return figure


def _attack_torsions(run: Run) -> ReportFigure | None:
    # What is drawn at random, or taken from dynamics, has no way.
    parts = [
        (one, one.torsions) for one in run.generations if one.torsions is not None and len(one.torsions.angles) > 1
    ]
    if not parts:
        return None
    figure = _panel_each(
        run, parts, lambda paths, ax, colour: figures.attack_torsions(paths, ax, colour=colour), height=4.2
    )
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower right", ncols=len(names), handletextpad=0.3)
    return ReportFigure(
        name="attack_torsions",
        title="Attacks in the plane of the torsions",
        caption="Where attacks start and where their objective was highest; what leaves on one side comes in opposite.",
        figure=figure,
    )


def _draw_energies(run: Run, ax: Axes) -> None:
    """Energies of labels: every one as a mark; where torsions are attacked, boxes over powers of ten (Fig. 4b)."""
    groups = _groups(run)
    if _is_about_torsions(run):
        failed = {str(generation.number): len(generation.failures) for generation in run.generations}
        figures.energy_distributions(groups, ax, discarded=failed, unit=run.unit)
    else:
        figures.labelled_energies(groups, ax, unit=run.unit)


def _is_about_torsions(run: Run) -> bool:
    return any(generation.torsions is not None for generation in run.generations)


def _labelled_energies(run: Run) -> ReportFigure | None:
    if not (groups := _groups(run)):
        return None
    figure, (ax,) = panels(width=max(4.2, 1.0 * len(groups)))
    _draw_energies(run, ax)
    caption = "Labels above the lowest of the same composition, with median and interquartile range"
    more = "; whiskers span the range, and discarded ones are counted only" if _is_about_torsions(run) else ""
    return ReportFigure(
        name="labelled_energies", title="Energies of what was labelled", caption=f"{caption}{more}.", figure=figure
    )


def _uncertainty_error(run: Run) -> ReportFigure | None:
    if not (parts := _labelled(run)):
        return None
    figure, (ax,) = panels(height=4.2)
    labelled = {f"generation {generation.number}": part for generation, part in parts}
    figures.uncertainty_error(labelled, ax, colours=[_colour(run, generation) for generation, _ in parts])
    return ReportFigure(
        name="uncertainty_error",
        title="Uncertainty against true error",
        caption="Structures that were just labelled, as the committee that chose them predicts them unseen. "
        "On the line the committee knows how wrong it is; above it, it is too sure of itself.",
        figure=figure,
    )


def _label_cost(run: Run) -> ReportFigure | None:
    if not (parts := _labelled(run)):
        return None
    figure, (ax,) = panels(width=max(4.2, 1.1 * len(parts)))
    labelled = {str(generation.number): part for generation, part in parts}
    figures.label_cost(labelled, ax, colours=[_colour(run, generation) for generation, _ in parts])
    return ReportFigure(
        name="label_cost",
        title="What a label cost",
        caption="Wall time of each label when it was computed; one that came from the store cost this run nothing.",
        figure=figure,
    )
