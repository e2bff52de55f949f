"""Parts of tables, notes and figures of the properties of crystals: committees with their σ beside labels."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float

from sparring.support.tables import UNKNOWN, Column
from sparring.validation.base import ReportFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DASHED",
    "band_with_label",
    "bars_with_labels",
    "columns_of",
    "mean_of",
    "named",
    "newest_figure",
    "notes_of",
    "number",
    "panel_of_each",
    "sigma_of",
    "spread",
]

T = TypeVar("T")
DASHED = (0, (4, 2))


def mean_of(values: Float[np.ndarray, "n_members ..."]) -> Float[np.ndarray, "..."]:
    """Mean over the members whose values are all finite; NaN if there are none."""
    known = _known(values)
    return np.asarray(known.mean(axis=0) if len(known) else np.full(values.shape[1:], np.nan))


def sigma_of(values: Float[np.ndarray, "n_members ..."]) -> Float[np.ndarray, "..."]:
    """Standard deviation between the members whose values are all finite; NaN if there are fewer than two."""
    known = _known(values)
    return np.asarray(known.std(axis=0, ddof=1) if len(known) > 1 else np.full(values.shape[1:], np.nan))


def spread(values: Float[np.ndarray, " n_members"], form: str, size: float = 1.0) -> str:
    """Mean and standard deviation of the members: "140 ± 3"; a dash if there are none."""
    mean, sigma = number(float(mean_of(values)), form, size), float(sigma_of(values)) / size
    return f"{mean} ± {sigma:{form}}" if np.isfinite(sigma) else mean


def number(value: float, form: str, size: float = 1.0) -> str:
    """A number; a dash if it is not known."""
    return format(value / size, form) if np.isfinite(value) else UNKNOWN


def columns_of(quantities: Sequence[str], more: Sequence[Column] = ()) -> tuple[Column, ...]:
    """Columns with the names of committee and crystal, with committee and label for each quantity, and more."""
    pairs = (Column(title=title, group=one) for one in quantities for title in ("committee", "label"))
    return Column(title="", left=True), Column(title="crystal", left=True), *pairs, *more


def named(results: Mapping[str, Sequence[Any]]) -> Iterator[tuple[str, str, Any]]:
    """Committee, formula and result of each crystal of each committee."""
    return ((name, one.about.formula, one) for name, found in results.items() for one in found)


def notes_of(results: Mapping[str, Sequence[Any]]) -> tuple[str, ...]:
    """Lines about labels, and about members and labels without a result."""
    lines = []
    abouts = [(name, one.about) for name, _, one in named(results)]
    if methods := {about.method: None for _, about in abouts if about.method}:
        n_labels = max(about.n_labels for _, about in abouts)
        lines.append(f"Labels by {', '.join(methods)}: {n_labels} for a crystal.")
    for name, about in abouts:
        lines += [f"{name}, {about.formula}, {failure}" for failure in about.failures]
        if about.unlabelled:
            lines.append(f"{name}, {about.formula}, labels: {about.unlabelled}")
    return tuple(lines)


def newest_figure(
    results: Mapping[str, Any], name: str, title: str, caption: str, figure: "Figure"
) -> tuple[ReportFigure, ...]:
    """A figure of the newest committee."""
    words = f"{caption} Means of the committee with the standard deviation σ of its members."
    return (ReportFigure(name=name, title=f"{title}, {list(results)[-1]}", caption=words, figure=figure),)


def panel_of_each(found: Sequence[T], draw: "Callable[[T, Axes], object]", *, width: float, height: float) -> "Figure":
    """A figure with a panel for each crystal.

    Args:
        found: Results of the crystals.
        draw: Function that draws one of them into a panel.
        width: Width of a panel in inches.
        height: Height of a panel in inches.
    """
    from matplotlib import rc_context

    from sparring.plots.style import STYLE, panels

    with rc_context(STYLE):
        figure, axes = panels(len(found), width=width, height=height)
        for ax, one in zip(axes, found, strict=True):
            draw(one, ax)
    return figure


def bars_with_labels(rows: Sequence[tuple[str, Float[np.ndarray, " n_members"], float]], ax: "Axes") -> None:
    """Draw numbers side by side: means of the committee with σ as bars, labels as circles.

    Args:
        rows: Name, values of the members and that of the labels, NaN where there is none.
        ax: Axes to draw on.
    """
    from sparring.plots.style import GENERATIONS, INK

    places = np.arange(len(rows))
    labels = np.array([label for *_, label in rows])
    if np.isfinite(labels).any():
        ax.plot(places, labels, "o", ms=9, mfc="none", mec=INK, mew=1.1, label="label")
    mean, sigma = ([float(one(members)) for _, members, _ in rows] for one in (mean_of, sigma_of))
    style: dict[str, Any] = {"fmt": "o", "ms": 4, "color": GENERATIONS[0], "capsize": 3, "elinewidth": 1.4}
    ax.errorbar(places, mean, yerr=np.nan_to_num(sigma), label="committee ± σ", **style)
    ax.set_xticks(places, [name for name, *_ in rows])
    ax.set_xlim(-0.6, len(rows) - 0.4)
    ax.legend(loc="best")


def band_with_label(
    x: Float[np.ndarray, " n"],
    members: Float[np.ndarray, "n_members n"],
    label: Float[np.ndarray, " n"],
    ax: "Axes",
    *,
    names: tuple[str | None, str | None, str | None] = ("committee", "± σ", "label"),
    **label_style: Any,  # noqa: ANN401
) -> None:
    """Draw a line with its band: mean of the committee with its σ, and the labels.

    Args:
        x: Places.
        members: Values of the members.
        label: Values of the labels, NaN where there are none.
        ax: Axes to draw on.
        names: Names of mean, band and labels in the legend.
        label_style: Style of the labels, a dashed line if there is none.
    """
    from sparring.plots.style import FIT, GENERATIONS, INK

    mean, sigma = mean_of(members), sigma_of(members)
    if np.isfinite(sigma).any():
        ax.fill_between(x, mean - sigma, mean + sigma, color=FIT, alpha=0.5, lw=0, label=names[1])
    ax.plot(x, mean, color=GENERATIONS[0], lw=1.4, label=names[0])
    if np.isfinite(label).any():
        ax.plot(x, label, **{"color": INK, "lw": 0.9, "ls": DASHED, "label": names[2], **label_style})


def _known(values: np.ndarray) -> np.ndarray:
    known: np.ndarray = values[np.isfinite(values).reshape(len(values), -1).all(axis=1)]
    return known
