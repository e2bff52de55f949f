"""The figure below the answers: what labels showed that were bought after a committee had been trained."""

from collections.abc import Sequence

from matplotlib import rc_context

from sparring.config.sections import Stop
from sparring.plots.style import STYLE, generation_colours, panels
from sparring.reporting import figures
from sparring.runs.expectations import NewLabels
from sparring.validation.base import ReportFigure

__all__ = ["expectation_sheet"]


def expectation_sheet(
    rounds: Sequence[NewLabels], generations: Sequence[int], stop: Stop | None = None
) -> ReportFigure | None:
    """True against expected errors, and the error found by generation; None before there are new labels.

    Args:
        rounds: New labels of the generations that have some.
        generations: Numbers of all generations, which have the same colours in all figures.
        stop: Errors at which the run ends.
    """
    if not rounds:
        return None
    colours = dict(zip(generations, generation_colours(len(generations)), strict=True))
    expected = any(one.expectation() is not None for one in rounds)
    with rc_context(STYLE):
        figure, axes = panels(2 if expected else 1, width=5.4, height=3.6)
        if expected:
            figures.expected_errors(rounds, axes[0], colours=colours)
            axes[0].set_title("Was it expected?")
        target = None if stop is None else stop.force_error
        figures.errors_by_generation(rounds, axes[-1], target=target, colours=colours)
        axes[-1].set_title("Error found by each generation")
    caption = (
        f"{'Right: the' if expected else 'The'} dot is the median error of the new labels of a generation; the next "
        f"structure found errs by less than the bar above it with {100 * rounds[-1].stop_confidence:.0f} % confidence. "
        "An arrow: too few labels, or too many refused ones, for such a bound."
    )
    if expected:
        caption = (
            "Left: each mark is a new label, whose error was expected from σ before it was known. Half of the marks "
            f"should lie above the grey line, and few above the dashed one. {caption}"
        )
    return ReportFigure(name="new_labels", title="New labels", caption=caption, figure=figure)
