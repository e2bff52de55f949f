"""Figure of scans of bonds and angles: small multiples, flagged ones marked."""

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparring.plots.style import FAINT, FIT, GENERATIONS, INK, STYLE, TEST, panels
from sparring.units import EV, EnergyUnit
from sparring.validation.bond_scan.scans import BondScan, CoordinateScan

__all__ = ["MOST_PANELS", "bonds_figure", "draw_scan"]

MOST_PANELS = 30
"""Largest number of panels; scans with holes come first."""
NAMES = ("committee", "committee, hole", "± σ", "label", "worst point")


def bonds_figure(result: BondScan, *, unit: EnergyUnit = EV) -> Figure:
    """A panel for each scan, bonds first; if there are too many, those with holes and the first others."""
    rows = sorted(range(len(result.scans)), key=lambda row: not result.scans[row].is_hole)[:MOST_PANELS]
    with rc_context(STYLE | {"axes.titlesize": 8, "font.size": 7.5}):
        figure, axes = panels(max(1, len(rows)), n_columns=6, width=2.0, height=1.75)
        for place, (ax, row) in enumerate(zip(axes, sorted(rows), strict=False)):
            draw_scan(result.scans[row], result, ax, unit=unit)
            if place % 6 == 0:
                ax.set_ylabel(f"energy ({unit.name})")
        found = dict(pair for ax in axes for pair in zip(*reversed(ax.get_legend_handles_labels()), strict=True))
        names = [name for name in NAMES if name in found]
        figure.legend([found[name] for name in names], names, loc="outside lower center", ncols=5, frameon=False)
    return figure


def draw_scan(scan: CoordinateScan, result: BondScan, ax: Axes | None = None, *, unit: EnergyUnit = EV) -> Axes:
    """Mean energy of the committee along a bond or an angle with its σ as a band, labels as dots, flags as crosses."""
    ax = ax or panels()[1][0]
    colour = TEST if scan.is_hole else GENERATIONS[0]
    energy, sigma = scan.energy / unit.size, scan.energy_sigma / unit.size
    ax.axvline(scan.start, color=FAINT, lw=0.7, ls=":")
    ax.axhline(result.start_energy / unit.size, color=FAINT, lw=0.7, ls=":")
    ax.fill_between(scan.values, energy - sigma, energy + sigma, color=FIT, alpha=0.5, lw=0, label=NAMES[2])
    name = NAMES[1] if scan.is_hole else NAMES[0]
    ax.plot(scan.values, energy, color=colour, lw=1.3, label=name)
    ax.plot(scan.values, scan.label / unit.size, "o", ms=3.2, mfc="white", mec=INK, mew=0.9, label=NAMES[3])
    points = sorted({flag.point for flag in scan.flags})
    if points:
        ax.plot(scan.values[points], energy[points], "x", color=colour, ms=6, mew=1.6, label=NAMES[4])
    times = f" ({scan.n_equivalent}x)" if scan.n_equivalent > 1 else ""
    ax.set_title(f"{scan.name}{times}", color=colour if scan.is_hole else INK)
    ax.set_xlabel(f"{'length' if scan.kind == 'bond' else 'angle'} ({scan.unit})")
    return ax
