"""Figures of an error report: errors by energy, and their relation to the committee's uncertainty."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, GENERATIONS, INK, STYLE, panels
from sparring.plots.ticks import logarithmic
from sparring.units import GPA, KCAL, EnergyUnit
from sparring.validation.errors.calibration import independent_ratio
from sparring.validation.errors.compute import ErrorReport, Part, Window
from sparring.validation.errors.reliability import Reliability

__all__ = ["calibration_curve", "coverage_curve", "error_by_energy", "errors_figure", "roc_curves", "sigma_error"]

# Above this many marks an SVG is slow to draw; they are then painted as pixels, the axes stay lines.
MANY = 600
SIGMA = {"force": "σ$_F$", "energy": "σ$_E$", "stress": "σ$_S$"}
COLOURS = {"force": GENERATIONS[0], "energy": GENERATIONS[1], "stress": GENERATIONS[2]}
# Curves of two variances may be the same.
DASHES: dict[str, tuple[float, ...]] = {"force": (1.0, 0.0), "energy": (5.0, 2.0), "stress": (3.0, 1.5)}
COMPONENTS = {"force": "force components", "energy": "energies", "stress": "stress components"}


def errors_figure(report: ErrorReport, *, unit: EnergyUnit = KCAL) -> Figure:
    """All of a report: a row for forces, one for energies, and one for stresses where there are any.

    Columns are errors by energy, σ against error, ROC curves, and coverage.
    """
    kinds = ("force", "energy") if report.stress is None else ("force", "energy", "stress")
    with rc_context(STYLE):
        figure, axes = panels(4 * len(kinds), n_columns=4, width=3.9, height=3.7)
        for place, kind in enumerate(kinds):
            row = axes[4 * place : 4 * place + 4]
            error_by_energy(report, row[0], kind=kind, unit=unit)
            sigma_error(report, row[1], kind=kind, unit=unit)
            calibration_curve(report, row[1], kind=kind, unit=unit)
            roc_curves(report, row[2], kind=kind, unit=unit)
            coverage_curve(report, row[3], kind=kind)
        titles = ("Error by energy", "Uncertainty against error", "Unreliable structures found", "Coverage")
        for ax, title in zip(axes[:4], titles, strict=True):
            ax.set_title(title)
        figure.suptitle(f"{report.data} ({report.overall.errors.n_structures} structures)", fontsize=10)
    return figure


def error_by_energy(
    report: ErrorReport, ax: Axes | None = None, *, kind: str = "force", unit: EnergyUnit = KCAL
) -> Axes:
    """RMS errors in every window of energy (dots), and of all structures up to its end (line), as in Fig. 3f."""
    ax = ax or panels()[1][0]
    windows = report.between
    if not windows:
        return _reason(ax, "no composition has two labels, so there is no zero of energy")
    places = np.arange(len(windows))
    size, _ = _unit(kind, unit)
    inside = np.array([_rmse(window.part, kind) for window in windows]) / size
    caps = {window.high: _rmse(window.part, kind) for window in report.up_to}
    if np.isfinite(report.energy_above).all():
        caps[None] = _rmse(report.overall, kind)
    reached = [(place, caps[window.high] / size) for place, window in enumerate(windows) if window.high in caps]
    colour = COLOURS[kind]
    ax.plot(*zip(*reached, strict=True), color=FAINT, lw=1.2, marker="_", ms=12, mew=1.4, label="up to its end")
    ax.plot(places, inside, "o", color=colour, ms=6, mec="white", mew=0.6, label="in the window")
    known = inside[np.isfinite(inside)]  # some windows may hold no structure with forces or a stress
    if len(known) and known.max() > 20 * known.min() > 0:
        logarithmic(ax)
        ax.margins(y=0.15)
    else:
        ax.set_ylim(0.0, 1.15 * max(known.max(initial=0.0), 1e-12))
    ax.set_xticks(places, [_window_label(window, unit) for window in windows])
    ax.set_xlim(-0.6, len(windows) - 0.4)
    ax.grid(visible=False, axis="x")
    ax.set(xlabel=f"energy above lowest ({unit.name}), structures", ylabel=f"RMS error of {_quantity(kind, unit)}")
    ax.legend(loc="best", handletextpad=0.4)
    return ax


def sigma_error(report: ErrorReport, ax: Axes | None = None, *, kind: str = "force", unit: EnergyUnit = KCAL) -> Axes:
    """Every structure's true error against the σ that the committee gave it; on the line they are equal.

    ρ is Spearman's rank correlation with its 95 % interval.
    """
    ax = ax or panels(height=4.0)[1][0]
    reliability = _of(report, kind)
    size, _ = _unit(kind, unit)
    sigma, error = reliability.sigma / size, reliability.error / size
    shown = (sigma > 0) & (error > 0)  # a logarithm has no place for zero
    if not shown.any():
        return _reason(ax, reliability.absent.get("calibration", "every σ or every error is zero"))
    correlation = reliability.correlation
    rho = "" if correlation is None else f": ρ = {_with_interval(correlation.rho, correlation.interval)}"
    many = int(shown.sum()) > MANY
    ax.scatter(
        sigma[shown],
        error[shown],
        s=16,
        color=COLOURS[kind],
        lw=0.4,
        edgecolors="white",
        alpha=0.7,
        label=f"structures{rho}",
        rasterized=many,
        zorder=2,
    )
    return _frame(ax, [sigma[shown], error[shown]], kind, unit)


def calibration_curve(
    report: ErrorReport, ax: Axes | None = None, *, kind: str = "force", unit: EnergyUnit = KCAL
) -> Axes:
    """RMS error against RMS σ of structures with similar σ; the broken line is where independent members would be."""
    fresh = ax is None
    ax = ax or panels(height=4.0)[1][0]
    reliability = _of(report, kind)
    calibration = reliability.calibration
    if calibration is None:
        return _reason(ax, reliability.absent.get("calibration", "")) if fresh else ax
    size, _ = _unit(kind, unit)
    sigma, error = calibration.bin_sigma / size, calibration.bin_error / size
    sizes = " or ".join(str(size) for size in np.unique(calibration.bin_size))
    ax.plot(
        sigma, error, "-D", color=INK, lw=1.2, ms=5, mec="white", mew=0.6, label=f"RMS in bins of {sizes}", zorder=3
    )
    _frame(ax, [sigma, error], kind, unit)
    if report.n_members > 1:
        ends = np.array(ax.get_xlim())
        words = f"σ/√{report.n_members}: independent members"
        ax.plot(ends, independent_ratio(report.n_members) * ends, color=FAINT, lw=0.8, ls=(0, (4, 3)), label=words)
    ax.legend(loc="upper left", handletextpad=0.4)
    return ax


def roc_curves(report: ErrorReport, ax: Axes | None = None, *, kind: str = "force", unit: EnergyUnit = KCAL) -> Axes:
    """ROC curves of the classifier of Eq. 8 for unreliable structures, by each of two variances.

    Dots are the classifier at its t. The diagonal is what guesses reach.
    """
    ax = ax or panels(height=4.0)[1][0]
    reliability = _of(report, kind)
    if not reliability.detections:
        return _reason(ax, reliability.absent.get("detection", ""))
    ax.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=1)
    for detection in reliability.detections:
        colour = COLOURS[detection.variance]
        words = f"{SIGMA[detection.variance]}²: AUC {_with_interval(detection.area, detection.interval)}"
        rates = (np.insert(rate, 0, 0.0) for rate in (detection.false_positive_rate, detection.true_positive_rate))
        ax.plot(*rates, color=colour, lw=1.5, dashes=DASHES[detection.variance], label=words, zorder=2)
        if detection.choice is not None:
            point = detection.choice.false_positive_rate, detection.choice.true_positive_rate
            ax.plot(*point, "o", color=colour, ms=7, mec="white", mew=0.8, zorder=3)
    first = reliability.detections[0]
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel=f"false alarms, share of {first.n_negative}", ylabel=f"unreliable found, share of {first.n_positive}")
    size, name = _unit(kind, unit)
    limit = f"unreliable: error ≥ {first.error_limit / size:.3g} {name}"
    ax.legend(loc="lower right", handletextpad=0.4, title=limit, title_fontsize=8)
    return ax


def coverage_curve(report: ErrorReport, ax: Axes | None = None, *, kind: str = "force") -> Axes:
    """Shares of errors within as many σ as of a normal distribution hold the expected share.

    Below the diagonal the committee is too sure of itself.
    """
    ax = ax or panels(height=4.0)[1][0]
    reliability = _of(report, kind)
    calibration = reliability.calibration
    if calibration is None:
        return _reason(ax, reliability.absent.get("calibration", ""))
    colour = COLOURS[kind]
    ax.plot([0, 1], [0, 1], color=FAINT, lw=0.8, zorder=1)
    ax.fill_between(calibration.expected, calibration.expected, calibration.observed, color=colour, alpha=0.15, lw=0)
    scale = _with_interval(calibration.scale, calibration.interval)
    words = f"area {calibration.miscalibration:.3f}\nerror/σ = {scale}"
    ax.plot(calibration.expected, calibration.observed, color=colour, lw=1.5, label=words)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    ax.set(xlabel="expected share within so many σ", ylabel=f"observed share of {COMPONENTS[kind]}")
    ax.legend(loc="upper left", handletextpad=0.4)
    return ax


def _of(report: ErrorReport, kind: str) -> Reliability:
    found = {"force": report.forces, "energy": report.energy, "stress": report.stress}.get(kind)
    if found is None:
        wanted = "force or energy" if report.stress is None else "force, energy or stress"
        raise ValueError(f"kind must be {wanted}, got {kind!r}")
    return found


def _rmse(part: Part, kind: str) -> float:
    value: float = getattr(part.errors, f"{kind}_rmse")
    return value


def _unit(kind: str, unit: EnergyUnit) -> tuple[float, str]:
    """Size and name of the unit in which errors of a kind are shown."""
    if kind == "stress":
        return GPA, "GPa"
    return unit.size, f"{unit.name}/Å" if kind == "force" else unit.name


def _quantity(kind: str, unit: EnergyUnit) -> str:
    return f"{kind} ({_unit(kind, unit)[1]})"


def _window_label(window: Window, unit: EnergyUnit) -> str:
    low = f"{window.low / unit.size:.3g}"
    span = f"> {low}" if window.high is None else f"{low} – {window.high / unit.size:.3g}"
    return f"{span}\n{window.part.errors.n_structures}"


def _with_interval(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _frame(ax: Axes, values: Sequence[Float[np.ndarray, " n"]], kind: str, unit: EnergyUnit) -> Axes:
    """Equal logarithmic axes around what is drawn, with the line of equality; above it is room for the legend."""
    everything = np.concatenate(values)
    everything = everything[everything > 0]
    low, high = everything.min() / 1.6, everything.max() * 1.6
    high *= (high / low) ** 0.4
    if ax.get_xscale() == "log":  # something is drawn already
        low, high = min(low, ax.get_xlim()[0]), max(high, ax.get_xlim()[1])
    else:
        ax.axline((low, low), (high, high), color=FAINT, lw=0.8, zorder=1)
    logarithmic(ax, "xy").set(xlim=(low, high), ylim=(low, high), aspect="equal")
    ax.set(
        xlabel=f"{SIGMA[kind]} of the committee ({_unit(kind, unit)[1]})",
        ylabel=f"true error of {_quantity(kind, unit)}",
    )
    ax.legend(loc="upper left", handletextpad=0.4)
    return ax


def _reason(ax: Axes, reason: str) -> Axes:
    """Write into the axes why there is nothing to show."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, reason, ha="center", va="center", wrap=True, transform=ax.transAxes, color=INK, fontsize="small")
    return ax
