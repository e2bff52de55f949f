"""Numbers that several systems have in common, as tables and the overview of the report show them."""

from sparring.systems.base import Metric, Progress

__all__ = ["BARRIER", "BARRIER_PROGRESS", "LANDSCAPE", "LANDSCAPE_PROGRESS", "TORSIONS", "TORSIONS_PROGRESS"]

LOW, HIGH = "50 kcal/mol", "300 kcal/mol"
OVER_TORSIONS = "grid of torsions"

BARRIER = (
    Metric(keys=("barrier",), column="barrier", group="barrier", heading="committee\n({unit})"),
    Metric(keys=("barrier_reference",), column="truth"),
    Metric(keys=("barrier_error",), column="error", group="barrier", heading="its\nerror", signed=True),
)
"""A barrier, of the committee and of the label method."""
LANDSCAPE = (Metric(keys=("grid_rmse",), column="grid RMSE", group="landscape", heading="RMSE\n({unit})"),)
"""The error over a whole landscape."""
TORSIONS = (
    Metric(
        keys=("grid_rmse_below", LOW),
        column="grid RMSE",
        group=OVER_TORSIONS,
        heading="RMSE\n≤ 50 ({unit})",
        legend="grid RMSE, σ²F (eV²/Å²): below 50 kcal/mol; bins: of the torsions, covered by data; ",
    ),
    Metric(keys=("grid_rmse_below", HIGH), group=OVER_TORSIONS, heading="RMSE\n≤ 300 ({unit})"),
    Metric(
        keys=("grid_force_variance_below", LOW),
        column="σ²F",
        group=OVER_TORSIONS,
        heading="mean σ²F ≤ 50\n(eV²/Å²)",
        show="number",
    ),
    Metric(keys=("coverage",), column="bins", group=OVER_TORSIONS, heading="bins\ncovered", show="share"),
)
"""Errors over a grid of two torsions, and how much of it the data cover."""

BARRIER_PROGRESS = Progress(
    keys=("barrier",), title="Barrier", quantity="barrier ({unit})", reference="barrier_reference"
)
LANDSCAPE_PROGRESS = Progress(
    keys=("grid_rmse",), title="Error over the whole landscape", quantity="RMSE over the grid ({unit})"
)
TORSIONS_PROGRESS = Progress(
    keys=("grid_rmse_below", LOW),
    title="Error over the plane of torsions",
    quantity="RMSE on the grid below 50 ({unit})",
)
