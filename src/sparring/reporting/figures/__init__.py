"""The figures: data and an optional `Axes` in, `Axes` out; nothing is shown or saved here."""

from sparring.reporting.figures.run import (
    by_generation,
    label_cost,
    labelled_energies,
    learning_curves,
    note_paths_outside,
    parity_energy,
    parity_forces,
    path_energy,
    path_uncertainty,
    uncertainty_error,
)

__all__ = [
    "by_generation",
    "label_cost",
    "labelled_energies",
    "learning_curves",
    "note_paths_outside",
    "parity_energy",
    "parity_forces",
    "path_energy",
    "path_uncertainty",
    "uncertainty_error",
]
