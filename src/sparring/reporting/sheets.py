"""The figures of a run: panels put together, each with a name, a title and a caption."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import COLUMNS, STYLE, panels
from sparring.reporting import figures
from sparring.reporting.data import Generation, Predictions, Run
from sparring.reporting.overview import attacks_torsions, colour_of, draw_energies, groups_of, labelled_of, paths_of
from sparring.reporting.yields import yield_sheet
from sparring.validation.base import ReportFigure

Part = TypeVar("Part")


def sheets(run: Run) -> tuple[ReportFigure, ...]:
    """All figures for which the run has data, in the order in which the page shows them."""
    makers = (
        _learning_curves,
        _parity_energy,
        _parity_forces,
        _parity_stress,
        _path_energy,
        _path_uncertainty,
        _attack_torsions,
        _labelled_energies,
        _uncertainty_error,
        _label_cost,
        _yields,
    )
    with rc_context(STYLE):
        return tuple(sheet for sheet in (make(run) for make in makers) if sheet is not None)


def comparison(run: Run) -> ReportFigure | None:
    """Errors of all generations on one set, beside each one's own test errors; None where they are not known."""
    if run.common is None or not run.common.generations:
        return None
    known_errors = [run.common.of(number) for number in run.common.generations]
    stresses = any(errors is not None and np.isfinite(errors.stress_mae) for errors in known_errors)
    kinds = {"energy": "Energies", "force": "Forces", **({"stress": "Stresses"} if stresses else {})}
    with rc_context(STYLE):
        figure, axes = panels(len(kinds), height=3.4)
        for (kind, title), ax in zip(kinds.items(), axes, strict=True):
            known = ((one.number, one.metric("errors", "test", f"{kind}_mae")) for one in run.generations)
            own = {number: error for number, error in known if error is not None}
            figures.errors_on_one_set(run.common, ax, kind=kind, own=own, unit=run.unit)
            ax.set_title(title)
        handles, names = axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower left", ncols=2)
    return ReportFigure(
        name="errors_on_one_set",
        title="Errors by generation, on the same structures",
        caption="A line joins errors on the same structures. Diamonds are test errors of each generation on its own, "
        "other structures: they do not compare generations.",
        figure=figure,
    )


def _predictions(run: Run) -> list[tuple[Generation, Predictions]]:
    parts = ((generation, generation.predictions) for generation in run.generations)
    return [(generation, predictions) for generation, predictions in parts if predictions is not None]


def _panel_each(
    run: Run, parts: Sequence[tuple[Generation, Part]], draw: Callable[[Part, Axes, str], Axes], *, height: float = 3.2
) -> Figure:
    """A panel for each generation's part, in its colour, all with the same limits."""
    figure, axes = panels(len(parts), height=height)
    for (generation, part), ax in zip(parts, axes, strict=True):
        draw(part, ax, colour_of(run, generation))
        ax.set_title(f"generation {generation.number}", color=colour_of(run, generation))
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
        "was trained on test points.",
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


def _parity_stress(run: Run) -> ReportFigure | None:
    if not (parts := [(generation, part) for generation, part in _predictions(run) if len(part.stress)]):
        return None
    return ReportFigure(
        name="parity_stress",
        title="Stresses: committee against labels",
        caption="Six components of every crystal that has a label of its stress; positive under tension.",
        figure=_panel_each(run, parts, lambda part, ax, _: figures.parity_stress(part, ax), height=4.0),
    )


def _path_energy(run: Run) -> ReportFigure | None:
    if not (parts := paths_of(run)):
        return None
    figure = _panel_each(
        run, parts, lambda paths, ax, colour: figures.path_energy(paths, ax, unit=run.unit, colour=colour)
    )
    return ReportFigure(
        name="path_energy",
        title="Energy along the attacks",
        caption=f"Mean energy of the committee{', not of the label method' if run.labels else ''}. A dot marks the "
        "candidate: the step of highest objective." + "".join(_fell(generation) for generation, _ in parts),
        figure=_paths_noted(figure),
    )


def _fell(generation: Generation) -> str:
    """A sentence on attacks that only relaxed."""
    fell, total = (generation.metric("attack", name) for name in ("n_energy_fell", "n_seeds"))
    if not fell or not total or fell < 0.8 * total:
        return ""
    return (
        f" In generation {generation.number} the energy fell in {fell} of {total} attacks: if they are weighted by "
        "Boltzmann's factor, kT is small for so large a molecule (per of boltzmann in attack.objective)."
    )


def _path_uncertainty(run: Run) -> ReportFigure | None:
    if not (parts := paths_of(run)):
        return None
    if not any(bool((paths.force_sigma > 0.0).any()) for _, paths in parts):
        return None  # a single model has no uncertainty
    figure = _panel_each(run, parts, lambda paths, ax, colour: figures.path_uncertainty(paths, ax, colour=colour))
    return ReportFigure(
        name="path_uncertainty",
        title="Uncertainty along the attacks",
        caption="The root of the committee's variance of forces (Eq. 7). A dot marks the candidate.",
        figure=_paths_noted(figure),
    )


def _paths_noted(figure: Figure) -> Figure:
    for ax in figure.axes:
        figures.note_paths_outside(ax)
    return figure


def _attack_torsions(run: Run) -> ReportFigure | None:
    # Random displacements and snapshots of dynamics have no path.
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
        caption="Starts of the attacks, and points of highest objective. The plane is periodic.",
        figure=figure,
    )


def _labelled_energies(run: Run) -> ReportFigure | None:
    if not (groups := groups_of(run)):
        return None
    figure, (ax,) = panels(width=max(4.2, 1.0 * len(groups)))
    draw_energies(run, ax)
    caption = "Energies above the lowest label of the same composition, with median and interquartile range"
    more = "; whiskers span the range; discarded labels are only counted" if attacks_torsions(run) else ""
    return ReportFigure(
        name="labelled_energies", title="Energies of the labels", caption=f"{caption}{more}.", figure=figure
    )


def _uncertainty_error(run: Run) -> ReportFigure | None:
    if not (parts := labelled_of(run)):
        return None
    figure, (ax,) = panels(height=4.2)
    labelled = {f"generation {generation.number}": part for generation, part in parts}
    figures.uncertainty_error(labelled, ax, colours=[colour_of(run, generation) for generation, _ in parts])
    return ReportFigure(
        name="uncertainty_error",
        title="Uncertainty against true error",
        caption="New labels, predicted by the committee that chose the structures, before it was trained on them. "
        "On the line, error and uncertainty are equal; above it, the committee underestimates its errors.",
        figure=figure,
    )


def _label_cost(run: Run) -> ReportFigure | None:
    if not (parts := labelled_of(run)):
        return None
    figure, (ax,) = panels(width=max(4.2, 1.1 * len(parts)))
    labelled = {str(generation.number): part for generation, part in parts}
    figures.label_cost(labelled, ax, colours=[colour_of(run, generation) for generation, _ in parts])
    return ReportFigure(
        name="label_cost",
        title="Time of the labels",
        caption="Wall time of each label when it was computed; labels from the store took this run no time.",
        figure=figure,
    )


def _yields(run: Run) -> ReportFigure | None:
    return yield_sheet(run.yields, run.unit)
