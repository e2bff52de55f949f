"""The figures below the answers: what labels showed that were bought after a committee had been trained."""

from collections.abc import Sequence

from matplotlib import rc_context

from sparring.config.sections import Stop
from sparring.plots.style import STYLE, generation_colours, panels
from sparring.reporting import figures
from sparring.runs.expectations import NewLabels
from sparring.validation.base import ReportFigure

__all__ = ["new_label_sheets"]

WIDTH, HEIGHT = 4.6, 4.0
"""Size of a figure in inches, so that two are side by side on a page, and one is as wide as that of a phone."""


def new_label_sheets(
    rounds: Sequence[NewLabels], generations: Sequence[int], stop: Stop | None = None
) -> tuple[ReportFigure, ...]:
    """True against expected errors, and the error found by generation, as far as they are known.

    Args:
        rounds: New labels of the generations that have some.
        generations: Numbers of all generations, which have the same colours in all figures.
        stop: Errors at which the run ends.
    """
    if not rounds:
        return ()
    colours = dict(zip(generations, generation_colours(len(generations)), strict=True))
    sheets = []
    with rc_context(STYLE):
        if any(one.expectation() is not None for one in rounds):
            figure, (ax,) = panels(width=WIDTH, height=HEIGHT)
            figures.expected_errors(rounds, ax, colours=colours)
            caption = (
                "Each mark is a new label, whose error was expected from σ before it was known. Half of the marks "
                "should lie above the grey line, and few above the dashed one."
            )
            title = "Was the error of new labels expected?"
            sheets.append(ReportFigure(name="expected_errors", title=title, caption=caption, figure=figure))
        figure, (ax,) = panels(width=WIDTH, height=HEIGHT)
        target = None if stop is None else stop.force_error
        figures.errors_by_generation(rounds, ax, target=target, colours=colours)
        caption = (
            "Dot: median error of the new labels of a generation. Bar: the next structure found errs by less with "
            f"{100 * rounds[-1].stop_confidence:.0f} % confidence. Arrow: too few labels, or too many refused ones, "
            "for such a bound."
        )
        title = "Error found by each generation"
        sheets.append(ReportFigure(name="errors_found", title=title, caption=caption, figure=figure))
    return tuple(sheets)
