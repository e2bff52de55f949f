"""Errors of all generations on one set of structures: the only ones that a line may join."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from sparring.plots.style import FAINT, INK, panels
from sparring.plots.ticks import logarithmic
from sparring.units import GPA, KCAL, EnergyUnit
from sparring.validation.errors.common_set import CommonErrors

__all__ = ["errors_on_one_set"]

PARTS = {
    "all": (INK, "o", "all"),
    "near": ("#0072b2", "v", "near the minimum"),
    "far": ("#d55e00", "^", "far above it"),
}


def errors_on_one_set(
    common: CommonErrors,
    ax: Axes | None = None,
    *,
    kind: str = "force",
    own: Mapping[int, float] | None = None,
    unit: EnergyUnit = KCAL,
) -> Axes:
    """Mean absolute errors by generation, each line on structures of its own that are the same for all generations.

    Args:
        common: Errors of all committees on the set.
        ax: Axes to draw on.
        kind: "force", "energy" or "stress".
        own: Errors of each generation on its own test set, in eV, eV/Å or eV/Å³; no line joins these.
        unit: Unit of energies and forces; stresses are shown in GPa.
    """
    ax = ax or panels()[1][0]
    size = GPA if kind == "stress" else unit.size
    for part, (colour, marker, words) in PARTS.items():
        known = [(number, errors) for number in common.generations if (errors := common.of(number, part)) is not None]
        values = np.array([getattr(errors, f"{kind}_mae") for _, errors in known]) / size
        if len(values):
            label = f"{words}, {common.n_structures[part]}"
            ax.plot([n for n, _ in known], values, color=colour, marker=marker, ms=6, mec="white", lw=1.3, label=label)
    if own:
        values = np.array(list(own.values())) / size
        ax.plot(list(own), values, "D", color=FAINT, mfc="none", ms=7, label="each on its own test set", zorder=1)
    shown = np.concatenate([np.ravel(line.get_ydata()) for line in ax.lines] or [np.empty(0)])
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.max() > 8 * shown.min() > 0:
        logarithmic(ax).margins(y=0.1)
    else:
        ax.set_ylim(0.0, 1.15 * max(shown.max(initial=0.0), 1e-12))
    numbers = common.generations
    ax.set_xticks(numbers[:: -(-len(numbers) // 10)])
    names = {"force": f"forces ({unit.name}/Å)", "energy": f"energies ({unit.name})", "stress": "stresses (GPa)"}
    ax.set(xlabel="generation", ylabel=f"MAE of {names[kind]}", xlim=(min(numbers) - 0.4, max(numbers) + 0.4))
    return ax
