"""Figures of the survival of dynamics: fraction of stable copies, by temperature and in time."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from sparring.plots.style import FAINT, STYLE, generation_colours, panels
from sparring.validation.survival.trials import Survival, SurvivalAtTemperature

__all__ = ["stable_fraction", "survival_curves", "survival_figure"]

MARKERS = "osD^vP"


def survival_figure(results: Mapping[str, Survival]) -> Figure:
    """Fraction of stable copies by temperature and in time; the curves of a single committee are its temperatures.

    Args:
        results: Results by the names of the committees.
    """
    with rc_context(STYLE):
        figure, (left, right) = panels(2, width=5.2)
        stable_fraction(results, left)
        left.set_title("Stable to the end, with 95 % intervals")
        duration = max(result.settings.duration for result in results.values())
        if len(results) > 1:
            survival_curves(results, right, duration=duration)
            right.set_title("Survival, all temperatures")
        else:
            (result,) = results.values()
            trials = {f"{trial.temperature:g} K": trial for trial in result.trials}
            survival_curves(trials, right, duration=duration, colours=temperature_colours(len(trials)))
            right.set_title("Survival")
    return figure


def stable_fraction(
    results: Mapping[str, Survival], ax: Axes | None = None, *, colours: Sequence[str] | None = None
) -> Axes:
    """The part of the copies that stayed physical to the end, by temperature, with 95 % intervals (Wilson).

    Committees are named by their keys, and stand beside each other so that intervals do not hide one another.
    """
    ax = ax or panels()[1][0]
    colours = colours or generation_colours(len(results))
    temperatures = sorted({trial.temperature for result in results.values() for trial in result.trials})
    gap = min(np.diff(temperatures), default=100.0)
    for place, (colour, (name, result)) in enumerate(zip(colours, results.items(), strict=True)):
        trials = sorted(result.trials, key=lambda trial: trial.temperature)
        offset = 0.15 * gap * (place - (len(results) - 1) / 2)
        middle = np.array([trial.fraction for trial in trials])
        low, high = np.transpose([trial.interval for trial in trials])
        ax.errorbar(
            [trial.temperature + offset for trial in trials],
            middle,
            yerr=[np.clip(middle - low, 0, 1), np.clip(high - middle, 0, 1)],
            fmt=MARKERS[place % len(MARKERS)] + "-",
            color=colour,
            ms=4.5,
            lw=0.9,
            elinewidth=1.2,
            mec="white",
            mew=0.5,
            label=f"{name}: {result.n_stable} of {result.n_copies}",
            clip_on=False,
        )
    durations = {result.settings.duration for result in results.values()}
    lasting = f" for {_time(durations.pop())}" if len(durations) == 1 else ""
    ax.set_xticks(temperatures, [f"{temperature:g}" for temperature in temperatures])
    _percent(ax, f"stable{lasting} (%)")
    ax.set(xlabel="temperature (K)", xlim=(temperatures[0] - 0.6 * gap, temperatures[-1] + 0.6 * gap))
    _legend(ax)
    return ax


def survival_curves(
    curves: Mapping[str, Survival | SurvivalAtTemperature],
    ax: Axes | None = None,
    *,
    duration: float,
    colours: Sequence[str] | None = None,
) -> Axes:
    """Fraction of the copies that have not failed yet, in time, with 95 % intervals (Wilson) as bands.

    A dot is a failure; the bar at the end stands for the copies that did not fail.

    Args:
        curves: Committees, or the temperatures of one, by their names.
        ax: Axes to draw on.
        duration: Length of the trajectories in fs.
        colours: Colour of each curve.
    """
    ax = ax or panels()[1][0]
    colours = colours or generation_colours(len(curves))
    scale, unit = (1e-3, "ps") if duration >= 1000 else (1.0, "fs")
    for colour, (name, one) in zip(colours, curves.items(), strict=True):
        ends = np.unique([failure.time for failure in one.failures])
        times = np.array([0.0, *ends, duration])
        left = one.survival(times)
        low, high = one.survival_interval(times)
        ax.fill_between(scale * times, low, high, step="post", color=colour, alpha=0.15, lw=0)
        ax.step(scale * times, left, where="post", color=colour, lw=1.4, label=f"{name}: {one.fraction:.0%}")
        if len(ends):
            ax.plot(scale * ends, one.survival(ends), ".", color=colour, ms=5, clip_on=False)
        if one.n_stable:
            ax.plot(scale * duration, left[-1], "|", color=colour, ms=8, mew=1.4, clip_on=False)
    _percent(ax, "not failed yet (%)")
    ax.set(xlabel=f"time ({unit})", xlim=(0.0, scale * duration))
    _legend(ax)
    return ax


def temperature_colours(n_temperatures: int) -> tuple[str, ...]:
    """From cold to hot, each with a lightness of its own."""
    return tuple(to_hex(colour) for colour in colormaps["plasma"](np.linspace(0.0, 0.85, n_temperatures)))


def _percent(ax: Axes, quantity: str) -> None:
    ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0, symbol=None))
    ax.set(ylabel=quantity, ylim=(-0.02, 1.02))
    ax.axhline(0.0, color=FAINT, lw=0.6, zorder=0)


def _legend(ax: Axes) -> None:
    """Beside the axes: inside them curves may be anywhere."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0.0)


def _time(duration: float) -> str:
    return f"{duration / 1000:g} ps" if duration >= 1000 else f"{duration:g} fs"
